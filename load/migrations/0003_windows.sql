-- +goose NO TRANSACTION
-- +goose Up

-- What an original's renditions add up to. NULL for every other outcome, and for
-- rows that an older version has written.
ALTER TABLE uploads ADD COLUMN IF NOT EXISTS bytes_out Nullable(UInt64) AFTER bytes;

-- One row per result that a window has shown: early ones, and the final one. Of
-- one aggregate, key, window_start and window_end the greatest revision holds. A
-- session that took other bounds has a last row, retracted, under the old ones.
-- The bounds of tumbling and hopping windows are [start, end), those of sessions
-- are both inclusive. A measure that the aggregate does not have is NULL.
CREATE TABLE IF NOT EXISTS windows
(
    aggregate      LowCardinality(String),
    kind           LowCardinality(String),
    size_ms        UInt64,
    advance_ms     UInt64,
    gap_ms         UInt64,
    grace_ms       UInt64,
    dimension      LowCardinality(String),
    key            String CODEC(ZSTD(1)),
    window_start   DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    window_end     DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    revision       UInt64,
    final          Bool,
    retracted      Bool,
    count          UInt64,
    bytes_in       Nullable(UInt64) CODEC(ZSTD(1)),
    bytes_out      Nullable(UInt64) CODEC(ZSTD(1)),
    pixels         Nullable(UInt64) CODEC(ZSTD(1)),
    bytes_in_min   Nullable(UInt64) CODEC(ZSTD(1)),
    bytes_in_max   Nullable(UInt64) CODEC(ZSTD(1)),
    uploaders      Nullable(UInt64),
    latency_ms_p50 Nullable(Float64) CODEC(ZSTD(1)),
    latency_ms_p95 Nullable(Float64) CODEC(ZSTD(1)),
    latency_ms_p99 Nullable(Float64) CODEC(ZSTD(1)),
    emitted_at     DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    loaded_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    load_topic_id  UUID,
    load_partition Int32,
    load_offset    Int64 CODEC(ZSTD(1)),
    load_lease     DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    CONSTRAINT live CHECK load_lease > now64(3),
    PROJECTION by_load
    (
        SELECT load_topic_id, load_partition, max(load_offset)
        GROUP BY load_topic_id, load_partition
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(loaded_at)
ORDER BY (aggregate, window_start, key, window_end, revision)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild';

-- What each window has come to so far. The order is the table's, backwards, so that
-- the newest revision of a window is met first while the table is read, and nothing
-- is sorted or held. Conditions on aggregate, key and bounds reach the table.
CREATE VIEW IF NOT EXISTS windows_latest AS
SELECT * EXCEPT (retracted)
FROM
(
    SELECT
        aggregate, kind, size_ms, advance_ms, gap_ms, grace_ms, dimension, key, window_start, window_end, revision, final, retracted,
        count, bytes_in, bytes_out, pixels, bytes_in_min, bytes_in_max, uploaders, latency_ms_p50, latency_ms_p95, latency_ms_p99, emitted_at
    FROM windows
    ORDER BY aggregate DESC, window_start DESC, key DESC, window_end DESC, revision DESC
    LIMIT 1 BY aggregate, window_start, key, window_end
)
WHERE NOT retracted;

-- One row per window that does not count an upload, and why.
CREATE TABLE IF NOT EXISTS late_uploads
(
    aggregate      LowCardinality(String),
    dimension      LowCardinality(String),
    key            String CODEC(ZSTD(1)),
    window_start   DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    cause          LowCardinality(String),
    event_time     DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    stream_time    DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    loaded_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    src_topic_id   UUID,
    src_partition  Int32,
    src_offset     Int64 CODEC(ZSTD(1)),
    load_topic_id  UUID,
    load_partition Int32,
    load_offset    Int64 CODEC(ZSTD(1)),
    load_lease     DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    CONSTRAINT live CHECK load_lease > now64(3),
    PROJECTION by_load
    (
        SELECT load_topic_id, load_partition, max(load_offset)
        GROUP BY load_topic_id, load_partition
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(loaded_at)
ORDER BY (src_topic_id, src_partition, src_offset, aggregate, key, window_start)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild';

-- +goose Down
DROP TABLE IF EXISTS late_uploads;
DROP VIEW IF EXISTS windows_latest;
DROP TABLE IF EXISTS windows;
ALTER TABLE uploads DROP COLUMN IF EXISTS bytes_out;
