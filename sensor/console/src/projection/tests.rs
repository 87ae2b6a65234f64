use std::fs;
use std::sync::mpsc;

use super::*;

fn options(folder: &Path) -> Options {
    fs::create_dir_all(folder.join("journal")).unwrap();
    fs::create_dir_all(folder.join("own")).unwrap();
    Options {
        journal: folder.join("journal"),
        own_journal: folder.join("own"),
        database: folder.join("console.sqlite"),
        evidence_max: 3,
        incidents_days: 36_500,
        evidence_days: 36_500,
    }
}

fn append(folder: &Path, lines: &str) {
    use std::io::Write;
    let path = folder.join("00000001.jsonl");
    fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(lines.as_bytes()).unwrap();
}

fn incident(id: &str, revision: u64, state: &str, verdict: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-11-24T08:00:0{revision}.000000+0000","event_type":"alert","alert":{{"gid":7,"signature_id":1,"severity":1,"metadata":{{"incident":["{id}"],"incident_state":["{state}"],"client":["10.0.0.1"],"service":["tiktok"],"verdict":["{verdict}"],"day":["2026-11-24"],"ban":["fr"],"reasons":["a"]}},"context":{{"vigie":{{"revision":{revision},"flows":{revision},"first":"2026-11-24T08:00:00.000000+0000","last":"2026-11-24T08:00:0{revision}.000000+0000"}}}}}}}}"#
    ) + "\n"
}

fn alert(id: &str, number: u32) -> String {
    format!(
        r#"{{"timestamp":"2026-11-24T08:00:00.00000{number}+0000","event_type":"alert","alert":{{"gid":1,"signature_id":7100103,"metadata":{{"incident":["{id}"],"event_id":["{number}"],"service":["tiktok"],"ban":["fr"],"name":["n{number}.tiktokv.com"]}}}}}}"#
    ) + "\n"
}

const DECISION: &str = concat!(
    r#"{"timestamp":"2026-11-24T09:00:00.000000+0000","event_type":"alert","alert":{"gid":8,"signature_id":6,"metadata":{"audit":["disposition"],"incident":["a"],"disposition":["false"],"by":["dupont"]}}}"#,
    "\n"
);

const COVERAGE: &str = concat!(
    r#"{"timestamp":"2026-11-24T09:00:59.000000+0000","event_type":"stats","in_iface":"eth1","stats":{},"metadata":{"flowints":{"vigie.window_s":60,"vigie.blind_s":4,"vigie.hellos":120,"vigie.policy":"00ff"}}}"#,
    "\n"
);

/// Longer than a machine stands still that does other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until everything is in the tables.
fn settle(projection: &Projection) {
    for _ in 0..2 {
        let (done, is_done) = mpsc::channel();
        projection.when_read(Box::new(move || done.send(()).unwrap_or_default()));
        let read = is_done.recv_timeout(PATIENCE);
        assert!(read.is_ok(), "{read:?}: {:?}", projection.progress.reading());
    }
    within(|| projection.progress.reading().is_current);
}

fn text(options: &Options, query: &str) -> String {
    Connection::open(&options.database).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

const SUMMARY: &str =
    "SELECT group_concat(id || ' ' || state || ' ' || verdict || ' ' || flows || ' ' || evidence_left_out
    || ' ' || disposition || ' ' || acknowledged_by, '; ') FROM (SELECT * FROM incident ORDER BY id)";

