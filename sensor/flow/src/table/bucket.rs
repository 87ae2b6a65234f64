//! A bucket of sixteen slots: the tags and ages of its flows in one cache line, compared all at once.

pub use super::super::memory::{WAYS, equal_tags, idle_ways};

/// Tags and ages of sixteen flows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Bucket {
    /// Sixteen bits of each flow's hash; 0 for an empty slot.
    pub tags: [u16; WAYS],
    /// Epoch of each flow's last packet.
    pub epochs: [u8; WAYS],
    /// A bit for each way whose flow is displaced: this is its alternate bucket.
    pub displaced_here: u16,
    /// How many flows have this as their primary bucket and stand in their alternate one.
    pub displaced_elsewhere: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);
