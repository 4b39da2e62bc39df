-- +goose NO TRANSACTION
-- +goose Up

-- Who inserts for a partition, since when, and until when its inserts may land:
-- a row's lease ends at most one lease after the newest acquired or held of its
-- writer. The owner is the one with the greatest (generation, process). After
-- released (its writer says so) or fenced (its successor waited) nothing of that
-- writer lands any more.
CREATE TABLE IF NOT EXISTS load_owners
(
    load_group     LowCardinality(String),
    load_topic_id  UUID,
    load_partition Int32,
    generation     UInt64,
    process        UUID,
    instance       LowCardinality(String),
    event          Enum8('acquired' = 1, 'held' = 2, 'released' = 3, 'fenced' = 4),
    at             DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (load_group, load_topic_id, load_partition, generation, process, event)
TTL toDateTime(at) + INTERVAL 7 DAY;

-- +goose Down
DROP TABLE IF EXISTS load_owners;
