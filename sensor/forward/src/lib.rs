//! The program `vigie-forward`: reads the journal of `vigie` and sends its events to receivers.
//!
//! * What it is for: events that the sensor has written reach every receiver, in order, at least once, through any outage.
//! * What goes in: the journal's lines, and `/etc/vigie/forward.toml`.
//! * What comes out: events in the encoding that each receiver wants ([`encode`]).
//! * What it does not do: it never sees a packet, and it never writes to the journal.
#![deny(unsafe_code)]

pub mod encode;
