//! From names to verdicts: what the flows of one client to one service, taken together, say about the device.
//!
//! In: [`Sighting`]s, one for each flow that matched a signature, in the order of packet time. Out: a [`Judgement`] for
//! each client and service, with its reasons. A name alone is never a verdict: an embedded player contacts the same hosts
//! as the site. The unit is the *episode*, the sightings of one client and service without a longer silence, and the set
//! of name families in it decides ([`decide`]). Under which ban a verdict is a finding, and whose device it was, says the
//! [`policy`].
//!
//! Pure: no I/O, no clock, no packets. Time is the time of the sightings, so a replay gives the same judgements.

#![forbid(unsafe_code)]

mod cases;
mod client;
mod decide;
mod destinations;
mod episode;
mod incident;
mod period;
pub mod policy;
mod reason;
mod recent_names;
mod recognise;
mod region;
mod sighting;
mod state;
mod thresholds;
mod verdict;

pub use cases::{CaseKey, Cases, Change};
pub use decide::decide;
pub use destinations::Destinations;
pub use episode::{Around, Episode, Family};
pub use incident::{
    Closing, Counts, Finding, Incident, IncidentChange, IncidentKey, IncidentLimits, Incidents, Step, incident_id,
    is_incident_id, is_left_out,
};
pub use period::{NotAPeriod, Period, PeriodLength};
pub use reason::Reason;
pub use recognise::{Attribution, Recogniser};
pub use region::region;
pub use sighting::{Answered, Client, Contact, Origin, Sighting, Stack};
pub use state::{Resumed, SavedIncidents, SavedIncidentsRef};
pub use thresholds::Thresholds;
pub use verdict::{Judgement, Kind, Verdict};
