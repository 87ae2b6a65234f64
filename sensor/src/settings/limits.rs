//! The limits of the sensor, as settings by name and as limits of the crates that keep to them.

use vigie_config::{RawValue, Section, Table};
use vigie_decode::DecodeLimits;
use vigie_decode::fragments::FragmentLimits;
use vigie_handshake::http::HttpLimits;
use vigie_handshake::quic::QuicLimits;

use super::{Limits, Settings};
use crate::text::TextLimits;

impl Limits {
    /// Sets a limit by its name.
    ///
    /// # Errors
    /// One line with what is wrong and what mends it.
    pub fn set(&mut self, name: &str, value: usize) -> Result<(), String> {
        let Some(definition) = Settings::definition("limits", name) else {
            let limits = Settings::definitions().iter().filter(|definition| definition.section == "limits");
            let known: Vec<&str> = limits.map(|definition| definition.name).collect();
            return Err(format!("there is no limit \"{name}\"; give one of {}", known.join(", ")));
        };
        let fault = Section::set(self, definition, &RawValue::Unquoted(value.to_string()));
        fault.map_err(|fault| format!("{name} = {value} is {}; {}", fault.what, fault.mend))
    }

    /// Limits for decoding.
    pub fn decode(&self) -> DecodeLimits {
        let depth = u8::try_from(self.tunnel_depth_max).unwrap_or(u8::MAX);
        DecodeLimits { tunnel_depth_max: depth, ..DecodeLimits::default() }
    }

    /// Limits for reassembling fragments.
    pub fn fragments(&self) -> FragmentLimits {
        FragmentLimits {
            fragment_datagrams_max: self.fragment_datagrams_max,
            fragment_bytes_max: self.fragment_bytes_max,
            fragment_versions_max: self.fragment_versions_max,
            fragment_timeout_ms: self.fragment_timeout_ms as u64,
            fragment_completed_ms: self.fragment_completed_ms as u64,
        }
    }

    /// Limits for texts in events.
    pub fn texts(&self) -> TextLimits {
        TextLimits {
            name_bytes_max: self.event_name_bytes_max,
            alpn_bytes_max: self.event_alpn_bytes_max,
            user_agent_bytes_max: self.event_user_agent_bytes_max,
            answers_bytes_max: self.event_answers_bytes_max,
        }
    }

    /// Limits for handshakes.
    pub fn handshake(&self) -> vigie_handshake::Limits {
        vigie_handshake::Limits {
            stream_bytes_max: self.stream_bytes_max,
            hello_bytes_max: self.hello_bytes_max,
            prelude_bytes_max: self.prelude_bytes_max,
            undecided_segments_max: self.undecided_segments_max,
            stream_versions_max: self.stream_versions_max,
            stream_readings_max: self.stream_readings_max,
            undecided_datagrams_max: self.undecided_datagrams_max,
            udp_hellos_max: self.udp_hellos_max,
            http: HttpLimits {
                head_bytes_max: self.http_head_bytes_max,
                requests_max: self.http_requests_max,
                hosts_max: self.http_hosts_max,
                lost_segments_max: self.http_lost_segments_max,
            },
            quic: QuicLimits {
                crypto_bytes_max: self.hello_bytes_max,
                stream_versions_max: self.quic_stream_versions_max,
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
        assert_eq!(limits.set("flows_max", 1).unwrap_err(), "flows_max = 1 is too small; give at least 16");
        assert_eq!(
            limits.set("idle_timeout_s", 801).unwrap_err(),
            "idle_timeout_s = 801 is too large; give at most 800"
        );
        assert_eq!(Section::to_toml(&limits, "flows_max"), "4096");
        assert!(limits.set("flow_max", 1).unwrap_err().contains("; give one of flows_max, idle_timeout_s, "));
        for definition in Settings::definitions().iter().filter(|definition| definition.section == "limits") {
            let default = definition.default.replace('_', "").parse().unwrap();
            assert_eq!(Limits::default().set(definition.name, default), Ok(()), "{}", definition.name);
        }
    }
}
