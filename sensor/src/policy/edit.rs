//! Changes to the register of derogations: entries are added and ended; comments and order stay as people wrote them.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use time::Date;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};
use vigie_config::{Finding, Severity};
use vigie_judgement::policy::{BanInUse, Derogation};
use vigie_signatures::Bundle;

use super::register::{self, Known};

/// Permissions of a register that is made: it has addresses of people.
const MODE_NEW: u32 = 0o600;
/// The beginning of a register that is made.
const HEADER: &str = "# Register of derogations: who may use which service, from when until when, and who decided it.\n\
    # 'vigie derogation add' and 'vigie derogation end' edit it; 'vigie check' shows all entries with their state.\n";

/// Why a register was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The register, or what it would become, is wrong.
    #[error("{}", lines(.0))]
    Wrong(Vec<Finding>),
    /// The change makes no sense.
    #[error("{0}; {1}")]
    Refused(String, String),
    /// The file cannot be written.
    #[error("{0} cannot be written: {1}; check space and permissions")]
    Write(String, io::Error),
}

fn lines(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refused(what: impl Into<String>, mend: impl Into<String>) -> EditError {
    EditError::Refused(what.into(), mend.into())
}

/// A register and its file.
pub struct Register<'a> {
    path: PathBuf,
    /// None if the file does not exist.
    text: Option<String>,
    known: Known<'a>,
    derogations: Vec<Derogation>,
    /// User and group of a file that is made.
    owner: Option<(u32, u32)>,
}

impl<'a> Register<'a> {
    /// Gives a file that is made to this user and group.
    #[must_use]
    pub fn owned_by(self, owner: Option<(u32, u32)>) -> Self {
        Self { owner, ..self }
    }

    /// Reads a register; without its file it is empty.
    ///
    /// # Errors
    /// The file cannot be read, or something is wrong with it.
    pub fn open(path: &Path, bundle: &'a Bundle, bans: &'a [BanInUse]) -> Result<Self, EditError> {
        let known = Known { bundle, bans };
        // The file behind a link is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(Self { path, text: None, known, derogations: Vec::new(), owner: None });
        }
        let text = register::read_text(&path).map_err(EditError::Wrong)?;
        let (derogations, _) = register::parse(&path.display().to_string(), &text, &known).map_err(EditError::Wrong)?;
        Ok(Self { path, text: Some(text), known, derogations, owner: None })
    }

    /// The entries.
    pub fn derogations(&self) -> &[Derogation] {
        &self.derogations
    }

    /// The next free id of a year, such as `2026-001`.
    pub fn free_id(&self, day: Date) -> String {
        let is_taken = |id: &String| self.derogations.iter().any(|derogation| derogation.id == *id);
        let ids = (1_u32..).map(|number| format!("{}-{number:03}", day.year()));
        ids.into_iter().find(|id| !is_taken(id)).unwrap_or_default()
    }

    /// Adds an entry and writes the file.
    ///
    /// # Errors
    /// The entry is wrong, such as backdated, or the file cannot be written.
    pub fn add(&self, derogation: &Derogation) -> Result<(), EditError> {
        if self.derogations.iter().any(|known| known.id == derogation.id) {
            let mend = "leave --id out, or give another";
            return Err(refused(format!("the register has an entry \"{}\" already", derogation.id), mend));
        }
        if let Err((key, refusal)) = derogation.check() {
            return Err(refused(format!("--{key}: {}", refusal.what), refusal.mend));
        }
        let mut document = self.document()?;
        // Comments behind the last entry stay before the new one.
        let before = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing("");
        let list = document.entry("derogation").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let list = list.as_array_of_tables_mut().ok_or_else(|| {
            refused("the register is not written as [[derogation]] tables", "write each entry below [[derogation]]")
        })?;
        list.push(entry(derogation, &before));
        self.write(&document.to_string())
    }

    /// Ends an entry: a day is its last. Writes the file.
    ///
    /// # Errors
    /// There is no such entry, it has ended, or the file cannot be written.
    pub fn end(&self, id: &str, last: Date) -> Result<(), EditError> {
        let Some(known) = self.derogations.iter().find(|derogation| derogation.id == id) else {
            let what = format!("the register has no entry \"{}\"", id.escape_default());
            return Err(refused(what, "'vigie derogation list' shows the ids"));
        };
        if known.last_day() <= last {
            let what = format!("the entry \"{id}\" ends on {} already", known.last_day());
            return Err(refused(what, "nothing is to be done"));
        }
        let mut document = self.document()?;
        let is_it = |table: &Table| table.get("id").and_then(Item::as_str).map(str::trim) == Some(id);
        let list = document.get_mut("derogation").and_then(Item::as_array_of_tables_mut);
        let Some(table) = list.and_then(|list| list.iter_mut().find(|table| is_it(table))) else {
            return Err(refused("the register is not written as [[derogation]] tables", "end the entry by hand"));
        };
        match table.get_mut("ended").and_then(Item::as_value_mut) {
            Some(ended) => {
                let decor = ended.decor().clone();
                *ended = last.to_string().into();
                *ended.decor_mut() = decor;
            }
            None => {
                table.insert("ended", value(last.to_string()));
            }
        }
        self.write(&document.to_string())
    }

    fn document(&self) -> Result<DocumentMut, EditError> {
        let text = self.text.as_deref().unwrap_or(HEADER);
        // It was read before, so it is TOML.
        text.parse()
            .map_err(|error: toml_edit::TomlError| refused(error.message(), "see https://toml.io for the syntax"))
    }

    /// Writes a new text: whole or not at all, with the permissions and the owner of the old file.
    fn write(&self, text: &str) -> Result<(), EditError> {
        let label = self.path.display().to_string();
        register::parse(&label, text, &self.known).map_err(EditError::Wrong)?;
        let failed = |error| EditError::Write(label.clone(), error);
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let old = fs::metadata(&self.path).ok();
        let mode = old.as_ref().map_or(MODE_NEW, |old| old.mode() & 0o7777);
        file.write_all(text.as_bytes()).map_err(failed)?;
        let owner = old.as_ref().map(|old| (old.uid(), old.gid())).or(self.owner);
        let new = file.as_file().metadata().map_err(failed)?;
        if let Some((user, group)) = owner.filter(|owner| *owner != (new.uid(), new.gid())) {
            fchown(file.as_file(), Some(user), Some(group)).map_err(failed)?;
        }
        file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        // Somebody else may have edited it meanwhile; that change must not be lost.
        if fs::read_to_string(&self.path).ok() != self.text {
            return Err(refused("the register was changed by somebody else meanwhile", "do it again"));
        }
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// An entry as it is written.
fn entry(derogation: &Derogation, before: &str) -> Table {
    let list = |texts: &mut dyn Iterator<Item = String>| value(texts.collect::<Array>());
    let mut table = Table::new();
    table.decor_mut().set_prefix(format!("{before}\n"));
    table.insert("id", value(&derogation.id));
    table.insert("who", list(&mut derogation.who.iter().map(ToString::to_string)));
    table.insert("services", list(&mut derogation.services.iter().cloned()));
    if !derogation.bans.is_empty() {
        table.insert("bans", list(&mut derogation.bans.iter().cloned()));
    }
    for (key, day) in [("from", derogation.from), ("until", derogation.until), ("added", derogation.added)] {
        table.insert(key, value(day.to_string()));
    }
    for (key, text) in
        [("reason", &derogation.reason), ("approver", &derogation.approver), ("reference", &derogation.reference)]
    {
        table.insert(key, value(text));
    }
    table
}
