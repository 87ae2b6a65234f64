//! What the whole-sensor tests share: packets, hellos and Initials built by hand; tapes of them and capture files
//! given to the sensor; and what the sensor said, as lines that a test can compare. Nothing here is shipped.

pub mod daemon;
pub mod dns;
pub mod hello;
pub mod injector;
pub mod known;
pub mod live;
pub mod live_frames;
pub mod memory;
pub mod network;
pub mod packets;
pub mod prometheus;
pub mod quic;
pub mod replay;
pub mod service;
pub mod tape;
pub mod tcp;
pub mod truth;
