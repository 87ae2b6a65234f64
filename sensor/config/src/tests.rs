//! The configuration of an example program, as people write it and as errors answer.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

choices! {
    /// How the log is written.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

settings! {
    /// The settings of an example.
    Settings;

    /// Where events are sent.
    receiver: Receiver {
        /// Address and port; empty: nowhere.
        address: Option<SocketAddr> = None, Rule::Any, Restart;
        /// Events that are sent at once.
        batch_events_max: usize = 100, Rule::Range(1, 1000), Live;
        /// Milliseconds to wait for more events.
        wait_ms: u64 = 50, Rule::Range(0, 60_000), Live;
    }

    /// The program's own log.
    log: Log {
        /// `text` is for people, `json` for programs.
        format: LogFormat = LogFormat::Text, Rule::Any, Live;
        /// File of the log.
        file: PathBuf = PathBuf::from("/var/log/example.log"), Rule::Text("an absolute path", absolute_path), Restart;
        /// Names of receivers to log.
        names: Vec<String> = Vec::new(), Rule::Any, Restart;
    }
}

impl Schema for Settings {
    const PROGRAM: Program = Program {
        name: "example",
        file_default: "/nowhere/example.toml",
        variable_prefix: "EXAMPLE",
        variable_aliases: &[("EXAMPLE_FORMAT", "log.format")],
        other_variables: &["EXAMPLE_CONFIG"],
        example: ("receiver.wait_ms", "20"),
    };

    const LISTS: &'static [&'static str] = &["route"];

    fn resolve(&mut self, machine: &Machine) {
        if self.log.names.is_empty() {
            self.log.names.push(machine.host_name.clone());
        }
    }

    fn check(review: &mut Review<'_, Self>) {
        let receiver = &review.settings.receiver;
        if receiver.address.is_none() && review.is_given("receiver.wait_ms") {
            review.warn(&["receiver.wait_ms"], "nothing is sent", "set receiver.address");
        }
        if receiver.batch_events_max == 13 {
            review.refuse(&["receiver.batch_events_max", "receiver.wait_ms"], "an unlucky number", "write 14");
        }
    }
}

fn machine() -> Machine {
    Machine { host_name: "host".to_owned(), cpus: 4, cpu_last: Some(3), memory_bytes: None }
}

fn layers(text: impl AsRef<[u8]>) -> Layers {
    let source = Source::Bytes("x.toml".to_owned(), text.as_ref().to_vec());
    Layers { source, environment: Vec::new(), flags: Vec::new(), machine: machine() }
}

