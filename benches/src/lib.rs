//! What the benches share: [`clock`] and [`measure`] take times, [`floors`] are what any sensor pays, [`random`] draws numbers that are the same in every
//! run, [`ring`] holds frames of settled flows as a capture ring would, [`samples`] cuts openings of flows out of made-up
//! traffic, [`workloads`] are the pieces of work whose instructions are counted and whose time is taken.
//!
//! The benches themselves stand in `benches/`, and `README.md` says what they measure and what they gave.

pub mod clock;
pub mod floors;
pub mod measure;
pub mod random;
pub mod ring;
pub mod samples;
pub mod workloads;
