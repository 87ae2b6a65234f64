//! Flows: bidirectional 5-tuples in a table of fixed size. [`key`] says what tells two flows apart,
//! [`glance`] tells the flow of a common packet fast, [`table`] says where flows are kept, [`memory`] on which pages.

pub mod glance;
pub mod key;
pub mod memory;
pub mod table;
mod tags;

pub use glance::Glance;
pub use key::{FlowKey, HashKey, Side};
pub use table::{FlowEntry, FlowTable, Found, Home, Likely, Slot};
