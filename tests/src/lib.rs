//! What the whole-sensor tests share.
