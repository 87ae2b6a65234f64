//! `vigie synth --profile ministry`: the capture of a day, and beside it the truth and the policy to judge it by.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use vigie_signatures::Bundle;
use vigie_synth::ministry::{MARK, Ministry, NameSet, Settings, Truth, Use};
use vigie_synth::pcap;

use super::SynthArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::eprint;

/// People, if no number is given.
const CLIENTS_DEFAULT: u32 = 5_000;
/// Bytes of a line of the sets of names at most.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a file of sets of names at most.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of a name at most: a hello holds longer ones, and no host has them.
const NAME_BYTES_MAX: usize = 1_024;

/// Writes the day.
///
/// # Errors
/// The sets of names are wrong, a file cannot be written, or a file of somebody else would be lost.
pub(super) fn run(arguments: &SynthArguments) -> Result<Exit, Failure> {
    if arguments.output == Path::new("-") {
        let what = "the profile 'ministry' writes several files, and '-' is one";
        return Err(Failure::new(Exit::Usage, what, "give --output FILE: the others go beside it"));
    }
    let mut left_out = 0;
    let sets = match &arguments.names {
        Some(path) => read_sets(path, &mut left_out)?,
        None => Vec::new(),
    };
    let folder = arguments.output.parent().unwrap_or(Path::new(""));
    let [truth, policy, derogations] = ["truth.jsonl", "policy.toml", "derogations.toml"].map(|name| folder.join(name));
    for path in [&policy, &derogations] {
        refuse_to_overwrite(path)?;
    }
    let clients = arguments.clients.unwrap_or(CLIENTS_DEFAULT);
    let settings = Settings { seed: arguments.seed, clients, sets: sets.iter().map(|(_, set)| set.clone()).collect() };
    let mut ministry = Ministry::new(&settings, Bundle::builtin()).map_err(|(place, service)| {
        let line = sets.get(place).map_or(0, |(line, _)| *line);
        let what = format!("{}:{line}: no signature has the service \"{service}\"", shown(arguments.names.as_deref()));
        Failure::new(Exit::BadData, what, "'vigie signatures list' shows the services")
    })?;
    at(&arguments.output, write_capture(&mut ministry, &arguments.output))?;
    let lines: String = ministry.truth().iter().map(line).collect();
    at(&truth, fs::write(&truth, lines))?;
    at(&policy, fs::write(&policy, ministry.policy()))?;
    at(&derogations, fs::write(&derogations, ministry.derogations()))?;
    let counts = ministry.counts();
    let left_out = match left_out {
        0 => String::new(),
        sets => format!("; {sets} sets without names were left out"),
    };
    eprint(&format!(
        "wrote {} frames of {} bytes, {} flows of {clients} people{left_out}; judge them with: vigie read --policy {} {}\n",
        counts.frames,
        counts.bytes,
        counts.flows,
        shell(&policy),
        shell(&arguments.output),
    ));
    Ok(Exit::Success)
}

fn write_capture(ministry: &mut Ministry, path: &Path) -> io::Result<()> {
    let mut target = BufWriter::with_capacity(1 << 20, File::create(path)?);
    target.write_all(&pcap::file_header())?;
    let mut frame = Vec::new();
    while let Some(timestamp_ns) = ministry.frame(&mut frame) {
        target.write_all(&pcap::record_header(timestamp_ns, frame.len()))?;
        target.write_all(&frame)?;
    }
    target.flush()
}

/// A line of the truth.
fn line(truth: &Truth) -> String {
    let mut line = json!({
        "client": truth.client.to_string(), "service": truth.service, "day": truth.day,
        "verdict": truth.verdict.as_str(), "incident": truth.incident,
    });
    if let (Some(object), false) = (line.as_object_mut(), truth.why.is_empty()) {
        object.insert("why".to_owned(), Value::from(truth.why));
    }
    format!("{line}\n")
}

/// A line of the sets of names.
#[derive(Deserialize)]
struct Line {
    truth: String,
    #[serde(default)]
    service: Option<String>,
    names: Vec<String>,
}

