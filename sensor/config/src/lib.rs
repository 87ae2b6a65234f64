//! The settings of a program, shared by the programs of this project.
//!
//! * What it is for: a program declares its settings in one table ([`settings!`]) with type, default, rule and
//!   documentation, and says in [`Schema`] what its files and variables are called and which combinations make no sense.
//! * What goes in: the layers, later ones winning: defaults, a TOML file, the environment (`PREFIX_SECTION__KEY`), the
//!   command line ([`Layers`]).
//! * What comes out: valid settings with the origin of each ([`Loaded`]), or every error at once ([`ConfigErrors`]), each
//!   with file, line, key and mend. From the same table come the default file and the reference ([`document`]).
//! * What it does not do: it knows no setting of any program, and it does not check what the machine has (interfaces,
//!   users, folders).
//!
//! Unknown keys are errors. A number is in the unit that ends the name of its setting: `"64 MiB"` is refused, and the
//! error says which number to write. Empty text means none.
//!
//! ```
//! use vigie_config::{Layers, Machine, Program, Review, Rule, Schema, Source, settings};
//!
//! settings! {
//!     /// Settings of an example.
//!     Settings;
//!
//!     /// Where events are sent.
//!     receiver: Receiver {
//!         /// Events that are sent at once.
//!         batch_events_max: usize = 100, Rule::Range(1, 1000), Restart;
//!     }
//! }
//!
//! impl Schema for Settings {
//!     const PROGRAM: Program = Program {
//!         name: "example",
//!         file_default: "/etc/example/example.toml",
//!         variable_prefix: "EXAMPLE",
//!         variable_aliases: &[],
//!         other_variables: &[],
//!         example: ("receiver.batch_events_max", "50"),
//!     };
//!
//!     fn resolve(&mut self, _: &Machine) {}
//!
//!     fn check(_: &mut Review<'_, Self>) {}
//! }
//!
//! let file = Source::Bytes("example.toml".to_owned(), b"[receiver]\nbatch_events_max = 5000\n".to_vec());
//! let layers = Layers { source: file, environment: Vec::new(), flags: Vec::new(), machine: Machine::detect() };
//! let error = Settings::load(&layers).unwrap_err().to_string();
//! assert_eq!(error, "example.toml:2: receiver.batch_events_max = 5000: too large; give at most 1000");
//! ```
#![forbid(unsafe_code)]

mod day;
pub mod document;
mod file;
mod finding;
mod layers;
mod machine;
mod mode;
mod number;
mod raw_value;
mod regular_file;
mod review;
mod rules;
mod schema;
mod setting_type;
mod suggestion;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use day::Day;
pub use file::File;
pub use finding::{ConfigErrors, Fault, Finding, Origin, Severity, one_line};
pub use layers::{Flag, Layers, Loaded, Source, key_and_value};
pub use machine::Machine;
pub use mode::Mode;
pub use raw_value::{RawValue, toml_text};
pub use regular_file::open_regular;
pub use review::Review;
pub use rules::{Rule, TextRule, absolute_path, account_name, printable};
pub use schema::{Program, Schema};
pub use setting_type::SettingType;
pub use suggestion::nearest;
pub use table::{Change, Changes, Definition, Section, Table};
pub use words::{one_of, read_word};
