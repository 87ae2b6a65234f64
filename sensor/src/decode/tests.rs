//! Frames built by hand, layer by layer.
