//! Joining of IP fragments in a bounded cache.
