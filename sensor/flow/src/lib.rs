//! Flows: bidirectional 5-tuples, and the table of fixed size that stores them.
//!
//! * In: frames and decoded packets.
//! * Out: a flow's key ([`key`]), read from the headers of common packets without decoding them ([`headers`]); the flow's
//!   entry in the [`table`], and the flows that were evicted or fell silent.
//! * Not here: what a flow carries and means, which its owner keeps in records of its own; packet time, which the owner
//!   gives in epochs.
//!
//! Unsafe code is denied but in [`memory`].

pub mod headers;
pub mod key;
pub mod memory;
pub mod table;

pub use headers::PacketHeaders;
pub use key::{FLOW_ID_MAX, FlowKey, HashKey, Side};
pub use table::{FlowEntry, FlowTable, Lookup, PrimaryBucket, Probe, Slot};
