//! **vigie**: a passive network sensor. The modules stand in the order in which a packet meets them;
//! each uses only those above it.

pub mod detect;
pub mod event;
pub mod country;
pub mod record;

pub mod metrics;
pub mod config;

pub mod worker;
pub mod read;
pub mod run;

pub mod cli;
