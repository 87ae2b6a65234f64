//! Pseudonyms: what stands in events in place of a client, so that whoever reads them learns what was found, and not whose
//! device it was, unless the holder of a key tells.
//!
//! In: a [`PeriodKey`], which the holder of the [`MasterKey`] derives for a site and a [`Period`]. Out: [`Pseudonyms`] for
//! addresses, hardware addresses and names, ids that cannot be computed without the key, and the way back. [`PeriodKeys`]
//! are the keys of several periods, one of which is used at a time.
//!
//! Addresses are encrypted so that networks stay networks (ipcrypt-pfx): two clients with the same first bits have
//! pseudonyms with the same first bits. Whoever knows the true address behind one pseudonym knows the first bits of its
//! neighbours; a new key in each period bounds what can be gathered.
//!
//! Not here: key files and their permissions, which events have which fields, and audit lines.

#![forbid(unsafe_code)]

mod keys;
mod pseudonyms;

pub use keys::{KeyFileError, MasterKey, NotAKey, PeriodKey, PeriodKeys};
pub use pseudonyms::{Pseudonyms, RevealError};
pub use vigie_judgement::{NotAPeriod, Period, PeriodLength};
