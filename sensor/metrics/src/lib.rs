//! Metrics for Prometheus and the HTTP endpoint that serves them, shared by the programs of this project.
//!
//! * What it is for: a program declares its metric families in one table ([`families!`]) and implements [`Monitored`];
//!   [`Server`] answers `/metrics`, `/healthz`, `/readyz` and a start page, over TLS and with passwords where a web
//!   configuration asks for them ([`server::web_config`]).
//! * What goes in: the values that a program gives at each scrape ([`Scrape`]), and why it is not ready, if it is not.
//! * What comes out: Prometheus text or OpenMetrics over HTTP ([`exposition`]), and the listing of all families for
//!   people ([`listing`]).
//! * What it does not do: it keeps no counters of the program, and it does not decide what ready means. It never sees a
//!   packet.
//!
//! Families that every program has are declared here: of the process ([`process::FAMILIES`]) and of the endpoint itself
//! ([`server::FAMILIES`]).
#![forbid(unsafe_code)]

pub mod exposition;
mod family;
mod monitored;
pub mod process;
mod scrape;
pub mod server;

pub use family::{Family, Kind, listing};
pub use monitored::{Identity, Monitored, Reason, Stalled, registry};
pub use prometheus::{Error, Histogram};
pub use scrape::{Scrape, histogram};
pub use server::{Server, ServerError, ServerLimits, ServerOptions, Serving};
