//! Configuration. What was typed, in a [`File`], in the environment and on the command line, becomes [`Settings`]:
//! plain, valid, resolved. Unknown keys, bad values and impossible combinations are refused, all of them at once, each
//! with its place and what mends it. Whether the machine can do what is asked (interfaces, users, folders) is not
//! judged here, but by `vigie check` and by starting.
//!
//! Layers, later ones winning: defaults, file, environment (`VIGIE_SECTION__KEY`), command line. A number is always
//! in the unit that ends its name; `"64 MiB"` is refused, and the number to write instead is told. Empty text stands
//! for none.

mod capture;
mod choices;
mod combinations;
mod document;
mod file;
mod finding;
mod layers;
pub mod limits;
mod machine;
mod memory;
mod nearest;
mod readiness;
mod rules;
mod table;
#[cfg(test)]
mod tests;
mod typed;

use std::collections::BTreeMap;

pub use choices::{Fsync, Level, LogFormat, Record};
pub use document::{default_file, reference};
pub use file::File;
pub use finding::{ConfigErrors, Finding, Origin, Severity};
pub use layers::{Flag, Layers, Source};
pub use limits::Limits;
pub use machine::Machine;
pub use memory::MemoryNeed;
pub use table::{
    Capture, Change, Definition, Events, Log, Metrics, Privilege, SECTIONS, Sensor, Settings, Signatures, definition,
    definitions,
};
pub use typed::{Mode, Rule, TextRule, Typed};

pub use vigie_capture::live::{Backend, Fanout, Timestamps};
pub use vigie_privilege::Demand;

/// Where the configuration stands if nothing else is said.
pub const FILE_DEFAULT: &str = "/etc/vigie/vigie.toml";

/// Settings, and how they came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each setting that is not a default was typed, by key.
    pub origins: BTreeMap<&'static str, Origin>,
    /// What is odd without being wrong.
    pub warnings: Vec<Finding>,
    /// The file that was read, as it was named.
    pub file: Option<String>,
}

/// The keys whose settings differ between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveChange {
    /// Those that take effect on reload.
    pub live: Vec<&'static str>,
    /// Those that take effect when the sensor is started again.
    pub restart: Vec<&'static str>,
}

impl LiveChange {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

impl Settings {
    /// Reads all layers.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of layers and lines, with the warnings among it.
    pub fn load(layers: &Layers) -> Result<Loaded, ConfigErrors> {
        layers::load(layers)
    }

    /// The defaults on this machine.
    pub fn defaults(machine: &Machine) -> Self {
        let mut settings = Self::of_the_table();
        settings.resolve(machine);
        settings
    }

    /// What differs in `new`, and when it takes effect.
    pub fn live_changes(&self, new: &Self) -> LiveChange {
        let mut change = LiveChange::default();
        for definition in definitions() {
            let of = |settings: &Self| settings.toml(definition.section, definition.name);
            if of(self) != of(new) {
                match definition.change {
                    Change::Live => change.live.push(&definition.key),
                    Change::Restart => change.restart.push(&definition.key),
                }
            }
        }
        change
    }

    /// These settings with what may change live taken from `new`: what is in force after a reload.
    #[must_use]
    pub fn with_live_of(&self, new: &Self) -> Self {
        let mut settings = self.clone();
        for definition in definitions().iter().filter(|definition| definition.change == Change::Live) {
            settings.take(new, definition.section, definition.name);
        }
        settings
    }

    /// Works out what hangs on the machine and on other settings.
    fn resolve(&mut self, machine: &Machine) {
        if self.sensor.name.is_empty() {
            self.sensor.name.clone_from(&machine.host_name);
        }
        if self.capture.workers == 0 {
            self.capture.workers = match self.capture.backend {
                Backend::Pcap => 1,
                Backend::Ring if self.capture.cpus.is_empty() => machine.cpus.max(1),
                Backend::Ring => self.capture.cpus.len(),
            };
        }
        // A record is wanted or not.
        self.events.types.sort_unstable();
        self.events.types.dedup();
    }
}

impl Default for Settings {
    /// The defaults on this machine.
    fn default() -> Self {
        Self::defaults(&Machine::detect())
    }
}
