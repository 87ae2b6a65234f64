//! Packet filter programs for the kernel: an expression compiled by libpcap, the snapshot length, and for the loopback the
//! rule that no frame is seen twice. Or the shunt's filter, which sees to the latter two itself.
//!
//! The kernel takes VLAN tags out before a filter sees a frame, so the expression is compiled for a live interface: only
//! then does libpcap look for tags where the kernel keeps them. The loopback serves in place of a missing interface. If no
//! interface is up, the expression is compiled as for a file, and `vlan` in it matches only inner tags.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::link::Link;
use super::shunt::program::Program as ShuntProgram;
use super::system::{Instruction, PacketSocket};
use crate::filter::Filter;
use crate::{CaptureError, FRAME_BYTES_MAX};
use vigie_wire::LinkType;

/// Returns a constant: the number of bytes to capture.
const RETURN: u16 = 0x06;
/// Loads a byte.
const LOAD_BYTE: u16 = 0x30;
/// Jumps if equal to a constant.
const JUMP_EQUAL: u16 = 0x15;

/// Lets no frame pass.
pub(super) const DROP_ALL: [Instruction; 1] = [instruction(RETURN, 0, 0, 0)];

pub(super) const fn instruction(code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

/// The offset at which a program loads what the kernel knows of a frame beside its bytes (`SKF_AD_…`, linux/filter.h).
pub(super) const fn ancillary(what: i32) -> u32 {
    libc::SKF_AD_OFF.wrapping_add(what).cast_unsigned()
}

/// Makes programs. Keeps the compiled expression for each link type: compiling for a live interface needs privileges, which
/// may be gone when an interface comes back.
#[derive(Debug)]
pub(super) struct FilterPrograms {
    expression: Option<String>,
    snap_bytes: u32,
    /// The program of the shunt, which may be a filter.
    shunt: Option<Arc<ShuntProgram>>,
    compiled: Mutex<Vec<(LinkType, Vec<Instruction>)>>,
}

impl FilterPrograms {
    pub(super) fn new(expression: Option<String>, snap_bytes: u32, shunt: Option<Arc<ShuntProgram>>) -> Self {
        Self { expression, snap_bytes, shunt, compiled: Mutex::default() }
    }

    /// Attaches the shunt's filter to a socket, or else this program, if there is one.
    pub(super) fn attach(&self, socket: &PacketSocket, program: Option<&[Instruction]>) -> io::Result<()> {
        match (self.shunt.as_ref().and_then(|shunt| shunt.filter()), program) {
            (Some(filter), _) => socket.attach_loaded(filter),
            (None, Some(program)) => socket.attach(program),
            (None, None) => socket.detach(),
        }
    }

    /// The program for an interface; none if all bytes of all frames are captured. `candidates` are existing interfaces for
    /// which the expression may be compiled.
    ///
    /// # Errors
    /// The expression cannot be compiled for this link type.
    pub(super) fn program(
        &self,
        link_type: LinkType,
        is_loopback: bool,
        candidates: &[&str],
    ) -> Result<Option<Vec<Instruction>>, CaptureError> {
        let body = match &self.expression {
            Some(expression) => Some(self.compiled(expression, link_type, candidates)?),
            None if (self.snap_bytes as usize) < FRAME_BYTES_MAX || is_loopback => {
                Some(vec![instruction(RETURN, 0, 0, self.snap_bytes)])
            }
            None => None,
        };
        Ok(body.map(|body| if is_loopback { skip_outgoing(&body) } else { body }))
    }

    /// Compiles the expression for an interface that is missing or down, while that is permitted. A missing one is taken for
    /// Ethernet.
    ///
    /// # Errors
    /// As above.
    pub(super) fn precompile(&self, link: Option<&Link>, interfaces: &[String]) -> Result<(), CaptureError> {
        let link_type = link.and_then(Link::link_type).unwrap_or(LinkType::ETHERNET);
        let candidates: Vec<&str> = interfaces.iter().map(String::as_str).chain(["lo"]).collect();
        self.program(link_type, false, &candidates).map(drop)
    }

    fn compiled(
        &self,
        expression: &str,
        link_type: LinkType,
        candidates: &[&str],
    ) -> Result<Vec<Instruction>, CaptureError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, program)) = compiled.iter().find(|(known, _)| *known == link_type) {
            return Ok(program.clone());
        }
        let mut program = match candidates.iter().find_map(|name| live(name, link_type, expression)) {
            Some(program) => parsed(&program),
            None => parsed(Filter::new(expression.to_owned()).compile(link_type)?),
        };
        for instruction in &mut program {
            if instruction.code == RETURN && instruction.operand != 0 {
                instruction.operand = self.snap_bytes;
            }
        }
        compiled.push((link_type, program.clone()));
        Ok(program)
    }
}

