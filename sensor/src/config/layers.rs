//! The layers of a configuration, and how they become settings.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use super::file::{FILE_BYTES_MAX, File, Given, unknown};
use super::finding::{ConfigErrors, Fault, Finding, Origin, Severity, one_line};
use super::machine::Machine;
use super::nearest::nearest;
use super::table::{Settings, definition, definitions};
use super::typed::Typed;
use super::{FILE_DEFAULT, Loaded, combinations};

/// How variables of ours begin.
const PREFIX: &str = "VIGIE_";
/// Stands for `sensor.name` with every command, and is older than the sections.
const SENSOR_NAME: &str = "VIGIE_SENSOR_NAME";
/// Variables that are no settings: which file is read.
const NO_SETTINGS: [&str; 1] = ["VIGIE_CONFIG"];

/// Where the file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is none.
    Absent,
    /// [`FILE_DEFAULT`], if it exists.
    Default,
    /// This one, which must exist.
    Path(PathBuf),
    /// These bytes, which errors call by this name.
    Bytes(String, Vec<u8>),
}

/// A setting given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The option, such as `--set`.
    pub option: String,
    /// `section.name`.
    pub key: String,
    /// What was given; of an option that may be repeated, a list of words.
    pub value: Typed,
}

/// All that a configuration is made of besides the defaults.
#[derive(Clone, Debug)]
pub struct Layers {
    /// The file.
    pub source: Source,
    /// The environment; only variables that begin with `VIGIE_` are looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// The command line, in its order.
    pub flags: Vec<Flag>,
    /// The machine, which some defaults hang on.
    pub machine: Machine,
}

impl Layers {
    /// The layers that this process has: its environment and its machine.
    pub fn of_process(source: Source, flags: Vec<Flag>) -> Self {
        Self { source, environment: std::env::vars_os().collect(), flags, machine: Machine::detect() }
    }
}

/// Reads all layers: values first, each by itself, then what they say of each other.
pub(super) fn load(layers: &Layers) -> Result<Loaded, ConfigErrors> {
    let mut findings = Vec::new();
    let (label, file) = read(&layers.source, &mut findings);
    let is_broken = findings.iter().any(|finding: &Finding| finding.key.is_empty());
    let mut given = file.given;
    environment(&layers.environment, &mut given, &mut findings);
    flags(&layers.flags, &mut given, &mut findings);

    let mut settings = Settings::of_the_table();
    let mut origins = BTreeMap::new();
    let mut faulty = BTreeSet::new();
    for Given { definition, typed, origin } in given {
        let key = definition.key.as_str();
        if let Err(fault) = settings.set(definition, &typed) {
            findings.push(Finding::error(origin.clone(), key, &typed.shown(), fault));
            faulty.insert(key);
        }
        origins.insert(key, origin);
    }
    settings.resolve(&layers.machine);
    let view = combinations::View {
        settings: &settings,
        origins: &origins,
        faulty: &faulty,
        file: label.as_deref(),
        is_broken,
        machine: &layers.machine,
    };
    findings.extend(view.judge());
    findings.sort_by(|one, other| one.origin.cmp(&other.origin));
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Err(ConfigErrors(findings)),
        false => Ok(Loaded { settings, origins, warnings: findings, file: label }),
    }
}

/// The file's label, if there is one, and what it holds.
fn read(source: &Source, findings: &mut Vec<Finding>) -> (Option<String>, File) {
    let (label, bytes) = match source {
        Source::Absent => return (None, File::default()),
        Source::Bytes(label, bytes) => (label.clone(), Ok(bytes.clone())),
        Source::Path(path) => (path.display().to_string(), bounded(path)),
        Source::Default => match bounded(FILE_DEFAULT.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (None, File::default()),
            bytes => (FILE_DEFAULT.to_owned(), bytes),
        },
    };
    let (file, faults) = match bytes {
        Ok(bytes) => File::parse(&label, &bytes),
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::NotFound => "'vigie generate config' prints one to begin with",
                _ => "check its permissions",
            };
            let fault = Fault::new(format!("cannot be read: {error}"), mend);
            (File::default(), vec![Finding::error(Origin::File(label.clone(), 0), "", "", fault)])
        }
    };
    findings.extend(faults);
    (Some(label), file)
}

/// A file's bytes, just one more than is allowed of those that are too large.
fn bounded(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn environment(variables: &[(OsString, OsString)], given: &mut Vec<Given>, findings: &mut Vec<Finding>) {
    let mut ours: Vec<(String, &OsString)> = variables
        .iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(PREFIX) && !NO_SETTINGS.contains(&name.as_str()))
        .collect();
    // The older name first, so that the other one wins.
    ours.sort_by_key(|(name, _)| (name != SENSOR_NAME, name.clone()));
    for (name, value) in ours {
        let origin = Origin::Environment(name.clone());
        let key = match name.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__")) {
            _ if name == SENSOR_NAME => definition("sensor", "name"),
            Some((section, key)) if name.to_uppercase() == name => {
                definition(&section.to_lowercase(), &key.to_lowercase())
            }
            _ => None,
        };
        match (key, value.to_str()) {
            (None, _) => {
                findings.push(Finding::error(origin, "", "", Fault::new("unknown variable", nearest_variable(&name))))
            }
            (Some(definition), None) => {
                let fault = Fault::new("not UTF-8 text", "set it again or unset it");
                findings.push(Finding::error(origin, &definition.key, "", fault));
            }
            (Some(definition), Some(value)) => {
                given.push(Given { definition, typed: Typed::Word(value.to_owned()), origin });
            }
        }
    }
}

fn nearest_variable(name: &str) -> String {
    let known: Vec<String> = definitions().iter().map(super::Definition::variable).collect();
    // A single underscore between section and key is the usual slip.
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => "unset it; variables are named like VIGIE_CAPTURE__WORKERS".to_owned(),
    }
}

fn flags(flags: &[Flag], given: &mut Vec<Given>, findings: &mut Vec<Finding>) {
    for Flag { option, key, value } in flags {
        let origin = Origin::Flag(option.clone());
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        match definition(section, name) {
            Some(definition) => given.push(Given { definition, typed: value.clone(), origin }),
            None => findings.push(Finding::error(origin, &one_line(key), "", unknown(section, name))),
        }
    }
}
