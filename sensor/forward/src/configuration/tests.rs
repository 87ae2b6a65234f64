//! The configuration: what is read, and each error with file, line, key and mend.

use super::*;
use vigie_config::{Machine, Source};

fn load(text: &str) -> Result<Configuration, String> {
    let layers = Layers {
        source: Source::Bytes("forward.toml".to_owned(), text.as_bytes().to_vec()),
        environment: Vec::new(),
        flags: Vec::new(),
        machine: Machine::detect(),
    };
    Configuration::load(&layers).map_err(|errors| errors.to_string())
}

#[test]
fn receivers_have_defaults() {
    let text = r#"
[journal]
folder = "/srv/journal"
[[receiver]]
name = "soc"
kind = "syslog"
server = "siem.example.org:6514"
[[receiver]]
name = "file"
kind = "file"
path = "/var/log/eve.json"
events = ["incidents", "alerts"]
encoding = "ecs"
[[receiver]]
name = "splunk"
kind = "webhook"
format = "splunk-hec"
url = "https://splunk.example.org:8088/services/collector/event"
token_file = "splunk-token"
"#;
    let configuration = load(text).unwrap();
    assert_eq!(configuration.settings.journal.folder, PathBuf::from("/srv/journal"));
    let [soc, file, splunk] = &configuration.receivers[..] else { panic!("{:?}", configuration.receivers) };
    let KindSettings::Syslog(syslog) = &soc.kind else { panic!("{soc:?}") };
    assert_eq!((syslog.transport, syslog.facility, syslog.resend_lines), (Transport::Tls, 16, 1_000));
    assert_eq!(
        (file.encoding, &file.selection),
        (Encoding::Ecs, &Selection::of(&[crate::selection::Class::Incidents, crate::selection::Class::Alerts]))
    );
    let KindSettings::Webhook(webhook) = &splunk.kind else { panic!("{splunk:?}") };
    let expected = Credentials::Token { scheme: "Splunk".to_owned(), file: SecretFile("splunk-token".into()) };
    assert_eq!(webhook.credentials, expected);
}

