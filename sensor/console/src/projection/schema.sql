CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Numbers of incidents, in the order in which they are met: what belongs to one is found by its number, so that what comes in is
-- written where it was written last. An id is random, and by it every line would write another page of the file.
CREATE TABLE incident_key (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE
);

CREATE TABLE incident (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    alias TEXT NOT NULL,
    state TEXT NOT NULL,
    closed TEXT NOT NULL,
    client TEXT NOT NULL,
    client_alias TEXT NOT NULL,
    device TEXT NOT NULL,
    service TEXT NOT NULL,
    service_name TEXT NOT NULL,
    verdict TEXT NOT NULL,
    kind TEXT NOT NULL,
    first_run INTEGER NOT NULL,
    is_warning INTEGER NOT NULL,
    is_attempt INTEGER NOT NULL,
    is_clear_text INTEGER NOT NULL,
    ban TEXT NOT NULL,
    ban_title TEXT NOT NULL,
    authority TEXT NOT NULL,
    day TEXT NOT NULL,
    scope TEXT NOT NULL,
    site TEXT NOT NULL,
    ministry TEXT NOT NULL,
    severity INTEGER NOT NULL,
    opened_us INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    bytes_to_server INTEGER NOT NULL,
    bytes_to_client INTEGER NOT NULL,
    alerts_left_out INTEGER NOT NULL,
    evidence_left_out INTEGER NOT NULL DEFAULT 0,
    lists TEXT NOT NULL,
    acknowledged_by TEXT NOT NULL DEFAULT '',
    disposition TEXT NOT NULL DEFAULT '',
    decision TEXT NOT NULL AS
        (CASE WHEN disposition <> '' THEN disposition WHEN acknowledged_by <> '' THEN 'taken-up' ELSE 'none' END) VIRTUAL
);
CREATE INDEX incident_alias ON incident (alias);
CREATE INDEX incident_opened ON incident (opened_us, seq);
CREATE INDEX incident_day ON incident (day, opened_us, seq);
CREATE INDEX incident_client ON incident (client, opened_us);
CREATE INDEX incident_service ON incident (service, first_us, seq);
CREATE INDEX incident_excused ON incident (day) WHERE closed = 'excused';
CREATE INDEX incident_decided ON incident (day) WHERE disposition <> '';
CREATE INDEX incident_open ON incident (opened_us, seq) WHERE state <> 'closed';

CREATE TABLE change (
    incident INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    verdict TEXT NOT NULL,
    kind TEXT NOT NULL,
    closed TEXT NOT NULL,
    segment INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (incident, time_us, revision)
) WITHOUT ROWID;

-- What of an alert is the same for all alerts of a rule.
CREATE TABLE rule (
    seq INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    signature_id INTEGER NOT NULL,
    class TEXT NOT NULL,
    family TEXT NOT NULL,
    sources TEXT NOT NULL,
    reviewed TEXT NOT NULL,
    UNIQUE (signature_id, rule, class, family, sources, reviewed)
);

CREATE TABLE evidence (
    incident INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    rule INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    ja4 TEXT NOT NULL,
    region TEXT NOT NULL,
    proto TEXT NOT NULL,
    client_port INTEGER NOT NULL,
    server TEXT NOT NULL,
    server_port INTEGER NOT NULL,
    community_id TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (incident, time_us, event_id)
) WITHOUT ROWID;
CREATE INDEX evidence_time ON evidence (time_us);

CREATE TABLE audit (
    journal TEXT NOT NULL,
    segment INTEGER NOT NULL,
    place INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    incident TEXT NOT NULL,
    by TEXT NOT NULL,
    facts TEXT NOT NULL,
    PRIMARY KEY (journal, segment, place)
) WITHOUT ROWID;
CREATE INDEX audit_time ON audit (time_us);
CREATE INDEX audit_incident ON audit (incident, time_us);

CREATE TABLE coverage (
    begin_us INTEGER NOT NULL,
    interface TEXT NOT NULL,
    window_s INTEGER NOT NULL,
    blind_s INTEGER NOT NULL,
    drops_ppm INTEGER NOT NULL,
    hellos INTEGER NOT NULL,
    nameless INTEGER NOT NULL,
    ech INTEGER NOT NULL,
    shunted INTEGER NOT NULL,
    policy TEXT NOT NULL,
    signatures TEXT NOT NULL,
    assets_listed INTEGER NOT NULL,
    assets_seen INTEGER NOT NULL,
    PRIMARY KEY (begin_us, interface)
) WITHOUT ROWID;

CREATE TABLE alert_day (
    day TEXT NOT NULL,
    service TEXT NOT NULL,
    ban TEXT NOT NULL,
    alerts INTEGER NOT NULL,
    PRIMARY KEY (day, service, ban)
) WITHOUT ROWID;

-- Counts of incidents, kept by the triggers below: over a million incidents, pages and reports cannot count anew.
CREATE TABLE day_count (
    day TEXT NOT NULL,
    verdict TEXT NOT NULL,
    service TEXT NOT NULL,
    ban TEXT NOT NULL,
    site TEXT NOT NULL,
    ministry TEXT NOT NULL,
    first_run INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    decision TEXT NOT NULL,
    service_name TEXT NOT NULL,
    ban_title TEXT NOT NULL,
    incidents INTEGER NOT NULL,
    PRIMARY KEY (day, verdict, service, ban, site, ministry, first_run, is_open, decision)
) WITHOUT ROWID;

-- By the hour in which they opened, for the last days only.
CREATE TABLE hour_count (
    hour INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    service TEXT NOT NULL,
    ban TEXT NOT NULL,
    site TEXT NOT NULL,
    is_open INTEGER NOT NULL,
    decision TEXT NOT NULL,
    service_name TEXT NOT NULL,
    incidents INTEGER NOT NULL,
    PRIMARY KEY (hour, verdict, service, ban, site, is_open, decision)
) WITHOUT ROWID;

