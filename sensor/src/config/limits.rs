//! Every limit of the sensor: name, unit in the name, default, and what it bounds. The command line and the
//! configuration set them by these names.

use vigie_decode::DecodeLimits;
use vigie_decode::fragments::FragmentLimits;
use vigie_handshake::quic::QuicLimits;

/// The table of limits: one line makes the field, its default, its range and its documentation. The upper ends are what
/// the code can do, so that nothing is cut down silently: slots of the flow table are 32 bits, ages a byte in steps of
/// four seconds, depths a byte.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $default:literal, $least:literal to $most:literal;)+) => {
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

            /// What a limit is set to.
            pub fn get(&self, name: &str) -> Option<usize> {
                match name {
                    $(stringify!($name) => Some(self.$name),)+
                    _ => None,
                }
            }

            /// The least and the most that a limit can be.
            pub fn range(name: &str) -> Option<(usize, usize)> {
                match name {
                    $(stringify!($name) => Some(($least, $most)),)+
                    _ => None,
                }
            }

            /// Sets a limit by its name.
            ///
            /// # Errors
            /// One line that says what is wrong and how to mend it.
            pub fn set(&mut self, name: &str, value: usize) -> Result<(), String> {
                match name {
                    $(stringify!($name) => {
                        let (least, most): (usize, usize) = ($least, $most);
                        if value < least {
                            return Err(format!("{name} = {value} is too small; give at least {least}"));
                        }
                        if value > most {
                            return Err(format!("{name} = {value} is too large; give at most {most}"));
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
    flows_max: 1_048_576, 16 to 1_500_000_000;
    /// Seconds without a packet after which a flow has ended.
    idle_timeout_s: 300, 8 to 800;
    /// Flows at once whose handshake is being followed, or that matched; the stalest gives way.
    records_max: 131_072, 16 to 1_500_000_000;
    /// Bytes of one direction of a TCP connection that are kept while looking for its hello.
    stream_bytes_max: 49_152, 1_024 to 1_073_741_824;
    /// Bytes that a worker keeps at once for handshakes under way: what was said, and the state of each; the stalest gives way.
    reassembly_bytes_max: 10_485_760, 65_536 to 1_099_511_627_776;
    /// Bytes of a hello; what lies beyond is not read.
    hello_bytes_max: 32_768, 512 to 1_073_741_824;
    /// Bytes of clear text before a hello.
    prelude_bytes_max: 8_192, 64 to 1_073_741_824;
    /// TCP segments with payload after which a flow without a hello is left alone.
    undecided_segments_max: 16_384, 4 to 1_073_741_824;
    /// UDP datagrams after which a flow without a hello is left alone.
    undecided_datagrams_max: 48, 1 to 1_073_741_824;
    /// Vain openings of QUIC Initials in a row after which a flow is left alone.
    quic_attempts_max: 16, 1 to 65_535;
    /// Encapsulating headers opened in one packet.
    tunnel_depth_max: 8, 1 to 255;
    /// Fragmented datagrams at once.
    fragment_datagrams_max: 4_096, 1 to 16_777_216;
    /// Bytes of all fragments that wait.
    fragment_bytes_max: 8_388_608, 65_536 to 1_099_511_627_776;
    /// Milliseconds for which a fragment waits for the others.
    fragment_timeout_ms: 30_000, 1 to 1_073_741_824;
    /// Addresses for which a name told by DNS is remembered.
    address_names_max: 262_144, 16 to 1_000_000_000;
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
    pub fn handshake(&self) -> vigie_handshake::Limits {
        vigie_handshake::Limits {
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
        assert!(limits.set("idle_timeout_s", 801).unwrap_err().contains("at most 800"));
        assert_eq!((limits.get("flows_max"), limits.get("flow_max")), (Some(4096), None));
        assert!(limits.set("flow_max", 1).unwrap_err().contains("flows_max"));
        assert!(
            Limits::TABLE.iter().all(|(name, default, meaning)| {
                Limits::default().set(name, *default).is_ok() && !meaning.is_empty()
            })
        );
    }
}
