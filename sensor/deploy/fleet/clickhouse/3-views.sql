-- Takes lines apart. Each view reads the lines of an insert, never a whole table.

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_incidents TO vigie.incidents AS
WITH
    JSONExtractString(line, 'alert', 'metadata', 'ministry', 1) AS own_ministry,
    JSONExtractString(line, 'alert', 'metadata', 'site', 1) AS own_site
SELECT
    parseDateTime64BestEffortOrZero(JSONExtractString(line, 'timestamp'), 6, 'UTC') AS ts,
    JSONExtractString(line, 'host') AS sensor,
    if(own_ministry != '', own_ministry, sensors.ministry) AS ministry,
    if(own_site != '', own_site, sensors.site) AS site,
    JSONExtractString(line, 'alert', 'metadata', 'incident', 1) AS incident,
    JSONExtractString(line, 'alert', 'metadata', 'event_id', 1) AS event_id,
    JSONExtractString(line, 'alert', 'metadata', 'incident_state', 1) AS state,
    JSONExtractUInt(line, 'alert', 'context', 'vigie', 'revision') AS revision,
    toDateOrZero(JSONExtractString(line, 'alert', 'metadata', 'day', 1)) AS day,
    JSONExtractString(line, 'alert', 'metadata', 'client', 1) AS client,
    JSONExtractString(line, 'alert', 'metadata', 'device', 1) AS device,
    JSONExtractString(line, 'alert', 'metadata', 'service', 1) AS service,
    JSONExtractString(line, 'alert', 'metadata', 'verdict', 1) AS verdict,
    JSONExtractString(line, 'alert', 'metadata', 'kind', 1) AS kind,
    JSONExtractString(line, 'alert', 'metadata', 'ban', 1) AS ban,
    JSONExtractUInt(line, 'alert', 'severity') AS severity,
    JSONExtractString(line, 'alert', 'metadata', 'warning', 1) = 'true' AS warning,
    JSONExtractUInt(line, 'alert', 'context', 'vigie', 'flows') AS flows,
    JSONExtractUInt(line, 'alert', 'context', 'vigie', 'bytes_toserver') AS bytes_toserver,
    JSONExtractUInt(line, 'alert', 'context', 'vigie', 'bytes_toclient') AS bytes_toclient,
    JSONExtract(line, 'alert', 'context', 'vigie', 'regions', 'Array(Tuple(region String, bytes_toserver UInt64, bytes_toclient UInt64))') AS regions,
    JSONExtract(line, 'alert', 'metadata', 'names', 'Array(String)') AS names,
    JSONExtract(line, 'alert', 'metadata', 'reasons', 'Array(String)') AS reasons
FROM vigie.lines
LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = JSONExtractString(line, 'host')
WHERE JSONExtractString(line, 'event_type') = 'alert' AND JSONExtractUInt(line, 'alert', 'gid') = 7;

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
WITH JSONExtractString(line, 'alert', 'metadata', 'site', 1) AS own_site
SELECT
    parseDateTime64BestEffortOrZero(JSONExtractString(line, 'timestamp'), 6, 'UTC') AS ts,
    JSONExtractString(line, 'host') AS sensor,
    sensors.ministry AS ministry,
    if(own_site != '', own_site, sensors.site) AS site,
    JSONExtractString(line, 'alert', 'metadata', 'incident', 1) AS incident,
    JSONExtractString(line, 'alert', 'metadata', 'event_id', 1) AS event_id,
    JSONExtractString(line, 'src_ip') AS client,
    JSONExtractString(line, 'dest_ip') AS server,
    JSONExtractUInt(line, 'dest_port') AS server_port,
    JSONExtractString(line, 'alert', 'metadata', 'name', 1) AS name,
    JSONExtractString(line, 'alert', 'metadata', 'service', 1) AS service,
    JSONExtractString(line, 'alert', 'metadata', 'evidence', 1) AS evidence,
    JSONExtractString(line, 'tls', 'ja4') || JSONExtractString(line, 'quic', 'ja4') AS ja4,
    JSONExtractUInt(line, 'flow', 'bytes_toserver') AS bytes_toserver,
    JSONExtractUInt(line, 'flow', 'bytes_toclient') AS bytes_toclient
FROM vigie.lines
LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = JSONExtractString(line, 'host')
WHERE JSONExtractString(line, 'event_type') = 'alert' AND JSONExtractUInt(line, 'alert', 'gid') = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_audit TO vigie.audit AS
SELECT
    parseDateTime64BestEffortOrZero(JSONExtractString(line, 'timestamp'), 6, 'UTC') AS ts,
    JSONExtractString(line, 'host') AS sensor,
    sensors.ministry AS ministry,
    sensors.site AS site,
    JSONExtractString(line, 'alert', 'metadata', 'audit', 1) AS act,
    JSONExtractString(line, 'alert', 'metadata', 'by', 1) AS actor,
    mapApply((key, texts) -> (key, arrayStringConcat(texts, ', ')), JSONExtract(line, 'alert', 'metadata', 'Map(String, Array(String))')) AS facts
FROM vigie.lines
LEFT JOIN vigie.sensors AS sensors ON sensors.sensor = JSONExtractString(line, 'host')
WHERE JSONExtractString(line, 'event_type') = 'alert' AND JSONExtractUInt(line, 'alert', 'gid') = 8;

CREATE MATERIALIZED VIEW IF NOT EXISTS vigie.to_coverage TO vigie.coverage AS
SELECT
    parseDateTime64BestEffortOrZero(JSONExtractString(line, 'timestamp'), 6, 'UTC') AS ts,
    JSONExtractString(line, 'host') AS sensor,
    sensors.ministry AS ministry,
    sensors.site AS site,
    JSONExtractString(line, 'in_iface') AS interface,
    JSONExtractUInt(line, 'metadata', 'flowints', 'vigie.window_s') AS window_s,
    JSONExtractUInt(line, 'metadata', 'flowints', 'vigie.blind_s') AS blind_s,
    JSONExtractUInt(line, 'metadata', 'flowints', 'vigie.drops_ppm') AS drops_ppm,
    JSONExtractUInt(line, 'metadata', 'flowints', 'vigie.hellos') AS hellos,
    JSONExtractUInt(line, 'metadata', 'flowints', 'vigie.hellos_nameless') AS hellos_nameless,
    JSONExtractUInt(line, 'metadata', 'flowints', 'vigie.hellos_ech') AS hellos_ech,
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
        parseDateTime64BestEffortOrZero(JSONExtractString(line, 'timestamp'), 6, 'UTC') AS time,
        JSONExtractString(line, 'alert', 'metadata', 'policy', 1) || JSONExtractString(line, 'metadata', 'flowints', 'vigie.policy') AS policy_hash,
        JSONExtractString(line, 'metadata', 'flowints', 'vigie.signatures') AS signatures_hash
    FROM vigie.lines
)
WHERE sensor != ''
GROUP BY sensor;
