//! **vigie**: a passive network sensor. The modules stand in the order in which a packet meets them;
//! each uses only those above it, and `runtime` wires them together.

pub mod detect;
pub mod alert;
pub mod sink;

pub mod metrics;
pub mod config;

pub mod runtime;

pub mod cli;
