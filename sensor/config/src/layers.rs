//! The layers of a configuration, and how they become settings.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::file::{Assignment, FILE_BYTES_MAX, unknown_key};
use crate::finding::one_line;
use crate::suggestion::nearest;
use crate::{ConfigErrors, Definition, Fault, File, Finding, Machine, Origin, RawValue, Review, Schema, Severity};

/// How long the writer of a pipe may take.
const PIPE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Where the file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is none.
    Absent,
    /// The default file of the program, if it exists.
    Default,
    /// This file, which must exist.
    Path(PathBuf),
    /// These bytes, with their name in errors.
    Bytes(String, Vec<u8>),
}

/// A setting given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The option, such as `--set`.
    pub option: String,
    /// `section.name`.
    pub key: String,
    /// The value; a list for an option that may be repeated.
    pub value: RawValue,
}

impl Flag {
    /// A setting given as `--set KEY=VALUE`.
    pub fn set(key: &str, value: &str) -> Self {
        Self { option: "--set".to_owned(), key: key.to_owned(), value: RawValue::Unquoted(value.to_owned()) }
    }
}

/// Parses the `KEY=VALUE` of `--set`. The example stands in the error.
///
/// # Errors
/// There is no `=`.
pub fn key_and_value(text: &str, example: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("write KEY=VALUE, such as {example}"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Everything that a configuration is made of besides the defaults.
#[derive(Clone, Debug)]
pub struct Layers {
    /// The file.
    pub source: Source,
    /// The environment; only variables with the prefix of the program are used.
    pub environment: Vec<(OsString, OsString)>,
    /// The command line, in its order.
    pub flags: Vec<Flag>,
    /// The machine, on which some defaults depend.
    pub machine: Machine,
}

impl Layers {
    /// The layers of this process: its environment and its machine.
    pub fn of_process(source: Source, flags: Vec<Flag>) -> Self {
        Self { source, environment: std::env::vars_os().collect(), flags, machine: Machine::detect() }
    }
}

/// Settings, and where they come from.
#[derive(Clone, Debug)]
pub struct Loaded<S> {
    /// The settings.
    pub settings: S,
    /// Where each setting that is not a default was given, by key.
    pub origins: BTreeMap<&'static str, Origin>,
    /// What is probably not intended.
    pub warnings: Vec<Finding>,
    /// The file that was read, as it was named.
    pub file: Option<String>,
    /// Its text; empty without a file.
    pub text: String,
}

/// Reads all layers: first each value by itself, then combinations.
pub(crate) fn load<S: Schema>(layers: &Layers) -> Result<Loaded<S>, ConfigErrors> {
    let mut findings = Vec::new();
    let (label, file) = read::<S>(&layers.source, &mut findings);
    let is_incomplete = findings.iter().any(|finding: &Finding| finding.key.is_empty());
    let File { mut assignments, text } = file;
    environment::<S>(&layers.environment, &mut assignments, &mut findings);
    flags::<S>(&layers.flags, &mut assignments, &mut findings);

    let mut settings = S::table_defaults();
    let mut origins = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for Assignment { definition, value, origin } in assignments {
        if let Err(fault) = settings.set(definition, &value) {
            findings.push(Finding::error(origin.clone(), definition.key, &value.shown(), fault));
            refused.insert(definition.key);
        }
        origins.insert(definition.key, origin);
    }
    settings.resolve(&layers.machine);
    let mut review = Review {
        settings: &settings,
        machine: &layers.machine,
        origins: &origins,
        refused: &refused,
        file: label.as_deref(),
        is_incomplete,
        findings,
    };
    S::check(&mut review);
    let mut findings = review.findings;
    findings.sort_by(|one, other| one.origin.cmp(&other.origin));
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Err(ConfigErrors(findings)),
        false => Ok(Loaded { settings, origins, warnings: findings, file: label, text }),
    }
}

/// The file's label, if there is a file, and its content.
fn read<S: Schema>(source: &Source, findings: &mut Vec<Finding>) -> (Option<String>, File) {
    let (label, bytes) = match source {
        Source::Absent => return (None, File::default()),
        Source::Bytes(label, bytes) => (label.clone(), Ok(bytes.clone())),
        Source::Path(path) => (path.display().to_string(), read_limited(path)),
        Source::Default => match read_limited(S::PROGRAM.file_default.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (None, File::default()),
            bytes => (S::PROGRAM.file_default.to_owned(), bytes),
        },
    };
    let (file, faults) = match bytes {
        Ok(bytes) => File::parse::<S>(&label, &bytes),
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::NotFound => format!("'{} generate config' prints one to start with", S::PROGRAM.name),
                _ => "check its permissions".to_owned(),
            };
            let fault = Fault::new(format!("cannot be read: {error}"), mend);
            (File::default(), vec![Finding::error(Origin::File(label.clone(), 0), "", "", fault)])
        }
    };
    findings.extend(faults);
    (Some(label), file)
}

