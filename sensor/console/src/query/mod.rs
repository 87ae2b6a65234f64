//! What pages ask of the tables. In: a connection and what is wanted; out: plain values, whatever the role of who asks.

pub mod audit;
pub mod coverage;
pub mod destinations;
pub mod incident;
pub mod incidents;
pub mod search;
pub mod totals;
