//! The program `vigie-top`: a running sensor in a terminal.
//!
//! * What it is for: somebody at the machine, over SSH, sees at a glance whether the sensor sees its traffic, what it loses, and
//!   which incidents come in.
//! * What goes in: the metrics that the sensor serves, asked once a second, and its journal or file of events.
//! * What comes out: a screen of text, in English or French, from 80 columns and 24 lines on.
//! * What it does not do: it changes nothing, and keeps nothing. It asks metrics without TLS and without a password: where the
//!   endpoint wants them, it says so and shows incidents only.
//!
//! One thread asks for metrics (`metrics`), one reads events (`events`); what they tell becomes a `view`, which
//! `screen` draws. `program` is the loop around them.
#![forbid(unsafe_code)]

mod events;
mod metrics;
pub mod program;
mod screen;
mod sources;
mod text;
mod view;
mod words;
