-- +goose NO TRANSACTION
-- +goose Up

-- One row per upload record: its fate.
--
-- Every table is written in blocks that share one loaded_at, so that a block
-- lies in one partition and is atomic. A row carries its origin (src_…), the
-- position of the record that the loader read (load_…), and a lease by the
-- server's clock: a writer that comes too late is refused by the constraint.
-- The projection by_load answers the loader's question after an assignment.
CREATE TABLE IF NOT EXISTS uploads
(
    upload_id          String CODEC(ZSTD(1)),
    uploader           LowCardinality(String),
    filename           String CODEC(ZSTD(1)),
    event_time         Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    uploaded_at        Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    loaded_at          DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    outcome            Enum8('original' = 1, 'duplicate' = 2, 'repeat' = 3, 'dead' = 4, 'lost' = 5),
    duplicate_of       Nullable(String) CODEC(ZSTD(1)),
    sha256             Nullable(String) CODEC(ZSTD(1)),
    format             LowCardinality(Nullable(String)),
    width              Nullable(UInt32),
    height             Nullable(UInt32),
    bytes              Nullable(UInt64),
    orientation        Nullable(UInt8),
    camera_make        LowCardinality(Nullable(String)),
    camera_model       LowCardinality(Nullable(String)),
    lens_model         LowCardinality(Nullable(String)),
    taken_at_local     Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    taken_offset_min   Nullable(Int16),
    taken_at_utc       Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    latitude           Nullable(Float64),
    longitude          Nullable(Float64),
    iso                Nullable(UInt32),
    exposure_s         Nullable(Float64),
    f_number           Nullable(Float64),
    focal_length_mm    Nullable(Float64),
    phash              Nullable(UInt64),
    spec               LowCardinality(Nullable(String)),
    kernel_path        LowCardinality(Nullable(String)),
    extract_ms         Nullable(Float32),
    transform_ms       Nullable(Float32),
    animated           Nullable(Bool),
    append_time        Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    stream_time        Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    redrive_of         Nullable(String) CODEC(ZSTD(1)),
    src_topic_id       UUID,
    src_partition      Int32,
    src_offset         Int64 CODEC(DoubleDelta, ZSTD(1)),
    load_topic_id      UUID,
    load_partition     Int32,
    load_offset        Int64 CODEC(DoubleDelta, ZSTD(1)),
    load_lease         DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    CONSTRAINT live CHECK load_lease > now64(3),
    INDEX event_time_range event_time TYPE minmax,
    PROJECTION by_minute
    (
        SELECT toStartOfMinute(event_time), outcome, count(), sum(bytes)
        GROUP BY toStartOfMinute(event_time), outcome
    ),
    PROJECTION by_load
    (
        SELECT load_topic_id, load_partition, max(load_offset)
        GROUP BY load_topic_id, load_partition
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(loaded_at)
ORDER BY (src_topic_id, src_partition, src_offset)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild';

-- One row per derived size of an original.
CREATE TABLE IF NOT EXISTS renditions
(
    sha256         String CODEC(ZSTD(1)),
    name           LowCardinality(String),
    spec           LowCardinality(String),
    width          UInt32,
    height         UInt32,
    bytes          UInt64,
    key            String CODEC(ZSTD(1)),
    event_time     Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    loaded_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    src_topic_id   UUID,
    src_partition  Int32,
    src_offset     Int64 CODEC(ZSTD(1)),
    load_topic_id  UUID,
    load_partition Int32,
    load_offset    Int64 CODEC(ZSTD(1)),
    load_lease     DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    CONSTRAINT live CHECK load_lease > now64(3),
    PROJECTION by_minute
    (
        SELECT toStartOfMinute(event_time), name, count(), sum(bytes)
        GROUP BY toStartOfMinute(event_time), name
    ),
    PROJECTION by_load
    (
        SELECT load_topic_id, load_partition, max(load_offset)
        GROUP BY load_topic_id, load_partition
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(loaded_at)
ORDER BY (sha256, name, spec)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild';

-- Why an upload died. Never a fate: join it to uploads on the origin.
CREATE TABLE IF NOT EXISTS dead_letters
(
    upload_id      String CODEC(ZSTD(1)),
    stage          LowCardinality(String),
    reason         LowCardinality(String),
    detail         String CODEC(ZSTD(1)),
    raw            Nullable(String) CODEC(ZSTD(1)),
    event_time     Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    failed_at      DateTime64(3, 'UTC') CODEC(ZSTD(1)),
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
ORDER BY (src_topic_id, src_partition, src_offset, stage)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild';

-- Control records that move the stream time of an idle source.
CREATE TABLE IF NOT EXISTS ticks
(
    event_time     DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    loaded_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    src_topic_id   UUID,
    src_partition  Int32,
    src_offset     Int64 CODEC(DoubleDelta, ZSTD(1)),
    load_topic_id  UUID,
    load_partition Int32,
    load_offset    Int64 CODEC(DoubleDelta, ZSTD(1)),
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
ORDER BY (src_topic_id, src_partition, src_offset)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild';

-- +goose Down
DROP TABLE IF EXISTS ticks;
DROP TABLE IF EXISTS dead_letters;
DROP TABLE IF EXISTS renditions;
DROP TABLE IF EXISTS uploads;
