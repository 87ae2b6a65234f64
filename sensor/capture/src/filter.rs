//! The filter expression for capture files (pcap-filter(7)), compiled by libpcap once for each link type and applied to each
//! frame. Its `len` (`less`, `greater`) is the captured length. On BSD loopback frames, `ip6` matches the number that the
//! sensor's own system has for that address family.

use super::CaptureError;
use vigie_wire::LinkType;

/// libpcap's number for raw IP frames, which differs from the number in files.
const DLT_RAW: i32 = 12;

/// An expression and its programs.
pub(super) struct Filter {
    expression: String,
    programs: Vec<(LinkType, ::pcap::BpfProgram)>,
}

impl Filter {
    /// A filter that is not compiled yet.
    pub(super) fn new(expression: String) -> Self {
        Self { expression, programs: Vec::new() }
    }

    /// Whether the frame passes.
    ///
    /// # Errors
    /// The expression cannot be compiled for this link type.
    pub(super) fn passes(&mut self, link_type: LinkType, data: &[u8]) -> Result<bool, CaptureError> {
        // The compiler assumes that a loopback header has this machine's byte order. In the other order it is the header
        // that OpenBSD writes.
        let link_type = match (link_type, data) {
            (LinkType::NULL, &[0, _, _, last, ..]) if cfg!(target_endian = "little") && last != 0 => LinkType::LOOP,
            (other, _) => other,
        };
        self.compile(link_type).map(|program| program.filter(data))
    }

    /// The program for a link type.
    ///
    /// # Errors
    /// The expression cannot be compiled for it.
    pub(super) fn compile(&mut self, link_type: LinkType) -> Result<&::pcap::BpfProgram, CaptureError> {
        let place = match self.programs.iter().position(|(known, _)| *known == link_type) {
            Some(place) => place,
            None => {
                let program = compile(link_type, &self.expression).map_err(|error| self.refused(link_type, &error))?;
                self.programs.push((link_type, program));
                self.programs.len() - 1
            }
        };
        match self.programs.get(place) {
            Some((_, program)) => Ok(program),
            None => Err(self.refused(link_type, &::pcap::Error::InsufficientMemory)),
        }
    }

    fn refused(&self, link_type: LinkType, error: &::pcap::Error) -> CaptureError {
        let reason = match error {
            ::pcap::Error::PcapError(text) => text.clone(),
            other => other.to_string(),
        };
        CaptureError::Filter { expression: self.expression.clone(), link_type: link_type.name(), reason }
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Filter").field(&self.expression).finish()
    }
}

fn compile(link_type: LinkType, expression: &str) -> Result<::pcap::BpfProgram, ::pcap::Error> {
    let number = if link_type == LinkType::RAW { DLT_RAW } else { i32::from(link_type.0) };
    ::pcap::Capture::dead(::pcap::Linktype(number))?.compile(expression, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP_53: &[u8] =
        &[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0, 53, 0, 8, 0, 0];

    fn framed(header: &[u8]) -> Vec<u8> {
        [header, UDP_53].concat()
    }

    #[test]
    fn the_same_packet_behind_any_header() {
        let ethernet: Vec<u8> = [&[0; 12][..], &[8, 0]].concat();
        let cooked: Vec<u8> = [&[0; 14][..], &[8, 0]].concat();
        let cooked2: Vec<u8> = [&[8, 0][..], &[0; 18]].concat();
        for (link_type, header) in [
            (LinkType::ETHERNET, &ethernet[..]),
            (LinkType::RAW, &[]),
            (LinkType::IPV4, &[]),
            (LinkType::NULL, &[2, 0, 0, 0]),
            (LinkType::NULL, &[0, 0, 0, 2]),
            (LinkType::LOOP, &[0, 0, 0, 2]),
            (LinkType::LINUX_SLL, &cooked),
            (LinkType::LINUX_SLL2, &cooked2),
            (LinkType::PPP_HDLC, &[0xff, 3, 0, 0x21]),
            (LinkType::C_HDLC, &[0x0f, 0, 8, 0]),
        ] {
            let mut passing = Filter::new("udp dst port 53 and host 192.0.2.1".to_owned());
            let mut refusing = Filter::new("udp dst port 54".to_owned());
            assert!(passing.passes(link_type, &framed(header)).unwrap(), "{}", link_type.name());
            assert!(!refusing.passes(link_type, &framed(header)).unwrap(), "{}", link_type.name());
        }
    }

    #[test]
    fn a_bad_expression_is_told() {
        let mut filter = Filter::new("udp prot 53".to_owned());
        let error = filter.passes(LinkType::ETHERNET, UDP_53).unwrap_err();
        assert!(error.to_string().contains("udp prot 53"), "{error}");
        assert!(matches!(error, CaptureError::Filter { link_type: "ETHERNET", ref reason, .. } if !reason.is_empty()));
        assert!(Filter::new("udp\0".to_owned()).compile(LinkType::ETHERNET).is_err());
    }

    #[test]
    fn a_cut_frame_does_not_pass_and_does_no_harm() {
        let mut filter = Filter::new("udp port 53".to_owned());
        for length in 0..UDP_53.len() - 6 {
            assert!(!filter.passes(LinkType::RAW, &UDP_53[..length]).unwrap());
        }
    }
}
