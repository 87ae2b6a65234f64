//! Flows: bidirectional 5-tuples in a table of fixed size. [`key`] says what tells two flows apart, [`table`] where
//! they are kept, [`memory`] on which pages.

pub mod key;
pub mod memory;
pub mod table;
mod tags;

pub use key::{FlowKey, HashKey, Side};
pub use table::{FlowEntry, FlowTable, Found, Slot};
