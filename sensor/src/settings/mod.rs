//! The settings of the sensor: its table, its limits, which combinations make no sense, and what follows from them
//! (memory, capture options, readiness). How settings are read from file, environment and command line is
//! `vigie-config`. Whether the machine has what they ask for (interfaces, users, folders) is checked by `vigie check` and
//! at the start, not here.

mod capture;
mod choices;
mod combinations;
mod exposure;
mod limits;
mod memory;
mod readiness;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use vigie_config::{Machine, Program, Review, Schema, document};

pub use choices::{Fsync, KeyPeriod, Language, Level, LogFormat, Naming, Record, Unlisted};
pub use memory::MemoryNeed;
pub(crate) use memory::{ENDING_FLOW_BYTES, HELD_ALERTS_BYTES_MAX, WAITING_FLOW_BYTES_MAX};
pub use table::{
    Capture, Events, Judgement, Limits, Log, Metrics, Policy, Privacy, Privilege, Sensor, Settings, Signatures,
};

use vigie_capture::live::Backend;

/// The configuration file that is read if no other is given.
pub const FILE_DEFAULT: &str = "/etc/vigie/vigie.toml";

/// The settings of the sensor, and where they come from.
pub type Loaded = vigie_config::Loaded<Settings>;

impl Schema for Settings {
    const PROGRAM: Program = Program {
        name: "vigie",
        file_default: FILE_DEFAULT,
        variable_prefix: "VIGIE",
        // Older than the sections, and valid for every command.
        variable_aliases: &[("VIGIE_SENSOR_NAME", "sensor.name")],
        other_variables: &["VIGIE_CONFIG"],
        example: ("capture.workers", "2"),
    };

    const LISTS: &'static [&'static str] = &["ban", "scope"];

    fn resolve(&mut self, machine: &Machine) {
        if self.sensor.name.is_empty() {
            self.sensor.name.clone_from(&machine.host_name);
        }
        if self.capture.workers == 0 {
            self.capture.workers = match self.capture.backend {
                // One worker reads all queues, so that it sees both directions of a flow whatever the card does.
                Backend::Pcap | Backend::Xdp | Backend::Auto => 1,
                Backend::Ring if self.capture.cpus.is_empty() => machine.cpus.max(1),
                Backend::Ring => self.capture.cpus.len(),
            };
        }
        self.events.types.sort_unstable();
        self.events.types.dedup();
    }

    fn check(review: &mut Review<'_, Self>) {
        combinations::check(review);
    }
}

impl Privacy {
    /// The period after which a client's first finding counts anew, if only its second names it.
    pub const fn warning_period(&self) -> Option<vigie_privacy::PeriodLength> {
        match self.mode {
            Naming::Named => None,
            Naming::WarnFirst => Some(self.period.length()),
        }
    }

    /// The settings that the law asks for and that are not given.
    pub fn missing(&self) -> Vec<&'static str> {
        let given = [
            ("privacy.dpia_reference", self.dpia_reference.is_some()),
            ("privacy.notice_date", self.notice_date.is_some()),
            ("privacy.staff_consultation_date", self.staff_consultation_date.is_some()),
        ];
        given.into_iter().filter_map(|(key, is_given)| (!is_given).then_some(key)).collect()
    }
}

impl Default for Settings {
    /// The defaults on this machine.
    fn default() -> Self {
        Self::defaults(&Machine::detect())
    }
}

impl Settings {
    /// The file in which open incidents survive a restart; none where events go to no file that has a folder.
    pub fn state_file(&self) -> Option<PathBuf> {
        let given = self.judgement.state_file.clone();
        given.or_else(|| {
            let events = self.events.file.as_path();
            // A pipe's folder is not the sensor's own.
            let is_regular = events.as_os_str() != "-" && events.metadata().map_or(true, |found| found.is_file());
            is_regular.then(|| events.with_file_name("judgement.state"))
        })
    }

    /// Folder or file to which events go.
    pub fn events_place(&self) -> &std::path::Path {
        self.journal.folder.as_deref().unwrap_or(&self.events.file)
    }

    /// The records of `events.types` that are not written on a day: they name the traffic of everybody, and
    /// `privacy.debug_until` does not allow them.
    pub fn records_refused(&self, today: time::Date) -> Vec<Record> {
        if self.privacy.debug_until.is_some_and(|last| today <= last.0) {
            return Vec::new();
        }
        self.events.types.iter().copied().filter(|record| record.names_all_traffic()).collect()
    }
}

/// The file that is installed: every setting with its documentation, commented out at its default. Only the journal is on:
/// a sensor whose file is older goes on with its events file.
pub fn default_file() -> String {
    let off = "# `events.file`. Type: path, an absolute path.\n#folder = \"\"\n";
    let on = "# `events.file`. Type: path, an absolute path.\nfolder = \"/var/lib/vigie/journal\"\n";
    document::default_file::<Settings>().replacen(off, on, 1)
}

/// All settings as a page of Markdown.
pub fn reference() -> String {
    document::reference::<Settings>()
}
