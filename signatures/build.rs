//! Reads and checks the files of `services/`, and writes down what they say for `src/builtin.rs`. A fault in them fails
//! the build. The files of `bans/` are built in as they are; a test reads them. Adding a file is all it takes to build it in.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

// What the parser of the operator's files consists of; only a part of each is needed here.
#[allow(dead_code)]
#[path = "src/address.rs"]
mod address;
#[allow(dead_code)]
#[path = "src/diagnostic.rs"]
mod diagnostic;
#[allow(dead_code)]
#[path = "src/id.rs"]
mod id;
#[allow(dead_code, clippy::enum_variant_names)]
#[path = "src/normalise.rs"]
mod normalise;
#[allow(dead_code, unused_imports)]
#[path = "src/parse/mod.rs"]
mod parse;
#[allow(dead_code)]
#[path = "src/pattern.rs"]
mod pattern;
#[allow(dead_code)]
#[path = "src/rule.rs"]
mod rule;
#[allow(dead_code, unused_imports)]
#[path = "src/words.rs"]
mod words;

use parse::{Draft, File, Matches};

fn main() -> Result<(), Box<dyn Error>> {
    for inputs in ["services", "bans", "src"] {
        println!("cargo::rerun-if-changed={inputs}");
    }
    let directory = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("services");
    let mut paths = std::fs::read_dir(&directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut list = String::from("/// The files of `services/`, in order of name.\nstatic FILES: &[BuiltinFile] = &[\n");
    let mut faults = Vec::new();
    for path in &paths {
        let name = path.file_name().ok_or("a file without a name")?.to_string_lossy();
        let (file, mut found) = parse::parse(&format!("services/{name}"), &std::fs::read_to_string(path)?);
        // What is a warning for operators, such as an old word, is a fault here.
        faults.append(&mut found);
        write_file(&mut list, file)?;
    }
    list.push_str("];\n");
    if !faults.is_empty() {
        return Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into());
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("services.rs"), list)?;
    std::fs::write(out.join("bans.rs"), ban_files()?)?;
    Ok(())
}

/// The files of `bans/`, as texts: they are few, and read when somebody asks for them.
fn ban_files() -> Result<String, Box<dyn Error>> {
    let directory = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("bans");
    let mut paths =
        std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let mut list = String::from("static BAN_FILES: &[(&str, &str)] = &[\n");
    for path in paths {
        let name = path.file_name().ok_or("a file without a name")?.to_string_lossy();
        writeln!(list, "({:?}, include_str!({:?})),", format!("bans/{name}"), path)?;
    }
    list.push_str("];\n");
    Ok(list)
}

fn write_file(list: &mut String, file: File) -> Result<(), Box<dyn Error>> {
    let File { label, header, mut drafts, silences } = file;
    if header.replace || header.silent || !silences.is_empty() {
        return Err(format!("{label}: a file built in replaces and silences nothing").into());
    }
    writeln!(
        list,
        "BuiltinFile {{ label: {label:?}, service: {:?}, name: {:?}, owner: {:?}, owner_country: {:?}, category: {:?}, base: {:?}, enabled: {:?}, line: {}, \
         rules: &[",
        header.service,
        header.name,
        header.owner,
        header.owner_country,
        header.category,
        header.base,
        header.enabled,
        header.line
    )?;
    drafts.sort_by_key(|draft| draft.rule.line);
    for draft in &drafts {
        write_rule(list, draft)?;
    }
    list.push_str("] },\n");
    Ok(())
}

fn write_rule(list: &mut String, draft: &Draft) -> Result<(), Box<dyn Error>> {
    let Draft { rule, matches, note } = draft;
    let pattern = match matches {
        Matches::Pattern { head, zones } => format!("Some(({head:?}, &{zones:?}))"),
        _ => "None".to_owned(),
    };
    writeln!(
        list,
        "BuiltinRule {{ kind: MatchKind::{:?}, text: {:?}, pattern: {pattern}, id_offset: {}, role: Role::{:?}, \
         class: Class::{:?}, family: {:?}, traits: &[{}], alone: {}, confidence: Confidence::{:?}, asn: {:?}, sources: &{:?}, reviewed: {:?}, note: {note:?}, \
         line: {} }},",
        rule.kind,
        rule.text,
        rule.signature_id,
        rule.role,
        rule.class,
        rule.family,
        traits(rule),
        rule.alone,
        rule.confidence,
        rule.asn,
        rule.sources,
        rule.reviewed,
        rule.line
    )?;
    Ok(())
}

fn traits(rule: &rule::Rule) -> String {
    rule.traits.iter().map(|one| format!("Trait::{one:?}, ")).collect()
}
