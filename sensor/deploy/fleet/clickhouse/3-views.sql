-- Takes lines apart. Each view reads the lines of an insert, never a whole table.

-- What an event says. A function is replaced by what stands in it, wherever it is used.
CREATE OR REPLACE FUNCTION vigie_time AS (line) -> parseDateTime64BestEffortOrZero(JSONExtractString(line, 'timestamp'), 6, 'UTC');
CREATE OR REPLACE FUNCTION vigie_fact AS (line, fact) -> JSONExtractString(line, 'alert', 'metadata', fact, 1);
CREATE OR REPLACE FUNCTION vigie_total AS (line, total) -> JSONExtractUInt(line, 'alert', 'context', 'vigie', total);
CREATE OR REPLACE FUNCTION vigie_coverage AS (line, count) -> JSONExtractUInt(line, 'metadata', 'flowints', count);
CREATE OR REPLACE FUNCTION vigie_is_alert_of AS (line, gid) ->
    JSONExtractString(line, 'event_type') = 'alert' AND JSONExtractUInt(line, 'alert', 'gid') = gid;

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_incidents TO vigie.incidents AS
WITH
    vigie_fact(line, 'ministry') AS own_ministry,
    vigie_fact(line, 'site') AS own_site
SELECT
    vigie_time(line) AS ts,
    JSONExtractString(line, 'host') AS sensor,
    if(own_ministry != '', own_ministry, sensors.ministry) AS ministry,
    if(own_site != '', own_site, sensors.site) AS site,
    vigie_fact(line, 'incident') AS incident,
    vigie_fact(line, 'event_id') AS event_id,
    vigie_fact(line, 'incident_state') AS state,
    vigie_total(line, 'revision') AS revision,
    toDateOrZero(vigie_fact(line, 'day')) AS day,
    vigie_fact(line, 'client') AS client,
    vigie_fact(line, 'device') AS device,
    vigie_fact(line, 'service') AS service,
    vigie_fact(line, 'verdict') AS verdict,
    vigie_fact(line, 'kind') AS kind,
    vigie_fact(line, 'ban') AS ban,
    JSONExtractUInt(line, 'alert', 'severity') AS severity,
    vigie_fact(line, 'warning') = 'true' AS warning,
    vigie_total(line, 'flows') AS flows,
    vigie_total(line, 'bytes_toserver') AS bytes_toserver,
    vigie_total(line, 'bytes_toclient') AS bytes_toclient,
    JSONExtract(line, 'alert', 'context', 'vigie', 'regions', 'Array(Tuple(region String, bytes_toserver UInt64, bytes_toclient UInt64))') AS regions,
    JSONExtract(line, 'alert', 'metadata', 'names', 'Array(String)') AS names,
    JSONExtract(line, 'alert', 'metadata', 'reasons', 'Array(String)') AS reasons
FROM vigie.lines
LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = JSONExtractString(line, 'host')
WHERE vigie_is_alert_of(line, 7);

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_incident_totals TO vigie.incident_totals AS
SELECT
    day,
    ministry,
    site,
    incident,
    any(incidents.service) AS service,
    any(incidents.ban) AS ban,
    max(ts) AS last,
    argMaxState(toString(incidents.state), revision) AS state,
    argMaxState(toString(incidents.verdict), revision) AS verdict,
    argMaxState(incidents.client, revision) AS client,
    max(incidents.bytes_toserver) AS bytes_toserver,
    max(incidents.bytes_toclient) AS bytes_toclient,
    argMaxState(incidents.regions, revision) AS regions
