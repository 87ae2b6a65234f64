//! The program `vigie-console`: pages for the people who answer for what the sensor finds.
//!
//! * What it is for: on one screen, is it real, which device, since when, on what evidence, under which rule, does it go on,
//!   what have others done, and would it have been seen otherwise?
//! * What goes in: the lines of the sensor's journal, `/etc/vigie-console/console.toml`, and requests on a Unix socket or loopback.
//! * What comes out: HTML in English and French, and events in a journal of its own: decisions, notes, and who looked at what.
//!   [`report`] tells a period in figures.
//! * What it does not do: it never sees a packet, never writes to the sensor's journal, and opens no connection.
//!
//! A thread keeps tables of both journals in SQLite (`projection`), which can be thrown away at any time. A request is known to
//! be somebody's (`access`), asks the tables (`query`), and is answered by a template (`pages`, `server`).
#![forbid(unsafe_code)]

mod access;
mod alias;
mod candidates;
mod clock;
mod database;
mod own_journal;
mod pages;
mod pivot;
pub mod program;
mod projection;
mod query;
mod raw;
mod receivers;
mod register;
pub mod report;
mod server;
mod settings;
mod words;
