//! Which names, addresses and fingerprints belong to which service, and how much that proves (`services/`, `clients/`); and
//! the bans of public bodies (`bans/`).
//!
//! Knows nothing of packets. A [`Bundle`] is read from TOML files (or is the one built in), checked whole, and then
//! answers look-ups without allocating. [`normalise`] brings a name off the wire to the form that look-ups take.

mod address;
mod alerting;
mod bans;
mod builtin;
mod bundle;
mod clients;
mod diagnostic;
mod explain;
mod id;
mod lookup;
mod merge;
mod normalise;
mod parse;
mod pattern;
mod rule;
mod silence;
mod words;

pub use address::Network;
pub use bans::{Ban, BanForm, BanState, Bans, Forbids, Personal, Precision, ScopeWord};
pub use bundle::{Bundle, FILE_BYTES_MAX, LoadOptions, REVIEW_DAYS_MAX, Service, SourceText};
pub use clients::{Clients, Stack, StackKind};
pub use diagnostic::{Diagnostic, Severity, missing_keys};
pub use explain::{Explanation, QueryKind};
pub use id::{SERVICE_IDS, signature_id};
pub use normalise::{HostName, LABEL_BYTES_MAX, NAME_BYTES_MAX, Name, normalise};
pub use rule::Rule;
pub use words::{Class, Confidence, MatchKind, Role, Trait, Verdict};