FROM vigie.incidents
GROUP BY day, ministry, site, incident;

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_incidents_by_day TO vigie.incidents_by_day AS
SELECT day, ministry, service, ban, uniqExactState(incident) AS incidents
FROM vigie.incidents
GROUP BY day, ministry, service, ban;

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_alerts TO vigie.alerts AS
WITH vigie_fact(line, 'site') AS own_site
SELECT
    vigie_time(line) AS ts,
    JSONExtractString(line, 'host') AS sensor,
    sensors.ministry AS ministry,
    if(own_site != '', own_site, sensors.site) AS site,
    vigie_fact(line, 'incident') AS incident,
    vigie_fact(line, 'event_id') AS event_id,
    JSONExtractString(line, 'src_ip') AS client,
    JSONExtractString(line, 'dest_ip') AS server,
    JSONExtractUInt(line, 'dest_port') AS server_port,
    vigie_fact(line, 'name') AS name,
    vigie_fact(line, 'service') AS service,
    vigie_fact(line, 'evidence') AS evidence,
    JSONExtractString(line, 'tls', 'ja4') || JSONExtractString(line, 'quic', 'ja4') AS ja4,
    JSONExtractUInt(line, 'flow', 'bytes_toserver') AS bytes_toserver,
    JSONExtractUInt(line, 'flow', 'bytes_toclient') AS bytes_toclient
FROM vigie.lines
LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = JSONExtractString(line, 'host')
WHERE vigie_is_alert_of(line, 1);

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_audit TO vigie.audit AS
SELECT
    vigie_time(line) AS ts,
    JSONExtractString(line, 'host') AS sensor,
    sensors.ministry AS ministry,
    sensors.site AS site,
    vigie_fact(line, 'audit') AS act,
    vigie_fact(line, 'by') AS actor,
    mapApply((key, texts) -> (key, arrayStringConcat(texts, ', ')), JSONExtract(line, 'alert', 'metadata', 'Map(String, Array(String))')) AS facts
FROM vigie.lines
LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = JSONExtractString(line, 'host')
WHERE vigie_is_alert_of(line, 8);

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_coverage TO vigie.coverage AS
SELECT
    vigie_time(line) AS ts,
    JSONExtractString(line, 'host') AS sensor,
    sensors.ministry AS ministry,
    sensors.site AS site,
    JSONExtractString(line, 'in_iface') AS interface,
    vigie_coverage(line, 'vigie.window_s') AS window_s,
    vigie_coverage(line, 'vigie.blind_s') AS blind_s,
    vigie_coverage(line, 'vigie.drops_ppm') AS drops_ppm,
    vigie_coverage(line, 'vigie.hellos') AS hellos,
    vigie_coverage(line, 'vigie.hellos_nameless') AS hellos_nameless,
    vigie_coverage(line, 'vigie.hellos_ech') AS hellos_ech,
    JSONExtractString(line, 'metadata', 'flowints', 'vigie.policy') AS policy,
    JSONExtractString(line, 'metadata', 'flowints', 'vigie.signatures') AS signatures
FROM vigie.lines
LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = JSONExtractString(line, 'host')
WHERE JSONExtractString(line, 'event_type') = 'stats' AND JSONHas(line, 'metadata', 'flowints', 'vigie.window_s');

-- Lossy: more than one packet in a hundred was dropped.
CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_coverage_by_hour TO vigie.coverage_by_hour AS
SELECT
    toStartOfHour(toDateTime(ts, 'UTC')) AS hour,
    ministry,
    site,
    sensor,
    interface,
    groupBitmapState(toUInt32(intDiv(toUnixTimestamp(ts), 60))) AS minutes,
    groupBitmapStateIf(toUInt32(intDiv(toUnixTimestamp(ts), 60)), blind_s > 0) AS blind_minutes,
    groupBitmapStateIf(toUInt32(intDiv(toUnixTimestamp(ts), 60)), drops_ppm > 10000) AS lossy_minutes
FROM vigie.coverage
GROUP BY hour, ministry, site, sensor, interface;

-- A policy is known from the audit at the sensor's start too.
CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_sensor_last TO vigie.sensor_last AS
SELECT
    JSONExtractString(line, 'host') AS sensor,
    max(time) AS last,
    argMaxIfState(policy_hash, time, toUInt8(policy_hash != '')) AS policy,
    argMaxIfState(signatures_hash, time, toUInt8(signatures_hash != '')) AS signatures
FROM
(
    SELECT
        line,
        vigie_time(line) AS time,
        vigie_fact(line, 'policy') || JSONExtractString(line, 'metadata', 'flowints', 'vigie.policy') AS policy_hash,
        JSONExtractString(line, 'metadata', 'flowints', 'vigie.signatures') AS signatures_hash
    FROM vigie.lines
)
WHERE sensor != ''
GROUP BY sensor;
