//! The policy as people write it: `[policy]`, `[[ban]]` and `[[scope]]` of a configuration, the asset list and the register
//! of derogations. It becomes a [`Policy`], or errors with file, line, key and mend.
//!
//! A policy file of its own (`--policy FILE`) has the format of a configuration: only what concerns judgement counts. So
//! the configuration of a sensor is a policy file, too.

mod assets;
mod bans;
mod edit;
mod fields;
mod register;
mod scopes;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use vigie_config::{ConfigErrors, Fault, Finding, Flag, Layers, Machine, Origin, RawValue, Schema, Severity, Source};
use vigie_judgement::policy::{BanInUse, Derogation, Policy, PolicyParts, Scope, ScopeKind, Zone};
use vigie_signatures::{Bans, Bundle};

use crate::settings::{Loaded, Settings, Unlisted};
use fields::Text;

pub use edit::{EditError, Register};

/// A policy, and what is probably not intended about it.
#[derive(Debug)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Policy,
    /// Warnings, in the order of the file.
    pub warnings: Vec<Finding>,
}

impl LoadedPolicy {
    /// The policy of a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn of(loaded: &Loaded, bundle: &Bundle) -> Result<Self, ConfigErrors> {
        Reader { loaded, bundle, findings: Vec::new() }.read()
    }

    /// The policy of a policy file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_file(path: &Path, bundle: &Bundle) -> Result<Self, ConfigErrors> {
        let layers = Layers {
            source: Source::Path(path.to_owned()),
            environment: Vec::new(),
            flags: Vec::new(),
            machine: Machine::detect(),
        };
        Self::of(&load_settings(layers)?, bundle)
    }
}

/// The settings of these layers, as far as they concern judgement: nothing needs to be captured.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load_settings(mut layers: Layers) -> Result<Loaded, ConfigErrors> {
    // A sensor needs an interface, a judgement does not.
    let (option, key) = ("--interface".to_owned(), "capture.interfaces".to_owned());
    let value = RawValue::List(vec![RawValue::Unquoted("none".to_owned())]);
    layers.flags.push(Flag { option, key, value });
    let mut loaded = Settings::load(&layers)?;
    loaded.warnings.retain(|warning| ["policy.", "privacy."].iter().any(|section| warning.key.starts_with(section)));
    Ok(loaded)
}

/// The bans that a configuration uses.
///
/// # Errors
/// Everything that is wrong with them.
pub fn bans(loaded: &Loaded, bundle: &Bundle) -> Result<Vec<BanInUse>, ConfigErrors> {
    let mut reader = Reader { loaded, bundle, findings: Vec::new() };
    let (bans, _) = reader.bans_and_scopes();
    let is_wrong = reader.findings.iter().any(|finding| finding.severity == Severity::Error);
    match (is_wrong, bans.is_empty()) {
        (true, _) => Err(ConfigErrors(reader.findings)),
        (false, true) => Ok(Policy::builtin().bans().to_vec()),
        (false, false) => Ok(bans),
    }
}

/// The files that a policy is read from: a reload reads them again.
pub fn files(loaded: &Loaded) -> Vec<PathBuf> {
    let policy = &loaded.settings.policy;
    let paths = [&policy.bans, &policy.assets, &policy.derogations];
    paths.into_iter().flatten().map(|path| resolve(loaded, path)).collect()
}

/// The sections of the configuration file that say how to judge.
const JUDGING_SECTIONS: [&str; 4] = ["policy", "judgement", "ban", "scope"];

