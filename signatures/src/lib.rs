//! Which names, addresses and fingerprints belong to which service, and how much that proves.
//!
//! Knows nothing of packets. A [`Bundle`] is read from TOML files (or is the one built in), checked whole, and then
//! answers look-ups without allocating.

mod rule;

pub use rule::{Confidence, MatchKind, Role, Rule, Signal, Verdict};
