//! Every limit of the sensor: name, unit in the name, default, and what it bounds. The command line and the
//! configuration set them by these names.

use crate::decode::DecodeLimits;
use crate::decode::fragments::FragmentLimits;
use crate::handshake::{self, quic::QuicLimits};

/// The table of limits: one line makes the field, its default and its documentation.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $default:literal, at least $least:literal;)+) => {
        /// What a worker may spend. Each bite of a limit is counted under its name.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits { $($(#[doc = $doc])+ pub $name: usize),+ }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default),+ }
            }
        }

        impl Limits {
            /// Name, default, and meaning of every limit.
            pub const TABLE: &[(&str, usize, &str)] = &[$((stringify!($name), $default, concat!($($doc),+))),+];

            /// Sets a limit by its name.
            ///
            /// # Errors
            /// One line that says what is wrong and how to mend it.
            pub fn set(&mut self, name: &str, value: usize) -> Result<(), String> {
                match name {
                    $(stringify!($name) => {
                        if value < $least {
                            return Err(format!("{name} = {value} is too small; give at least {}", $least));
                        }
                        self.$name = value;
                    })+
                    _ => {
                        let known = [$(stringify!($name)),+].join(", ");
                        return Err(format!("there is no limit \"{name}\"; give one of {known}"));
                    }
                }
                Ok(())
            }
        }
    };
}

limits! {
    /// Flows at once in a worker's table; the stalest gives way.
    flows_max: 1_048_576, at least 16;
    /// Seconds without a packet after which a flow has ended.
    idle_timeout_s: 300, at least 8;
    /// Flows at once whose handshake is being followed, or that matched; the stalest gives way.
    records_max: 131_072, at least 16;
    /// Bytes of one direction of a TCP connection that are kept while looking for its hello.
    stream_bytes_max: 49_152, at least 1_024;
    /// Bytes of all directions and hellos that a worker keeps at once.
    reassembly_bytes_max: 67_108_864, at least 65_536;
    /// Bytes of a hello; what lies beyond is not read.
    hello_bytes_max: 32_768, at least 512;
    /// Bytes of clear text before a hello.
    prelude_bytes_max: 8_192, at least 64;
    /// TCP segments with payload after which a flow without a hello is left alone.
    undecided_segments_max: 16_384, at least 4;
    /// UDP datagrams after which a flow without a hello is left alone.
    undecided_datagrams_max: 48, at least 1;
    /// Vain openings of QUIC Initials in a row after which a flow is left alone.
    quic_attempts_max: 16, at least 1;
    /// Encapsulating headers opened in one packet.
    tunnel_depth_max: 8, at least 1;
    /// Fragmented datagrams at once.
    fragment_datagrams_max: 4_096, at least 1;
    /// Bytes of all fragments that wait.
    fragment_bytes_max: 16_777_216, at least 65_536;
    /// Milliseconds for which a fragment waits for the others.
    fragment_timeout_ms: 30_000, at least 1;
    /// Addresses for which a name told by DNS is remembered.
    address_names_max: 262_144, at least 16;
}

impl Limits {
    /// Those of decoding.
    pub fn decode(&self) -> DecodeLimits {
        let depth = u8::try_from(self.tunnel_depth_max).unwrap_or(u8::MAX);
        DecodeLimits { tunnel_depth_max: depth, ..DecodeLimits::default() }
    }

    /// Those of joining fragments.
    pub fn fragments(&self) -> FragmentLimits {
        FragmentLimits {
            fragment_datagrams_max: self.fragment_datagrams_max,
            fragment_bytes_max: self.fragment_bytes_max,
            fragment_timeout_ms: self.fragment_timeout_ms as u64,
        }
    }

    /// Those of the handshake.
    pub fn handshake(&self) -> handshake::Limits {
        handshake::Limits {
            stream_bytes_max: self.stream_bytes_max,
            hello_bytes_max: self.hello_bytes_max,
            prelude_bytes_max: self.prelude_bytes_max,
            undecided_segments_max: self.undecided_segments_max,
            undecided_datagrams_max: self.undecided_datagrams_max,
            quic: QuicLimits {
                crypto_bytes_max: self.hello_bytes_max,
                attempts_max: u16::try_from(self.quic_attempts_max).unwrap_or(u16::MAX),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_name_and_refused_with_a_mend() {
        let mut limits = Limits::default();
        limits.set("flows_max", 4096).unwrap();
        assert_eq!(limits.flows_max, 4096);
        assert!(limits.set("flows_max", 1).unwrap_err().contains("at least 16"));
        assert!(limits.set("flow_max", 1).unwrap_err().contains("flows_max"));
        assert!(
            Limits::TABLE.iter().all(|(name, default, meaning)| {
                Limits::default().set(name, *default).is_ok() && !meaning.is_empty()
            })
        );
    }
}