/// A hash of what the policy is read from: some sections of the configuration file, and the files that they name. It tells
/// whether two sensors judge by the same rules, whatever their names and interfaces, and when a policy changed.
pub fn hash(loaded: &Loaded) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    let mut sections: toml::Table = toml::from_str(&loaded.text).unwrap_or_default();
    sections.retain(|section, _| JUDGING_SECTIONS.contains(&section));
    add(sections.to_string().as_bytes());
    add(format!("{:?}", loaded.settings.policy.unlisted).as_bytes());
    for path in files(loaded) {
        for file in files_in(&path) {
            add(&std::fs::read(&file).unwrap_or_default());
        }
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file itself, or the TOML files of a folder in the order of their names.
fn files_in(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    files.sort_unstable();
    files
}

/// A path of the file is relative to the file's folder.
pub(crate) fn resolve(loaded: &Loaded, path: &Path) -> PathBuf {
    let folder = loaded.file.as_deref().and_then(|file| Path::new(file).parent());
    folder.map_or_else(|| path.to_owned(), |folder| folder.join(path))
}

struct Reader<'l> {
    loaded: &'l Loaded,
    bundle: &'l Bundle,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<LoadedPolicy, ConfigErrors> {
        let settings = &self.loaded.settings.policy;
        let (bans, scopes) = self.bans_and_scopes();
        let assets = settings.assets.as_deref().and_then(|path| {
            let path = resolve(self.loaded, path);
            assets::read(&path).map_err(|findings| self.findings.extend(findings)).ok()
        });
        let derogations = self.derogations(&bans);
        let assets = assets.unwrap_or_default();
        let unlisted = settings.unlisted.kind();
        let policy = Policy::new(PolicyParts { bans, scopes, unlisted, assets, derogations });
        let is_wrong = self.findings.iter().any(|finding| finding.severity == Severity::Error);
        match policy {
            Ok(policy) if !is_wrong => Ok(LoadedPolicy { policy, warnings: self.findings }),
            Ok(_) => Err(ConfigErrors(self.findings)),
            // The reader of scopes has reported it.
            Err(_) => Err(ConfigErrors(self.findings)),
        }
    }

    fn bans_and_scopes(&mut self) -> (Vec<BanInUse>, Vec<Scope>) {
        let label = self.loaded.file.clone().unwrap_or_default();
        let text = Text::new(&label, &self.loaded.text);
        match text.parse() {
            Ok(document) => {
                let known = self.known_bans();
                let bans = bans::read(document.get_ref(), &text, known, self.bundle, &mut self.findings);
                (bans, scopes::read(document.get_ref(), &text, &mut self.findings))
            }
            Err(findings) => {
                self.findings.extend(findings);
                (Vec::new(), Vec::new())
            }
        }
    }

    /// The bans that can be used by their ids: the built-in ones and those of the operator's folder.
    fn known_bans(&mut self) -> Bans {
        let Some(path) = &self.loaded.settings.policy.bans else { return Bans::builtin() };
        match Bans::from_files(&[resolve(self.loaded, path)]) {
            Ok((bans, warnings)) => {
                self.findings.extend(warnings.iter().map(bans::from_diagnostic));
                bans
            }
            Err(findings) => {
                self.findings.extend(findings.iter().map(bans::from_diagnostic));
                Bans::builtin()
            }
        }
    }

    fn derogations(&mut self, bans: &[BanInUse]) -> Vec<Derogation> {
        let Some(path) = &self.loaded.settings.policy.derogations else { return Vec::new() };
        let path = resolve(self.loaded, path);
        let builtin = Policy::builtin();
        let bans = if bans.is_empty() { builtin.bans() } else { bans };
        let known = register::Known { bundle: self.bundle, bans };
        let read =
            register::read_text(&path).and_then(|text| register::parse(&path.display().to_string(), &text, &known));
        match read {
            Ok((derogations, warnings)) => {
                self.findings.extend(warnings);
                derogations
            }
            Err(findings) => {
                self.findings.extend(findings);
                Vec::new()
            }
        }
    }
}

/// The register that settings name, to be read or edited.
///
/// # Errors
/// The settings name none.
pub fn register(loaded: &Loaded) -> Result<PathBuf, ConfigErrors> {
    let path = loaded.settings.policy.derogations.as_deref();
    path.map(|path| resolve(loaded, path)).ok_or_else(|| {
        let origin = Origin::File(loaded.file.clone().unwrap_or_default(), 0);
        let fault = Fault::new("the policy has no register", "set it, or give --register FILE");
        ConfigErrors(vec![Finding::error(origin, "policy.derogations", "", fault)])
    })
}

/// The zone in which days of the operator are meant: that of the first ban.
pub fn zone(policy: &Policy) -> Zone {
    policy.bans().first().map_or_else(Zone::utc, |used| used.zone().clone())
}

impl Unlisted {
    /// The kind of scope that it means; none if the scopes tell.
    const fn kind(self) -> Option<ScopeKind> {
        match self {
            Self::Auto => None,
            Self::Official => Some(ScopeKind::Official),
            Self::Out => Some(ScopeKind::Guest),
        }
    }
}
