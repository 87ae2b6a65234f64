CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE incident (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
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
    disposition TEXT NOT NULL DEFAULT ''
);
CREATE INDEX incident_alias ON incident (alias);
CREATE INDEX incident_opened ON incident (opened_us, seq);
CREATE INDEX incident_day ON incident (day, opened_us, seq);
CREATE INDEX incident_client ON incident (client, opened_us);
CREATE INDEX incident_client_alias ON incident (client_alias, opened_us);
-- With everything that counts need: the rows themselves are long.
CREATE INDEX incident_service ON incident (service, opened_us, service_name);
CREATE INDEX incident_ban ON incident (ban, opened_us);
CREATE INDEX incident_verdict ON incident (verdict, opened_us);
CREATE INDEX incident_site ON incident (site, opened_us);
CREATE INDEX incident_open ON incident (opened_us, seq) WHERE state <> 'closed';

CREATE TABLE change (
    incident TEXT NOT NULL,
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

CREATE TABLE evidence (
    incident TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    name TEXT NOT NULL,
    class TEXT NOT NULL,
    family TEXT NOT NULL,
    kind TEXT NOT NULL,
    rule TEXT NOT NULL,
    signature_id INTEGER NOT NULL,
    sources TEXT NOT NULL,
    reviewed TEXT NOT NULL,
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
CREATE INDEX audit_incident ON audit (incident, time_us) WHERE incident <> '';

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
    PRIMARY KEY (begin_us, interface)
) WITHOUT ROWID;

CREATE TABLE alert_day (
    day TEXT NOT NULL,
    service TEXT NOT NULL,
    ban TEXT NOT NULL,
    alerts INTEGER NOT NULL,
    PRIMARY KEY (day, service, ban)
) WITHOUT ROWID;