fn variables(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn flag(key: &str, value: &str) -> Flag {
    Flag::set(key, value)
}

/// Errors and warnings, one a line.
fn findings(layers: &Layers) -> Vec<String> {
    match Settings::load(layers) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn a_finding_has_file_line_key_and_mend() {
    for (text, expected) in [
        (
            "receiver.wait_ms = \"1s\"",
            "x.toml:1: receiver.wait_ms = \"1s\": expected a number of milliseconds; write 1000",
        ),
        ("receiver.wait_m = 1", "x.toml:1: receiver.wait_m: unknown key; did you mean receiver.wait_ms?"),
        ("receiver.format = 1", "x.toml:1: receiver.format: unknown key; did you mean log.format?"),
        (
            "receiver.colour = 1",
            "x.toml:1: receiver.colour: unknown key; [receiver] has address, batch_events_max, wait_ms",
        ),
        ("nonsense = 1", "x.toml:1: nonsense: unknown key; 'example generate config' lists all keys"),
        ("[logs]", "x.toml:1: logs: unknown section; did you mean [log]?"),
        ("[other]", "x.toml:1: other: unknown section; there are [receiver], [log]"),
        ("log = 1", "x.toml:1: log: a section, not a value; write [log] and its keys below"),
        ("[log]\nformat = \"xml\"", "x.toml:2: log.format = \"xml\": expected text or json; the default is \"text\""),
        ("log.names = [1]", "x.toml:1: log.names = [1]: item 1: expected text; write \"1\""),
        (
            "log.format = \"text\"\nlog.format = \"json\"",
            "x.toml:2: format: this key is set a second time; keep one of the two",
        ),
        ("receiver.wait_ms = 1", "x.toml:1: warning: receiver.wait_ms = 1: nothing is sent; set receiver.address"),
        ("receiver.batch_events_max = 13", "x.toml:1: receiver.batch_events_max = 13: an unlucky number; write 14"),
    ] {
        assert_eq!(findings(&layers(text)), [expected], "{text}");
    }
    // Nothing more is reported about a key whose value was refused.
    let text = "receiver.batch_events_max = 13\nreceiver.wait_ms = -1";
    assert_eq!(findings(&layers(text)), ["x.toml:2: receiver.wait_ms = -1: too small; give at least 0"]);
}

#[test]
fn lists_of_tables_are_the_programs_own() {
    let text = "[[route]]\nto = \"here\"\n[log]\nformat = \"json\"\n[[route]]\nanything = 1\n";
    let loaded = Settings::load(&layers(text)).unwrap();
    assert_eq!((loaded.settings.log.format, loaded.text.as_str()), (LogFormat::Json, text));
    for (text, expected) in [
        ("[route]\nto = 1", "x.toml:1: route: a list of tables; write [[route]] and its keys below"),
        ("[[routes]]\nto = 1", "x.toml:1: routes: unknown list of tables; did you mean [[route]]?"),
        ("[rout]\nto = 1", "x.toml:1: rout: unknown section; did you mean [[route]]?"),
    ] {
        assert_eq!(findings(&layers(text)), [expected], "{text}");
    }
}

#[test]
fn later_layers_win_and_everything_wrong_is_reported_at_once() {
    let mut layers = layers("receiver = { batch_events_max = 2, address = \"127.0.0.1:5\" }\n");
    let batch = |layers: &Layers| {
        let loaded = Settings::load(layers).unwrap();
        let origin = loaded.origins["receiver.batch_events_max"].to_string();
        (loaded.settings.receiver.batch_events_max, origin)
    };
    assert_eq!(batch(&layers), (2, "x.toml:1".to_owned()));
    let [config, variable] = ["EXAMPLE_CONFIG", "EXAMPLE_RECEIVER__BATCH_EVENTS_MAX"];
    layers.environment = variables(&[(config, "a.toml"), ("OTHER", "1"), (variable, "3"), ("EXAMPLE_FORMAT", "json")]);
    assert_eq!(batch(&layers), (3, variable.to_owned()));
    layers.flags = vec![flag("receiver.batch_events_max", "4")];
    assert_eq!(batch(&layers), (4, "--set".to_owned()));
    assert_eq!(Settings::load(&layers).unwrap().settings.log.format, LogFormat::Json, "an alias");
    layers.environment.extend(variables(&[("EXAMPLE_LOG__FORMAT", "text")]));
    assert_eq!(Settings::load(&layers).unwrap().settings.log.format, LogFormat::Text, "the regular variable wins");

    layers.source = Source::Bytes("x.toml".to_owned(), b"log.format = 3\n".to_vec());
    layers.environment = variables(&[("EXAMPLE_RECEIVER_WAIT_MS", "2"), ("EXAMPLE_XYZ", "2")]);
    layers.flags = vec![flag("wait_ms", "2")];
    let expected = [
        "x.toml:1: log.format = 3: expected text or json; the default is \"text\"",
        "EXAMPLE_RECEIVER_WAIT_MS: unknown variable; did you mean EXAMPLE_RECEIVER__WAIT_MS?",
        "EXAMPLE_XYZ: unknown variable; unset it; variables are named like EXAMPLE_RECEIVER__WAIT_MS",
        "--set: wait_ms: unknown key; did you mean receiver.wait_ms?",
    ];
    assert_eq!(findings(&layers), expected);
}

#[test]
fn a_named_file_must_exist_and_the_default_file_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    let mut layers = layers("");
    layers.source = Source::Path(path.clone());
    let missing = findings(&layers).concat();
    let mend = "; 'example generate config' prints one to start with";
    assert!(
        missing.starts_with(&format!("{}: cannot be read: ", path.display())) && missing.ends_with(mend),
        "{missing}"
    );
    std::fs::write(&path, "log.names = [\"a\"]\n").unwrap();
    assert_eq!(Settings::load(&layers).unwrap().settings.log.names, ["a"]);
    layers.source = Source::Default;
    assert_eq!(Settings::load(&layers).unwrap().settings, Settings::defaults(&machine()));
}

#[test]
fn the_default_file_and_the_reference_have_every_setting() {
    let text = document::default_file::<Settings>();
    assert!(text.starts_with("# The settings of example. ") && text.contains("EXAMPLE_RECEIVER__WAIT_MS"), "{text}");
    assert_eq!(findings(&layers(&text)), [""; 0]);
    let is_setting =
        |line: &&str| line.strip_prefix('#').is_some_and(|rest| rest.contains(" = ") && !rest.starts_with(' '));
    let lines = text.lines().map(|line| if is_setting(&line) { &line[1..] } else { line });
    let active: String = lines.map(|line| format!("{line}\n")).collect();
    let (file, faults) = File::parse::<Settings>("x.toml", active.as_bytes());
    assert_eq!(faults, []);
    let keys: Vec<&str> = file.keys().map(|(key, _)| key).collect();
    let expected: Vec<&str> = Settings::definitions().iter().map(|definition| definition.key).collect();
    assert_eq!(keys.len(), expected.len());
    assert!(expected.iter().all(|key| keys.contains(key)), "{keys:?}");
    let page = document::reference::<Settings>();
    assert!(page.starts_with("# Settings of example\n\n## [receiver]\n\nWhere events are sent.\n"), "{page}");
    assert!(page.contains("| `wait_ms` | `50` | whole number from 0 to 60000 | on reload | Milliseconds to wait"));
}

#[test]
fn a_reload_applies_live_settings_only() {
    let old = Settings::load(&layers("")).unwrap().settings;
    let text = "log = { file = \"/x\", format = \"json\" }";
    let new = Settings::load(&layers(text)).unwrap().settings;
    assert_eq!(old.changes(&new), Changes { live: vec!["log.format"], restart: vec!["log.file"] });
    let now = old.with_live_changes(&new);
    assert_eq!((now.log.format, &now.log.file), (LogFormat::Json, &old.log.file));
    assert!(old.changes(&old).is_empty());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_every_finding_is_a_line(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for line in findings(&layers(bytes)) {
            prop_assert!(line.starts_with("x.toml") && !line.chars().any(char::is_control), "{:?}", line);
        }
    }

    #[test]
    fn no_word_makes_it_panic(setting in 0..6_usize, value in "\\PC{0,12}|\\[\\PC{0,12}") {
        let mut layers = layers("");
        layers.flags = vec![flag(Settings::definitions()[setting].key, &value)];
        let _ = Settings::load(&layers);
    }
}