/// The bytes of a file; of a file that is too large, one byte more than is allowed.
fn read_limited(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if fs::metadata(path)?.file_type().is_fifo() {
        read_pipe(path, &mut bytes)?;
    } else {
        fs::File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Reads a pipe, such as a shell gives for a command's output. To wait for a writer who never comes would be to hang.
fn read_pipe(path: &std::path::Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    /// O_NONBLOCK of Linux (fcntl.h); the same on all architectures for which there are packages.
    const NONBLOCKING: i32 = 0o4000;
    let mut file = fs::OpenOptions::new().read(true).custom_flags(NONBLOCKING).open(path)?;
    let began = Instant::now();
    let mut chunk = [0; 4_096];
    while bytes.len() <= FILE_BYTES_MAX {
        match file.read(&mut chunk) {
            Ok(0) if bytes.is_empty() => return Err(io::Error::other("it is a pipe to which nobody writes")),
            Ok(0) => return Ok(()),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < PIPE_WAIT_MAX => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn environment<S: Schema>(
    variables: &[(OsString, OsString)],
    assignments: &mut Vec<Assignment>,
    findings: &mut Vec<Finding>,
) {
    let program = S::PROGRAM;
    let prefix = format!("{}_", program.variable_prefix);
    let alias = |name: &str| program.variable_aliases.iter().find(|(alias, _)| *alias == name).map(|(_, key)| *key);
    let mut own: Vec<(String, &OsString)> = variables
        .iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(&prefix) && !program.other_variables.contains(&name.as_str()))
        .collect();
    // Aliases come first, so that the regular variables win.
    own.sort_by_key(|(name, _)| (alias(name).is_none(), name.clone()));
    for (name, value) in own {
        let origin = Origin::Environment(name.clone());
        match (variable_setting::<S>(&name, &prefix, alias(&name)), value.to_str()) {
            (None, _) => {
                let fault = Fault::new("unknown variable", nearest_variable::<S>(&name));
                findings.push(Finding::error(origin, "", "", fault));
            }
            (Some(definition), None) => {
                let fault = Fault::new("not UTF-8 text", "set it again or unset it");
                findings.push(Finding::error(origin, definition.key, "", fault));
            }
            (Some(definition), Some(value)) => {
                assignments.push(Assignment { definition, value: RawValue::Unquoted(value.to_owned()), origin });
            }
        }
    }
}

/// The setting of a variable: that of its alias, or of `PREFIX_SECTION__NAME` in capital letters.
fn variable_setting<S: Schema>(name: &str, prefix: &str, alias: Option<&str>) -> Option<&'static Definition> {
    if let Some((section, name)) = alias.and_then(|key| key.split_once('.')) {
        return S::definition(section, name);
    }
    let (section, key) = name.strip_prefix(prefix)?.split_once("__")?;
    let is_upper = name.to_uppercase() == name;
    S::definition(&section.to_lowercase(), &key.to_lowercase()).filter(|_| is_upper)
}

/// The variable that was probably meant. The usual mistake is a single underscore between section and name.
fn nearest_variable<S: Schema>(name: &str) -> String {
    let program = S::PROGRAM;
    let known = S::definitions().iter().map(|definition| program.variable(definition.key)).collect::<Vec<String>>();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("unset it; variables are named like {}", program.variable(program.example.0)),
    }
}

fn flags<S: Schema>(flags: &[Flag], assignments: &mut Vec<Assignment>, findings: &mut Vec<Finding>) {
    for Flag { option, key, value } in flags {
        let origin = Origin::Flag(option.clone());
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        match S::definition(section, name) {
            Some(definition) => assignments.push(Assignment { definition, value: value.clone(), origin }),
            None => findings.push(Finding::error(origin, &one_line(key), "", unknown_key::<S>(section, name))),
        }
    }
}
