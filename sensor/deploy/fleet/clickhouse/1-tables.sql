-- Events of all sensors, in the encoding eve. Every way in (Kafka, or a file) inserts lines into vigie.lines, which keeps
-- nothing; 3-views.sql takes them apart. Delivery is at least once: ReplacingMergeTree drops what came twice.

CREATE DATABASE IF NOT EXISTS vigie;

-- Where each sensor is. Filled by hand, or from the inventory; an event's own ministry and site come first.
CREATE TABLE IF NOT EXISTS vigie.sensors
(
    sensor String,
    ministry LowCardinality(String),
    site LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY sensor;

CREATE TABLE IF NOT EXISTS vigie.lines
(
    line String
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS vigie.incidents
(
    ts DateTime64(6, 'UTC'),
    ministry LowCardinality(String),
    site LowCardinality(String),
    sensor LowCardinality(String),
    incident String,
    event_id String,
    state LowCardinality(String),
    revision UInt32,
    day Date,
    client String,
    device String,
    service LowCardinality(String),
    verdict LowCardinality(String),
    kind LowCardinality(String),
    ban LowCardinality(String),
    severity UInt8,
    warning Bool,
    flows UInt64,
    bytes_toserver UInt64,
    bytes_toclient UInt64,
    regions Array(Tuple(region String, bytes_toserver UInt64, bytes_toclient UInt64)),
    names Array(String),
    reasons Array(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ministry, site, toDate(ts), incident, event_id)
TTL toDateTime(ts) + INTERVAL 180 DAY;

-- The newest record of each incident: its state and its totals.
CREATE TABLE IF NOT EXISTS vigie.incident_totals
(
    day Date,
    ministry LowCardinality(String),
    site LowCardinality(String),
    incident String,
    service SimpleAggregateFunction(any, String),
    ban SimpleAggregateFunction(any, String),
    last SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    state AggregateFunction(argMax, String, UInt32),
    verdict AggregateFunction(argMax, String, UInt32),
    client AggregateFunction(argMax, String, UInt32),
    bytes_toserver SimpleAggregateFunction(max, UInt64),
    bytes_toclient SimpleAggregateFunction(max, UInt64),
    regions AggregateFunction(argMax, Array(Tuple(String, UInt64, UInt64)), UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (ministry, day, site, incident)
TTL day + INTERVAL 180 DAY
SETTINGS index_granularity = 1024;

-- Counts for dashboards: ids only, which are told apart, so that what came twice counts once. Nobody's address stands here.
CREATE TABLE IF NOT EXISTS vigie.incidents_by_day
(
    day Date,
    ministry LowCardinality(String),
    service LowCardinality(String),
    ban LowCardinality(String),
    incidents AggregateFunction(uniqExact, String)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, ministry, service, ban)
TTL day + INTERVAL 180 DAY
SETTINGS index_granularity = 256;

CREATE TABLE IF NOT EXISTS vigie.alerts
(
    ts DateTime64(6, 'UTC'),
    ministry LowCardinality(String),
    site LowCardinality(String),
    sensor LowCardinality(String),
    incident String,
    event_id String,
    client String,
    server String,
    server_port UInt16,
    name String,
    service LowCardinality(String),
    evidence LowCardinality(String),
    ja4 LowCardinality(String),
    bytes_toserver UInt64,
    bytes_toclient UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ministry, site, toDate(ts), incident, event_id)
TTL toDateTime(ts) + INTERVAL 30 DAY;

CREATE TABLE IF NOT EXISTS vigie.audit
(
    ts DateTime64(6, 'UTC'),
    ministry LowCardinality(String),
    site LowCardinality(String),
    sensor LowCardinality(String),
    act LowCardinality(String),
    actor String,
    facts Map(LowCardinality(String), String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ministry, site, toDate(ts), sensor, act, ts)
TTL toDateTime(ts) + INTERVAL 365 DAY;

-- What each interface covered, minute by minute, and by the hour for dashboards.
CREATE TABLE IF NOT EXISTS vigie.coverage
(
    ts DateTime64(6, 'UTC'),
    ministry LowCardinality(String),
    site LowCardinality(String),
    sensor LowCardinality(String),
    interface LowCardinality(String),
    window_s UInt32,
    blind_s UInt32,
    drops_ppm UInt32,
    hellos UInt64,
    hellos_nameless UInt64,
    hellos_ech UInt64,
    policy LowCardinality(String),
    signatures LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ministry, site, toDate(ts), sensor, interface, ts)
TTL toDateTime(ts) + INTERVAL 180 DAY;

-- Sets of minutes, not sums: a minute that came twice is one minute.
CREATE TABLE IF NOT EXISTS vigie.coverage_by_hour
(
    hour DateTime('UTC'),
    ministry LowCardinality(String),
    site LowCardinality(String),
    sensor LowCardinality(String),
    interface LowCardinality(String),
    minutes AggregateFunction(groupBitmap, UInt32),
    blind_minutes AggregateFunction(groupBitmap, UInt32),
    lossy_minutes AggregateFunction(groupBitmap, UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, ministry, site, sensor, interface)
TTL hour + INTERVAL 180 DAY
SETTINGS index_granularity = 1024;

-- When each sensor was last heard, and what it judges by.
CREATE TABLE IF NOT EXISTS vigie.sensor_last
(
    sensor String,
    last SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    policy AggregateFunction(argMaxIf, String, DateTime64(6, 'UTC'), UInt8),
    signatures AggregateFunction(argMaxIf, String, DateTime64(6, 'UTC'), UInt8)
)
ENGINE = AggregatingMergeTree
ORDER BY sensor;