/// The expression compiled for a live interface, if that can be opened and has this link type.
fn live(name: &str, link_type: LinkType, expression: &str) -> Option<::pcap::BpfProgram> {
    // The handle is only for compiling: a minimal buffer, and no promiscuous mode.
    let capture = ::pcap::Capture::from_device(name).ok()?.snaplen(64).buffer_size(65_536).open().ok()?;
    let number = u32::try_from(capture.get_datalink().0).ok()?;
    (LinkType::from_file(number) == link_type).then_some(())?;
    capture.compile(expression, true).ok()
}

/// The instructions of a compiled program. The `pcap` crate shows them only as text: code, both jumps, operand.
fn parsed(program: &::pcap::BpfProgram) -> Vec<Instruction> {
    let one = |shown: String| {
        let mut numbers = shown.split(' ');
        let mut number = || numbers.next()?.parse::<u32>().ok();
        Some(Instruction {
            code: u16::try_from(number()?).ok()?,
            jump_true: u8::try_from(number()?).ok()?,
            jump_false: u8::try_from(number()?).ok()?,
            operand: number()?,
        })
    };
    program.get_instructions().iter().filter_map(|shown| one(shown.to_string())).collect()
}

/// The program with a rule in front that skips outgoing frames: on the loopback each of them comes in again.
fn skip_outgoing(body: &[Instruction]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_BYTE, 0, 0, ancillary(libc::SKF_AD_PKTTYPE)),
        instruction(JUMP_EQUAL, 0, 1, u32::from(libc::PACKET_OUTGOING)),
        instruction(RETURN, 0, 0, 0),
    ];
    program.extend(body);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_filtered_unless_asked() {
        let all = FilterPrograms::new(None, FRAME_BYTES_MAX as u32, None);
        assert_eq!(all.program(LinkType::ETHERNET, false, &[]).unwrap(), None);
        assert_eq!(all.program(LinkType::ETHERNET, true, &[]).unwrap().unwrap().len(), 4);
        let short = FilterPrograms::new(None, 256, None).program(LinkType::ETHERNET, false, &[]).unwrap().unwrap();
        assert_eq!(short, [instruction(RETURN, 0, 0, 256)]);
    }

    #[test]
    fn an_expression_lets_pass_as_many_bytes_as_wanted() {
        let programs = FilterPrograms::new(Some("udp port 53".to_owned()), 300, None);
        let program = programs.program(LinkType::ETHERNET, false, &[]).unwrap().unwrap();
        let returns: Vec<u32> = program.iter().filter(|i| i.code == RETURN).map(|i| i.operand).collect();
        assert!(program.len() > 8 && returns.contains(&300) && returns.contains(&0), "{program:?}");
        assert!(returns.iter().all(|&bytes| bytes == 0 || bytes == 300));
        assert_eq!(programs.program(LinkType::ETHERNET, true, &[]).unwrap().unwrap().len(), program.len() + 3);
    }

    #[test]
    fn a_bad_expression_is_told() {
        let programs = FilterPrograms::new(Some("udp prot 53".to_owned()), 300, None);
        assert!(matches!(programs.program(LinkType::RAW, false, &[]), Err(CaptureError::Filter { .. })));
    }
}