#[test]
fn the_tables_say_what_the_journals_do_and_come_back_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    append(&options.journal, &incident("a", 1, "opened", "web"));
    for number in 0..5 {
        append(&options.journal, &alert("a", number));
    }
    append(&options.journal, "{\"not\n");
    append(&options.journal, &incident("a", 2, "risen", "app"));
    append(&options.journal, &incident("b", 1, "opened", "app"));
    append(&options.journal, COVERAGE);
    append(&options.own_journal, DECISION);
    let key = AliasKey::new(&[7; 32]);
    let projection = Projection::start(options.clone(), key).unwrap();
    settle(&projection);
    let expected = "a risen app 2 2  ; b opened app 1 0  ";
    let decided = "a risen app 2 2 false dupont; b opened app 1 0  ";
    // The decision stands in a journal that is read first: it has to find its incident all the same.
    assert_ne!(text(&options, SUMMARY), expected);
    assert_eq!(text(&options, SUMMARY), decided);
    assert_eq!(
        text(&options, "SELECT group_concat(name) FROM evidence"),
        "n0.tiktokv.com,n1.tiktokv.com,n2.tiktokv.com"
    );
    assert_eq!(text(&options, "SELECT alerts || ' ' || day FROM alert_day"), "5 2026-11-24");
    assert_eq!(text(&options, "SELECT interface || blind_s || hellos || policy FROM coverage"), "eth1412000ff");
    assert_eq!(text(&options, "SELECT count(*) || ' ' || max(revision) FROM change"), "3 2");
    assert_eq!(projection.progress.lines_unread.load(Relaxed), 1);
    // A line comes in.
    append(&options.journal, &incident("b", 2, "closed", "app"));
    let is_in = || text(&options, SUMMARY).contains("b closed app 2");
    within(is_in);
    // The file is removed, or damaged, while it is in use.
    remove(&options.database);
    within(|| options.database.exists() && projection.progress.generation.load(Relaxed) == 2);
    settle(&projection);
    assert_eq!(text(&options, SUMMARY), decided.replace("b opened app 1", "b closed app 2"));
}

#[test]
fn counts_are_those_of_the_incidents_whatever_becomes_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    // Hours are counted for the last days only.
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let sent = |line: String, bytes: u64| {
        let regions =
            format!(r#""regions":[{{"region":"Norway","bytes_toserver":{bytes},"bytes_toclient":2}}],"first""#);
        line.replacen(r#""first""#, &regions, 1).replace("2026-11-24", &today)
    };
    append(&options.journal, &sent(incident("a", 1, "opened", "web"), 10));
    append(&options.journal, &sent(incident("b", 1, "opened", "web"), 100));
    append(&options.journal, &sent(incident("c", 1, "opened", "app"), 1_000));
    append(&options.journal, &sent(incident("a", 2, "risen", "app"), 15));
    append(&options.journal, &sent(incident("b", 2, "closed", "web"), 100));
    append(&options.own_journal, &DECISION.replace("2026-11-24", &today));
    let projection = Projection::start(options.clone(), AliasKey::new(&[7; 32])).unwrap();
    settle(&projection);
    let counted = "SELECT group_concat(verdict || is_open || decision || incidents, ' ')
                   FROM (SELECT * FROM TABLE WHERE incidents > 0 ORDER BY verdict, is_open, decision)";
    let by_day = || text(&options, &counted.replace("TABLE", "day_count"));
    assert_eq!(by_day(), "app1false1 app1none1 web0none1");
    assert_eq!(text(&options, &counted.replace("TABLE", "hour_count")), by_day());
    let bytes = "SELECT region || sent || ' ' || received || ' ' || incidents FROM destination";
    assert_eq!(text(&options, bytes), "Norway1115 6 3");
    let tables = Connection::open(&options.database).unwrap();
    tables.execute("DELETE FROM incident WHERE id IN ('a', 'b')", []).unwrap();
    assert_eq!(by_day(), "app1none1");
    assert_eq!(text(&options, bytes), "Norway1000 2 1");
}

fn within(is_true: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < PATIENCE, "it did not come about within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn damaged_tables_and_those_of_another_version_are_made_anew() {
    for damage in [b"no database, but text".as_slice(), b"", &[0; 100_000]] {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        append(&options.journal, &incident("a", 1, "opened", "web"));
        fs::write(&options.database, damage).unwrap();
        let projection = Projection::start(options.clone(), AliasKey::new(&[7; 32])).unwrap();
        settle(&projection);
        assert_eq!(text(&options, "SELECT id FROM incident"), "a");
    }
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    append(&options.journal, &incident("a", 1, "opened", "web"));
    let old = Connection::open(&options.database).unwrap();
    old.execute_batch("CREATE TABLE incident (x); PRAGMA user_version = 99").unwrap();
    drop(old);
    let projection = Projection::start(options.clone(), AliasKey::new(&[7; 32])).unwrap();
    settle(&projection);
    assert_eq!(text(&options, "SELECT id FROM incident"), "a");
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    append(&options.journal, &incident("a", 1, "opened", "web"));
    append(&options.journal, &alert("a", 0));
    for round in 1..=2 {
        let projection = Projection::start(options.clone(), AliasKey::new(&[7; 32])).unwrap();
        settle(&projection);
        assert_eq!(text(&options, "SELECT CAST(alerts AS TEXT) FROM alert_day"), "1", "round {round}");
    }
}