-- Names of clients: what viewers see, and what the list of assets has.
CREATE TABLE client (
    client TEXT PRIMARY KEY,
    alias TEXT NOT NULL,
    device TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX client_alias ON client (alias);
CREATE INDEX client_device ON client (device);

CREATE TABLE client_count (
    service TEXT NOT NULL,
    ban TEXT NOT NULL,
    client TEXT NOT NULL,
    incidents INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    PRIMARY KEY (service, ban, client)
) WITHOUT ROWID;

-- Bytes; a sum that is too large for an integer becomes a floating number.
CREATE TABLE destination (
    day TEXT NOT NULL,
    service TEXT NOT NULL,
    region TEXT NOT NULL,
    service_name TEXT NOT NULL,
    sent NUMERIC NOT NULL,
    received NUMERIC NOT NULL,
    incidents INTEGER NOT NULL,
    PRIMARY KEY (day, service, region)
) WITHOUT ROWID;

-- How an incident counts: what is inserted here, with 1 or -1, is added to the counts. The triggers of incidents do nothing else with
-- them. An hour that was pruned may go below 0, and is pruned again.
CREATE VIEW counted AS
    SELECT day, opened_us / 3600000000 AS hour, verdict, service, service_name, ban, ban_title, site, ministry, first_run,
        state <> 'closed' AS is_open, decision, 1 AS by
    FROM incident;
CREATE TRIGGER counted_added INSTEAD OF INSERT ON counted BEGIN
    INSERT INTO day_count
        VALUES (new.day, new.verdict, new.service, new.ban, new.site, new.ministry, new.first_run, new.is_open, new.decision,
            new.service_name, new.ban_title, new.by)
        ON CONFLICT DO UPDATE SET incidents = incidents + new.by;
    INSERT INTO hour_count
        VALUES (new.hour, new.verdict, new.service, new.ban, new.site, new.is_open, new.decision, new.service_name, new.by)
        ON CONFLICT DO UPDATE SET incidents = incidents + new.by;
END;

-- The same of its bytes, by region.
CREATE VIEW sent AS SELECT day, service, service_name, lists, 1 AS by FROM incident;
CREATE TRIGGER sent_added INSTEAD OF INSERT ON sent BEGIN
    INSERT INTO destination
        SELECT new.day, new.service, coalesce(json_extract(value, '$.region'), ''), new.service_name,
            new.by * total(json_extract(value, '$.bytes_toserver')), new.by * total(json_extract(value, '$.bytes_toclient')),
            new.by
        FROM json_each(new.lists, '$.region_bytes') GROUP BY 3
        ON CONFLICT DO UPDATE SET sent = sent + excluded.sent, received = received + excluded.received,
            incidents = incidents + new.by;
END;

CREATE TRIGGER incident_added AFTER INSERT ON incident BEGIN
    INSERT INTO client VALUES (new.client, new.client_alias, new.device) ON CONFLICT DO UPDATE SET device = new.device;
    INSERT INTO client_count VALUES (new.service, new.ban, new.client, 1, new.first_us, new.last_us)
        ON CONFLICT DO UPDATE SET incidents = incidents + 1, first_us = min(first_us, new.first_us),
            last_us = max(last_us, new.last_us);
    INSERT INTO counted
        VALUES (new.day, new.opened_us / 3600000000, new.verdict, new.service, new.service_name, new.ban, new.ban_title, new.site,
            new.ministry, new.first_run, new.state <> 'closed', new.decision, 1);
    INSERT INTO sent VALUES (new.day, new.service, new.service_name, new.lists, 1);
END;

CREATE TRIGGER incident_changed AFTER UPDATE OF verdict, first_run, state, acknowledged_by, disposition ON incident
WHEN (old.verdict, old.first_run, old.state <> 'closed', old.decision)
    IS NOT (new.verdict, new.first_run, new.state <> 'closed', new.decision)
BEGIN
    INSERT INTO counted
        VALUES (old.day, old.opened_us / 3600000000, old.verdict, old.service, old.service_name, old.ban, old.ban_title, old.site,
                old.ministry, old.first_run, old.state <> 'closed', old.decision, -1),
            (new.day, new.opened_us / 3600000000, new.verdict, new.service, new.service_name, new.ban, new.ban_title, new.site,
                new.ministry, new.first_run, new.state <> 'closed', new.decision, 1);
END;

CREATE TRIGGER incident_continued AFTER UPDATE OF first_us, last_us ON incident
WHEN (old.first_us, old.last_us) IS NOT (new.first_us, new.last_us)
BEGIN
    UPDATE client_count SET first_us = min(first_us, new.first_us), last_us = max(last_us, new.last_us)
        WHERE service = new.service AND ban = new.ban AND client = new.client;
END;

CREATE TRIGGER incident_sent AFTER UPDATE OF lists ON incident WHEN old.lists <> new.lists BEGIN
    INSERT INTO sent
        VALUES (old.day, old.service, old.service_name, old.lists, -1), (new.day, new.service, new.service_name, new.lists, 1);
END;

CREATE TRIGGER incident_removed AFTER DELETE ON incident BEGIN
    UPDATE client_count SET incidents = incidents - 1
        WHERE service = old.service AND ban = old.ban AND client = old.client;
    INSERT INTO counted
        VALUES (old.day, old.opened_us / 3600000000, old.verdict, old.service, old.service_name, old.ban, old.ban_title, old.site,
            old.ministry, old.first_run, old.state <> 'closed', old.decision, -1);
    INSERT INTO sent VALUES (old.day, old.service, old.service_name, old.lists, -1);
END;
