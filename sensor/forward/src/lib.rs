//! The program `vigie-forward`: reads the journal of `vigie` and sends its events to receivers.
//!
//! * What it is for: events that the sensor has written reach every receiver, in order, at least once, through any outage.
//! * What goes in: the journal's lines, and `/etc/vigie-forward/forward.toml` ([`configuration`]).
//! * What comes out: events in the encoding that each receiver wants ([`encode`]), to where it is ([`receiver`]).
//! * What it does not do: it never sees a packet, and it never writes to the journal.
//!
//! Each receiver has a thread ([`engine`]), a reader of the journal, and a cursor that moves when the receiver has the
//! events.
#![deny(unsafe_code)]

pub mod batch;
pub mod check;
pub mod configuration;
pub mod encode;
pub mod engine;
pub mod error;
pub mod program;
pub mod receiver;
pub mod seals;
pub mod secret;
pub mod selection;
pub mod settings;
pub mod telemetry;
pub mod time;
