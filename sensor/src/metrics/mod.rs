//! Metrics for Prometheus.
pub mod cells;
pub mod collector;
pub mod exposition;
pub mod families;
pub mod health;
mod process;
pub mod shared;
