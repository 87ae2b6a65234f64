//! Wires the modules together: a [`Worker`](worker::Worker) takes frames to facts, [`read`](read::read) replays
//! captures through workers.

pub mod counters;
pub mod read;
pub mod told;
pub mod records;
pub mod run;
pub mod worker;

pub use crate::config::{Limits, limits};
pub use counters::Counters;
pub use read::{Settings, Totals, read, read_by};
