//! The command line: what was typed, what is printed, and how the program ends. What a command does with packets is
//! [`runtime`](crate::runtime)'s.

pub mod arguments;
pub mod exit;
pub mod findings;
pub mod summary;
pub mod words;