#[test]
fn each_error_has_file_line_key_and_mend() {
    let receiver = |keys: &str| format!("[[receiver]]\nname = \"a\"\n{keys}");
    for (text, expected) in [
        ("", "forward.toml:1: receiver: there is no receiver; add [[receiver]] with name and kind"),
        (&receiver(""), "forward.toml:1: receiver.kind: kind is missing; add kind = \"file\""),
        (
            &receiver("kind = \"sylog\""),
            "forward.toml:3: receiver.kind = \"sylog\": unknown kind; did you mean \"syslog\"?",
        ),
        (&receiver("kind = \"file\""), "receiver.path: path is missing; add path ="),
        (
            &receiver("kind = \"file\"\npath = \"eve.json\""),
            "forward.toml:4: receiver.path = \"eve.json\": expected a path that begins with /",
        ),
        (
            &receiver("kind = \"file\"\npath = \"/var/lib/vigie/journal/00000002.jsonl\""),
            "this file would be in journal.folder; write it to another folder",
        ),
        (
            &receiver("kind = \"file\"\npath = \"/var/lib/vigie-forward/a.cursor.json\""),
            "this file would be in state.folder; write it to another folder",
        ),
        (&receiver("kind = \"webhook\"\nurl = \"https://[::1/\""), "expected a host, or a host and a port up to 65535"),
        (&receiver("kind = \"webhook\"\nurl = \"https://siem:99999/\""), "expected a host, or a host and a port"),
        (
            &receiver("kind = \"stdout\"\nencodign = \"eve\""),
            "forward.toml:4: receiver.encodign: unknown key; did you mean encoding?",
        ),
        (
            &receiver("kind = \"stdout\"\nencoding = \"ecss\""),
            "forward.toml:4: receiver.encoding = \"ecss\": unknown word; did you mean \"ecs\"?",
        ),
        (
            &receiver("kind = \"stdout\"\nevents = [\"incident\"]"),
            "receiver.events = \"incident\": unknown word; did you mean \"incidents\"?",
        ),
        (
            &receiver("kind = \"stdout\"\nevents = []"),
            "receiver.events: expected a list of words; write events = [\"incidents\"]",
        ),
        (
            &receiver("kind = \"syslog\"\nserver = \"siem\""),
            "receiver.server = \"siem\": expected a host and a port; write \"host:port\"",
        ),
        (
            &receiver("kind = \"syslog\"\nserver = \"siem:514\"\ntransport = \"tcp\"\nca_file = \"/x\""),
            "receiver.ca_file: unknown key",
        ),
        (
            &receiver("kind = \"syslog\"\nserver = \"siem:514\"\ncertificate_file = \"/x\""),
            "receiver.key_file: key_file is missing",
        ),
        (
            &receiver("kind = \"syslog\"\nserver = \"siem:514\"\nfacility = \"local9\""),
            "receiver.facility = \"local9\": unknown facility; did you mean \"local",
        ),
        (
            &receiver("kind = \"syslog\"\nserver = \"siem:514\"\nresend_lines = \"many\""),
            "receiver.resend_lines: expected a number from 0 to 1000000; the default is 1000",
        ),
        (&receiver("kind = \"webhook\"\nurl = \"siem\""), "receiver.url: expected a URL; write https://"),
        (
            &receiver("kind = \"webhook\"\nurl = \"http://x\"\nuser = \"u\""),
            "receiver.password_file: password_file is missing",
        ),
        (
            &receiver("kind = \"webhook\"\nurl = \"http://x\"\nformat = \"alertmanager\"\nevents = [\"alerts\"]"),
            "the format alertmanager carries incidents only",
        ),
        (
            &receiver("kind = \"webhook\"\nurl = \"http://x\"\nencoding = \"cef\""),
            "receiver.encoding = \"cef\": the format json carries JSON",
        ),
        (
            "[[receiver]]\nname = \"a/b\"\nkind = \"stdout\"",
            "forward.toml:2: receiver.name = \"a/b\": the name cannot be that of a file",
        ),
        (
            "[[receiver]]\nname = \"a\"\nkind = \"stdout\"\n[[receiver]]\nname = \"a\"\nkind = \"stdout\"",
            "forward.toml:5: receiver.name = \"a\": another receiver has this name",
        ),
        (
            "[delivery]\nbatch_events_max = 0\n[[receiver]]\nname = \"a\"\nkind = \"stdout\"",
            "forward.toml:2: delivery.batch_events_max",
        ),
        ("[[reciever]]\nname = \"a\"", "did you mean [[receiver]]?"),
    ] {
        let errors = load(text).unwrap_err();
        assert!(errors.contains(expected), "{text}\ngives {errors}\nand not {expected}");
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    for keys in [
        "url = \"https://u:opensesame@x/\"",
        "url = \"https://x/\"\npassword = \"opensesame\"",
        "url = \"https://x/\"\ntoken = \"opensesame\"",
        "url = \"https://x/\"\nproxy = \"http://u:opensesame@x\"",
        "url = \"https://x/\"\nkey = \"opensesame\"",
    ] {
        let errors = load(&format!("[[receiver]]\nname = \"a\"\nkind = \"webhook\"\n{keys}")).unwrap_err();
        assert!(errors.contains("a secret does not belong into this file"), "{errors}");
        assert!(!errors.contains("sesame"), "{errors}");
    }
}

#[test]
fn the_default_file_with_its_examples_is_valid() {
    let text = crate::program::default_file();
    assert!(load(&text).unwrap_err().contains("there is no receiver"));
    // The examples come after the line that ends the settings.
    let (settings, examples) = text.split_once("#[[receiver]]").unwrap();
    let mut shown = format!("{settings}\n[[receiver]]");
    for line in examples.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        shown.push_str(if line.starts_with(' ') { "" } else { line });
        shown.push('\n');
    }
    if super::kafka::IS_BUILT_IN {
        assert_eq!(load(&shown).unwrap().receivers.len(), 4);
    } else {
        let errors = load(&shown).unwrap_err();
        assert!(errors.contains("this program was built without Kafka; install the Debian package"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
#[cfg(feature = "kafka")]
fn a_topic_of_kafka_has_defaults_and_its_errors_have_a_mend() {
    let receiver = |keys: &str| format!("[[receiver]]\nname = \"a\"\nkind = \"kafka\"\n{keys}");
    let needed = "brokers = \"a:9093, [::1]:9093\"\ntopic = \"vigie-events\"\n";
    let configuration = load(&receiver(needed)).unwrap();
    let KindSettings::Kafka(kafka) = &configuration.receivers[0].kind else { panic!("{configuration:?}") };
    assert_eq!((kafka.transport, kafka.timeout_s, &kafka.credentials), (Transport::Tls, 30, &Credentials::None));
    for (keys, expected) in [
        ("topic = \"x\"", "receiver.brokers: brokers is missing; add brokers ="),
        ("brokers = \"a\"\ntopic = \"x\"", "expected hosts and ports; write \"host:port,host:port\""),
        ("brokers = \"a:1\"\ntopic = \"x y\"", "the name cannot be that of a topic"),
        (&format!("{needed}transport = \"udp\""), "Kafka needs a connection; write \"tls\" or \"tcp\""),
        (&format!("{needed}user = \"x\""), "receiver.password_file: password_file is missing"),
        (&format!("{needed}password = \"sesame\""), "a secret does not belong into this file"),
        (&format!("{needed}server_name = \"x\""), "the host in brokers is the name"),
        (&format!("{needed}user = \"x\"\npassword_file = \"p\"\nsasl_mechanism = \"gssapi\""), "unknown word"),
    ] {
        let errors = load(&receiver(keys)).unwrap_err();
        assert!(errors.contains(expected), "{errors}");
        assert!(!errors.contains("sesame"), "{errors}");
    }
}
