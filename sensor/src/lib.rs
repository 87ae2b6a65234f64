//! **vigie**: a passive network sensor. This crate wires the other ones together into the program `vigie`: frames and a
//! configuration go in, events, metrics and an exit code come out.
//!
//! A packet's way: a source of `vigie_capture` gives frames to a [`worker`], which decodes them (`vigie_decode`), finds their
//! flow (`vigie_flow`), inspects the handshake (`vigie_handshake`), and matches it against the signatures ([`detect`]). The
//! worker emits an [`event`]; [`judging`] makes incidents of sightings, by the verdicts and the policy of `vigie_judgement`; what
//! is written becomes a [`record`] of the journal (`vigie_journal`). [`read`] drives workers through captures, [`run`] through
//! the interfaces of a live sensor. [`judge`] reads no packet: it reads the logs of other tools.
//!
//! Each module uses only those above it; a test checks that.

pub mod text;
pub mod detect;
pub mod event;
pub mod country;
pub mod record;

pub mod telemetry;
pub mod settings;
pub mod policy;
pub mod privacy;
pub mod audit;

pub mod worker;
pub mod judge;
pub mod judging;
pub mod read;
pub mod run;

pub mod cli;