/// The sets of a file, each with its line.
fn read_sets(path: &Path, left_out: &mut u64) -> Result<Vec<(usize, NameSet)>, Failure> {
    let name = path.display().to_string();
    let cannot_read = |error: &io::Error| {
        Failure::new(Exit::Unavailable, format!("cannot read {name}: {error}"), "check its name and permissions")
    };
    let file = File::open(path).map_err(|error| cannot_read(&error))?;
    let mut reader = BufReader::new(io::Read::take(file, FILE_BYTES_MAX));
    let (mut sets, mut text, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        text.clear();
        let read = io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut text);
        if read.map_err(|error| cannot_read(&error))? == 0 {
            return Ok(sets);
        }
        number += 1;
        if text.trim_ascii().is_empty() {
            continue;
        }
        match set(&text) {
            Ok(set) if set.names.is_empty() => *left_out += 1,
            Ok(set) => sets.push((number, set)),
            Err(what) => {
                let mend = "write {\"truth\": \"app\", \"service\": \"tiktok\", \"names\": [\"…\"]}";
                return Err(Failure::new(Exit::BadData, format!("{name}:{number}: {what}"), mend));
            }
        }
    }
}

fn set(text: &[u8]) -> Result<NameSet, String> {
    let Line { truth, service, names } =
        serde_json::from_slice(text.trim_ascii()).map_err(|error| error.to_string())?;
    let truth = match truth.as_str() {
        "app" => Use::App,
        "web" => Use::Web,
        "embed" => Use::Embed,
        other => return Err(format!("\"{other}\" is not one of app, web, embed")),
    };
    if service.is_none() && truth != Use::Embed {
        return Err("the set has no service".to_owned());
    }
    let names = names.into_iter().filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX).collect();
    Ok(NameSet { truth, service: service.filter(|_| truth != Use::Embed), names })
}

/// Refuses to replace a configuration that this program did not write.
fn refuse_to_overwrite(path: &Path) -> Result<(), Failure> {
    let is_ours = match File::open(path) {
        Ok(file) => {
            let mut start = Vec::new();
            let read = io::Read::take(file, MARK.len() as u64);
            io::Read::read_to_end(&mut { read }, &mut start).is_ok() && start == MARK.as_bytes()
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    match is_ours {
        true => Ok(()),
        false => {
            let what = format!("{} exists, and would be replaced", path.display());
            Err(Failure::new(Exit::Usage, what, "give --output a folder of its own"))
        }
    }
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::write(&path.display().to_string(), &error))
}

fn shown(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// A path as a shell reads it.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map(|quoted| quoted.into_owned()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_wrong_ones_refused() {
        let read = |text: &str| set(text.as_bytes());
        let app =
            read(r#"{"truth": "app", "service": "tiktok", "names": ["TNC16.tiktokv.eu", "", "a", "a"], "note": 1}"#);
        let app = app.unwrap();
        assert_eq!((app.truth, app.service.as_deref(), app.names.len()), (Use::App, Some("tiktok"), 3));
        assert_eq!(read(r#"{"truth": "embed", "service": "x", "names": ["t.co"]}"#).unwrap().service, None);
        for wrong in [
            "{",
            "[]",
            r#"{"truth": "pixel", "names": []}"#,
            r#"{"truth": "web", "names": ["www.tiktok.com"]}"#,
            r#"{"truth": "app", "service": "tiktok", "names": "a"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_file_of_sets_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let names = folder.path().join("sets.jsonl");
        let lines =
            "\n{\"truth\":\"embed\",\"names\":[]}\n{\"truth\":\"app\",\"service\":\"tiktoc\",\"names\":[\"a\"]}\n";
        fs::write(&names, lines).unwrap();
        let mut left_out = 0;
        let sets = read_sets(&names, &mut left_out).unwrap();
        assert_eq!((sets.len(), sets[0].0, left_out), (1, 3, 1));
        fs::write(&names, "{\"truth\":\"app\"}\n").unwrap();
        assert!(read_sets(&names, &mut left_out).unwrap_err().what.contains("sets.jsonl:1: "));
        assert_eq!(read_sets(&folder.path().join("none"), &mut left_out).unwrap_err().exit, Exit::Unavailable);
    }

    #[test]
    fn configurations_of_others_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert!(refuse_to_overwrite(&path).is_ok());
        fs::write(&path, format!("{MARK}: …\n")).unwrap();
        assert!(refuse_to_overwrite(&path).is_ok());
        fs::write(&path, "[policy]\n").unwrap();
        assert!(refuse_to_overwrite(&path).is_err());
    }
}
