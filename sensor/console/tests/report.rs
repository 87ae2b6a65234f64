//! `vigie-console report`: what it tells of journals, and what it does not.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// An incident, as a journal tells it.
#[derive(Clone, Copy)]
struct Incident<'i> {
    day: &'i str,
    service: &'i str,
    ministry: &'i str,
    /// Region of the host name, and bytes.
    bytes: &'i [(&'i str, u64)],
    /// Rule that answered, and what a person decided.
    rule: &'i str,
    decided: &'i str,
}

const PLAIN: Incident<'_> = Incident {
    day: "2026-11-17",
    service: "tiktok",
    ministry: "Finance",
    bytes: &[("Norway", 100)],
    rule: "a rule",
    decided: "",
};

/// Lines of so many incidents, each of a device of its own.
fn lines(count: usize, name: &str, incident: Incident<'_>) -> String {
    let Incident { day, service, ministry, bytes, rule, decided } = incident;
    let regions: Vec<String> = bytes
        .iter()
        .map(|(region, bytes)| format!(r#"{{"region":"{region}","bytes_toserver":{bytes},"bytes_toclient":0}}"#))
        .collect();
    let mut text = String::new();
    for number in 0..count {
        let (time, id) = (format!("{day}T08:00:00.000000+0000"), format!("{name}-{number}"));
        writeln!(
            text,
            r#"{{"timestamp":"{time}","event_type":"alert","alert":{{"gid":7,"signature_id":1,"severity":1,"metadata":{{"incident":["{id}"],"incident_state":["opened"],"client":["10.77.0.{number}"],"service":["{service}"],"verdict":["app"],"ban":["fr"],"day":["{day}"],"ministry":["{ministry}"]}},"context":{{"vigie":{{"revision":1,"flows":1,"regions":[{}],"first":"{time}","last":"{time}"}}}}}}}}"#,
            regions.join(",")
        )
        .unwrap();
        writeln!(
            text,
            r#"{{"timestamp":"{time}","event_type":"alert","alert":{{"gid":1,"signature_id":7,"metadata":{{"event_id":["{id}"],"incident":["{id}"],"service":["{service}"],"rule":["{rule}"]}}}}}}"#
        )
        .unwrap();
        if !decided.is_empty() {
            writeln!(
                text,
                r#"{{"timestamp":"{time}","event_type":"alert","alert":{{"gid":8,"signature_id":6,"metadata":{{"audit":["disposition"],"incident":["{id}"],"disposition":["{decided}"],"by":["dupont"]}}}}}}"#
            )
            .unwrap();
        }
    }
    text
}

/// An hour of coverage from eight o'clock on.
fn coverage(day: &str, more: &str) -> String {
    (0..60)
        .map(|minute| {
            format!(
                r#"{{"timestamp":"{day}T08:{minute:02}:59.000000+0000","event_type":"stats","in_iface":"eth1","stats":{{}},"metadata":{{"flowints":{{"vigie.window_s":60,"vigie.blind_s":0,"vigie.hellos":10{more}}}}}}}"#
            ) + "\n"
        })
        .collect()
}

struct Journals(TempDir);

impl Journals {
    fn new(journals: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in journals {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("00000001.jsonl"), text).unwrap();
        }
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn report(&self, journals: &[&str], arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-console"));
        command.args(["report", "2026-11-16", "2026-11-22", "--time-zone", "UTC"]).env("TMPDIR", self.path("tmp"));
        journals.iter().for_each(|name| {
            command.arg("--journal").arg(self.path(name));
        });
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read_dir(self.path("tmp")).unwrap().count(), 0, "the tables were removed");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, journals: &[&str]) -> Value {
        let told: Value = serde_json::from_str(&self.report(journals, &["--format", "json"])).unwrap();
        told["report"].clone()
    }
}

/// A cell of a table.
fn cell<'v>(told: &'v Value, by: &str, name: &str) -> &'v Value {
    let tables = told["tables"].as_array().unwrap();
    let cells = tables.iter().find(|table| table["by"] == by).unwrap()["cells"].as_array().unwrap();
    cells.iter().find(|cell| cell["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn several_journals_are_summed_and_told_by_ministry() {
    let finance = coverage("2026-11-17", "") + &lines(9, "f", PLAIN);
    let justice = lines(6, "j", Incident { ministry: "Justice", ..PLAIN });
    let journals = Journals::new(&[("finance", &finance), ("justice", &justice)]);
    let told = journals.json(&["finance", "justice"]);
    assert_eq!(told["incidents"], 15);
    assert_eq!(cell(&told, "ministry", "Finance")["incidents"], 9);
    assert_eq!(cell(&told, "ministry", "Justice")["incidents"], 6);
    let sources = told["sources"].as_array().unwrap();
    assert_eq!((&sources[0]["incidents"], &sources[0]["coverage"]["seen_s"]), (&Value::from(9), &Value::from(3_600)));
    assert_eq!((&sources[1]["incidents"], &sources[1]["coverage"]["seen_s"]), (&Value::from(6), &Value::from(0)));
    // The same incident ids and interfaces in two journals are of two sensors.
    let twice = Journals::new(&[("one", &finance), ("two", &finance)]).json(&["one", "two"]);
    assert_eq!((&twice["incidents"], &twice["coverage"]["seen_s"]), (&Value::from(18), &Value::from(7_200)));
    let html = journals.report(&["finance", "justice"], &["--lang", "fr"]);
    assert!(html.contains("Par capteur") && html.contains("Par ministère"), "{html}");
    assert!(!html.contains("10.77.") && !html.contains("dupont"));
}

#[test]
fn small_cells_are_told_of_no_sensor_period_or_ministry() {
    let finance = lines(9, "f", PLAIN) + &lines(3, "e", Incident { day: "2026-11-10", ..PLAIN });
    let justice = lines(2, "j", Incident { ministry: "Justice", ..PLAIN });
    let journals = Journals::new(&[("finance", &finance), ("justice", &justice)]);
    let told = journals.json(&["finance", "justice"]);
    assert_eq!(told["incidents"], 11);
    for cell in [
        &told["sources"][0],
        &told["sources"][1],
        cell(&told, "ministry", "Justice"),
        cell(&told, "ministry", "Finance"),
    ] {
        assert_eq!(cell["incidents"], Value::Null, "one is small, and the other would give it away");
    }
    assert_eq!(cell(&told, "service", "tiktok")["before"], Value::Null);
    assert_eq!(told["before"]["incidents"], 3, "totals are always told");
}

#[test]
fn the_share_of_european_regions_is_compared_with_the_period_before() {
    let before = Incident { day: "2026-11-12", bytes: &[("Norway", 100), ("Virginia", 300)], ..PLAIN };
    let now = Incident { bytes: &[("Norway", 300), ("US-EastRed, the European enclave", 100), ("", 50)], ..PLAIN };
    let journals = Journals::new(&[("one", &(lines(6, "b", before) + &lines(8, "n", now)))]);
    let told = journals.json(&["one"]);
    assert_eq!((&told["incidents"], &told["before"]["incidents"]), (&Value::from(8), &Value::from(6)));
    assert_eq!(cell(&told, "service", "tiktok")["before"], 6);
    assert_eq!(
        (&told["before"]["from"], &told["before"]["to"]),
        (&Value::from("2026-11-09"), &Value::from("2026-11-15"))
    );
    let all = &told["destinations"][0];
    assert_eq!(all["service"], "");
    assert_eq!(all["shares"], serde_json::json!({"european": 2_400, "elsewhere": 800, "not_told": 400}));
    assert_eq!(all["before"], serde_json::json!({"european": 600, "elsewhere": 1_800, "not_told": 0}));
    let html = journals.report(&["one"], &[]);
    assert!(html.contains("75.0%") && html.contains("25.0%") && html.contains("+50.0"), "{html}");
    // Of few devices nothing is told.
    let told = Journals::new(&[("one", &lines(4, "n", now))]).json(&["one"]);
    assert!(told["destinations"].as_array().unwrap().iter().all(|one| one["shares"].is_null()));
}

#[test]
fn false_alarms_are_told_by_rule() {
    let of = |rule, decided| Incident { rule, decided, ..PLAIN };
    let text = lines(6, "a", of("good rule", "confirmed"))
        + &lines(5, "b", of("bad rule", "confirmed"))
        + &lines(15, "c", of("bad rule", "false"))
        + &lines(9, "d", of("odd rule", "confirmed"))
        + &lines(1, "e", of("odd rule", "false"))
        + &lines(4, "f", of("rare rule", "false"))
        + &lines(7, "g", of("good rule", "excused"))
        + &lines(7, "h", of("good rule", ""));
    let journals = Journals::new(&[("one", &text)]);
    let told = journals.json(&["one"]);
    let rules: Vec<(&str, u64, Option<u64>)> = told["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["rule"].as_str().unwrap(), rule["decided"].as_u64().unwrap(), rule["false_alarms"].as_u64()))
        .collect();
    assert_eq!(rules, [("bad rule", 20, Some(15)), ("odd rule", 10, None), ("good rule", 6, Some(0))]);
    assert!(journals.report(&["one"], &[]).contains("75.0%"));
}

#[test]
fn how_many_listed_devices_were_seen_is_told_by_the_newest_event() {
    let of = |day, seen: u64| coverage(day, &format!(",\"vigie.assets_listed\":40,\"vigie.assets_seen\":{seen}"));
    for (seen, expected) in [(30, Value::from(30)), (2, Value::Null), (38, Value::Null), (40, Value::from(40))] {
        let text = of("2026-11-17", 12) + &of("2026-11-18", seen) + &of("2026-11-25", 39);
        let told = Journals::new(&[("one", &text)]).json(&["one"]);
        assert_eq!((&told["devices"]["listed"], &told["devices"]["seen"]), (&Value::from(40), &expected), "{seen}");
    }
    assert_eq!(Journals::new(&[("one", &coverage("2026-11-17", ""))]).json(&["one"])["devices"], Value::Null);
}

#[test]
fn spreadsheets_get_every_number_and_no_formula() {
    let text = lines(9, "f", Incident { ministry: "=cmd|' /C calc'!A0", ..PLAIN });
    let csv = Journals::new(&[("one", &text)]).report(&["one"], &["--format", "csv"]);
    assert!(csv.contains("ministry,\"'=cmd|' /C calc'!A0\",9\r\n"), "{csv}");
    assert!(csv.contains("european_bytes,,900\r\n") && csv.contains("total,,9\r\n"), "{csv}");
    assert!(csv.lines().all(|line| !line.contains(",=")));
}

#[test]
fn a_report_is_good_on_paper() {
    let is_there = Command::new("weasyprint").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        return vigie_skip::skipped("weasyprint is missing; apt-get install weasyprint");
    }
    let mut text = coverage("2026-11-17", "");
    for number in 0..40 {
        let ministry = format!("Ministry {number}");
        text += &lines(6, &format!("m{number}"), Incident { ministry: &ministry, ..PLAIN });
    }
    let journals = Journals::new(&[("one", &text)]);
    let html = journals.path("report.html");
    fs::write(&html, journals.report(&["one"], &["--lang", "fr"])).unwrap();
    let pdf = pdf(&html);
    let pages = pdf.windows(11).filter(|bytes| *bytes == b"/Type /Page").count();
    assert!(pdf.starts_with(b"%PDF-") && pages >= 3, "{} bytes, {pages} pages", pdf.len());
}

fn pdf(html: &Path) -> Vec<u8> {
    let path = html.with_extension("pdf");
    let output = Command::new("weasyprint").args(["--uncompressed-pdf"]).arg(html).arg(&path).output().unwrap();
    // Debian 12's knows no such option.
    let output = match output.status.success() {
        true => output,
        false => Command::new("weasyprint").arg(html).arg(&path).output().unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("ERROR"), "{said}");
    fs::read(path).unwrap()
}
