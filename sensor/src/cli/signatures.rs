//! `vigie signatures`: lists the services of the bundle, and checks an operator's files.

mod dispositions;

use std::path::PathBuf;

use time::OffsetDateTime;
use vigie_signatures::{Bundle, Diagnostic, LoadOptions, Service, Severity};

use super::arguments::{SignaturesArguments, SignaturesCommand};
use super::bundle;
use super::exit::{Exit, Failure};
use super::reveal::load;
use super::table::{self, Left, Right};
use super::terminal::{Style, Terminal, print};
use super::words::{count, counted};
use vigie_journal::json::Object;

/// Runs the command.
///
/// # Errors
/// Signatures are refused, or the standard output cannot be written to.
pub fn run(arguments: &SignaturesArguments, terminal: Terminal) -> Result<Exit, Failure> {
    match &arguments.command {
        SignaturesCommand::List { by_disposition: true, config, .. } => {
            let settings = load(config.as_deref())?.settings;
            print(&dispositions::text(
                &settings.privacy.audit_file,
                settings.events_place(),
                terminal.stdout_style(),
            )?)?;
            Ok(Exit::Success)
        }
        SignaturesCommand::List { json, signatures, .. } => {
            let bundle = bundle::load(signatures)?;
            let text =
                if *json { list_json(bundle.services()) } else { list(bundle.services(), terminal.stdout_style()) };
            print(&text)?;
            Ok(Exit::Success)
        }
        SignaturesCommand::Verify { folders } => verify(folders),
    }
}

/// A table of services for people.
fn list(services: &[Service], style: Style) -> String {
    let mut table = table::with_headings([
        ("SERVICE", Left),
        ("NAME", Left),
        ("CATEGORY", Left),
        ("NAMES", Right),
        ("PATTERNS", Right),
        ("PREFIXES", Right),
        ("JA4", Right),
        ("ALERTING", Right),
        ("IDS FROM", Right),
        ("OLDEST REVIEW", Left),
    ]);
    for service in services {
        table.add_row([
            service.key.clone(),
            if service.enabled { service.name.clone() } else { format!("{} (off)", service.name) },
            service.category.clone(),
            count(service.names as u64),
            count(service.patterns as u64),
            count(service.prefixes as u64),
            count(service.fingerprints as u64),
            count(service.alerting as u64),
            service.base.to_string(),
            service.oldest_review.clone(),
        ]);
    }
    // Least wanted first: signature ids, kinds of rules.
    let mut text = table::fitting_text(table, style, &[8, 6, 5, 4, 9, 3, 2]);
    let rules = services.iter().map(|service| service.rules() as u64).sum();
    let alerting = services.iter().map(|service| service.alerting as u64).sum();
    text.push_str(&format!(
        "\n{}, {}; {} of them raise alerts by themselves\n",
        counted(services.len() as u64, "service"),
        counted(rules, "rule"),
        count(alerting)
    ));
    text
}

/// One object per line.
fn list_json(services: &[Service]) -> String {
    let mut out = Vec::new();
    for service in services {
        let mut object = Object::open(&mut out);
        object.text("service", &service.key);
        object.text("name", &service.name);
        object.text("owner", &service.owner);
        object.text("owner_country", &service.owner_country);
        object.text("category", &service.category);
        object.truth("enabled", service.enabled);
        for (key, number) in [
            ("rules", service.rules()),
            ("names", service.names),
            ("patterns", service.patterns),
            ("prefixes", service.prefixes),
            ("fingerprints", service.fingerprints),
            ("alerting", service.alerting),
            ("signature_id_base", service.base as usize),
        ] {
            object.number(key, number as u64);
        }
        object.text_or_null("oldest_review", Some(service.oldest_review.as_str()).filter(|day| !day.is_empty()));
        object.close();
        out.push(b'\n');
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Checks `folders` together with the built-in signatures, as `vigie read` would use them.
fn verify(folders: &[PathBuf]) -> Result<Exit, Failure> {
    let today = OffsetDateTime::now_utc().date();
    let options = LoadOptions { today: Some(today), ..LoadOptions::default() };
    let (bundle, findings) = match Bundle::load(folders, options) {
        Ok((bundle, findings)) => (Some(bundle), findings),
        Err(findings) => (None, findings),
    };
    print(&report(bundle.as_ref(), &findings))?;
    Ok(if bundle.is_some() { Exit::Success } else { Exit::Configuration })
}

/// The findings, one per line, and whether the files are accepted.
fn report(bundle: Option<&Bundle>, findings: &[Diagnostic]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        text.push_str(&format!("{}: {word}: {}; {}\n", bundle::place(finding), finding.message, finding.mend));
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let result = match bundle {
        Some(bundle) => {
            let (services, rules) = (bundle.services().len() as u64, bundle.len() as u64);
            format!("accepted: {}, {}", counted(services, "service"), counted(rules, "rule"))
        }
        None => "refused".to_owned(),
    };
    let (errors, warnings) = (errors as u64, (findings.len() - errors) as u64);
    text.push_str(&format!("{result}; {}, {}\n", counted(errors, "error"), counted(warnings, "warning")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            key: "tiktok".to_owned(),
            name: "TikTok".to_owned(),
            owner: "ByteDance".to_owned(),
            owner_country: "CN".to_owned(),
            category: "video".to_owned(),
            base: 8_100_100,
            enabled: true,
            names: 1_200,
            patterns: 3,
            prefixes: 2,
            fingerprints: 1,
            alerting: 1_100,
            oldest_review: "2026-11-01".to_owned(),
        }
    }

    #[test]
    fn a_table_of_services() {
        let expected = "\
SERVICE  NAME    CATEGORY  NAMES  PATTERNS  PREFIXES  JA4  ALERTING  IDS FROM  OLDEST REVIEW
tiktok   TikTok  video     1,200         3         2    1     1,100   8100100  2026-11-01

1 service, 1,206 rules; 1,100 of them raise alerts by themselves
";
        assert_eq!(list(&[service()], Style { width: 120, colour: false }), expected);
    }

    #[test]
    fn services_as_json() {
        let text = list_json(&[service(), Service { oldest_review: String::new(), ..service() }]);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["rules"], &lines[0]["signature_id_base"]), (&1206.into(), &8_100_100.into()));
        assert_eq!((&lines[0]["oldest_review"], &lines[1]["oldest_review"]), (&"2026-11-01".into(), &().into()));
    }

    #[test]
    fn built_in_signatures_are_accepted_and_nonsense_is_refused() {
        assert_eq!(verify(&[]), Ok(Exit::Success));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.toml"), "nonsense = [\n").unwrap();
        assert_eq!(verify(&[folder.path().to_path_buf()]), Ok(Exit::Configuration));
    }

    #[test]
    fn findings_have_file_line_and_mend() {
        let finding = Diagnostic {
            file: "a.toml".to_owned(),
            line: 7,
            key: "role".to_owned(),
            message: "no such role".to_owned(),
            mend: "use one of app-api, web".to_owned(),
            severity: Severity::Error,
        };
        let warning = Diagnostic { line: 0, severity: Severity::Warning, ..finding.clone() };
        let expected = "a.toml:7: error: no such role; use one of app-api, web\n\
                        a.toml: warning: no such role; use one of app-api, web\nrefused; 1 error, 1 warning\n";
        assert_eq!(report(None, &[finding, warning]), expected);
    }
}
