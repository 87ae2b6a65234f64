//! The program by which the kernel chooses the worker for a frame from its IP addresses alone (PACKET_FANOUT_CBPF): both
//! directions of a flow, and all fragments of its packets, come to the same worker. The kernel's own hash takes the ports in,
//! which later fragments do not have.
//!
//! Addresses are those of the outermost IP packet, behind a VLAN tag, PPPoE or MPLS. So all flows of one tunnel come to the same
//! worker, in both directions. Frames without IP go to the first worker.

use super::program::{ancillary, instruction};
use super::system::Instruction;

/// Loads into the accumulator: at a fixed offset, and at an offset from the index register.
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD_AT_INDEX: u16 = 0x40;
const LOAD_BYTE_AT_INDEX: u16 = 0x50;
const LOAD_INDEX: u16 = 0x01;
const LOAD_INDEX_FROM_MEMORY: u16 = 0x61;
const STORE: u16 = 0x02;
const STORE_INDEX: u16 = 0x03;
const XOR_INDEX: u16 = 0xac;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_BIT: u16 = 0x45;
const RETURN_ACCUMULATOR: u16 = 0x16;
const RETURN: u16 = 0x06;

/// Memory cells: the offset of the IP header, and the sum so far.
const IP_OFFSET: u32 = 0;
const SUM: u32 = 1;

/// Labels behind the IP header at a known offset.
const LABELS_MAX: u32 = 4;

/// A jump's target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Ip,
    V4,
    V6,
    Mpls,
    Pppoe,
    Vlan,
    SentVlan,
    VlanTag,
    First,
    End,
}

/// A program in the making. Jumps go forward only.
#[derive(Default)]
struct Assembler {
    program: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    fn add(&mut self, code: u16, operand: u32) {
        self.program.push(instruction(code, 0, 0, operand));
    }

    /// Jumps if the accumulator equals `value` (or has a bit of it set).
    fn jump_if(&mut self, code: u16, value: u32, to: Label) {
        self.jumps.push((self.program.len(), to));
        self.add(code, value);
    }

    fn jump(&mut self, to: Label) {
        self.jump_if(JUMP, 0, to);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.program.len()));
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (from, label) in self.jumps {
            let to = self.labels.iter().find(|(known, _)| *known == label).map_or(from, |&(_, to)| to);
            let distance = to.saturating_sub(from + 1);
            if let Some(jump) = self.program.get_mut(from) {
                match jump.code {
                    JUMP => jump.operand = distance as u32,
                    _ => jump.jump_true = u8::try_from(distance).unwrap_or(0),
                }
            }
        }
        self.program
    }
}

/// An offset from the network header.
const fn network(offset: u32) -> u32 {
    libc::SKF_NET_OFF.cast_unsigned().wrapping_add(offset)
}

/// The program.
pub(super) fn by_addresses() -> Vec<Instruction> {
    let mut program = Assembler::default();
    program.add(LOAD_HALF, ancillary(libc::SKF_AD_PROTOCOL));
    by_ethertype(&mut program);
    // Of a frame that this machine sends with its tag in place, the network header is that of IP already.
    program.label(Label::Vlan);
    program.add(LOAD_BYTE, ancillary(libc::SKF_AD_PKTTYPE));
    program.jump_if(JUMP_IF_EQUAL, u32::from(libc::PACKET_OUTGOING), Label::SentVlan);
    program.jump(Label::VlanTag);
    program.label(Label::SentVlan);
    program.add(LOAD_INDEX, 0);
    program.add(LOAD_BYTE, network(0));
    program.add(SHIFT_RIGHT, 4);
    for version in [4, 6] {
        program.jump_if(JUMP_IF_EQUAL, version, Label::Ip);
    }
    program.label(Label::VlanTag);
    program.add(LOAD_INDEX, 4);
    program.add(LOAD_HALF, network(2));
    for (ethertype, label) in [(0x0800, Label::Ip), (0x86dd, Label::Ip)] {
        program.jump_if(JUMP_IF_EQUAL, ethertype, label);
    }
    program.jump(Label::First);
    program.label(Label::Mpls);
    for label in 0..LABELS_MAX {
        program.add(LOAD_INDEX, (label + 1) * 4);
        program.add(LOAD_BYTE, network(label * 4 + 2));
        program.jump_if(JUMP_IF_BIT, 1, Label::Ip);
    }
    program.jump(Label::First);
    program.label(Label::Pppoe);
    program.add(LOAD_INDEX, 8);
    program.label(Label::Ip);
    program.add(STORE_INDEX, IP_OFFSET);
    program.add(LOAD_BYTE_AT_INDEX, network(0));
    program.add(SHIFT_RIGHT, 4);
    program.jump_if(JUMP_IF_EQUAL, 4, Label::V4);
    program.jump_if(JUMP_IF_EQUAL, 6, Label::V6);
    program.jump(Label::First);
    program.label(Label::V4);
    sum_words(&mut program, 12, 2);
    program.jump(Label::End);
    program.label(Label::V6);
    sum_words(&mut program, 8, 8);
    program.label(Label::End);
    // The upper bits of the product depend on all bits of the sum.
    program.add(MULTIPLY, 0x9e37_79b1);
    program.add(SHIFT_RIGHT, 12);
    program.add(RETURN_ACCUMULATOR, 0);
    // At the end: the kernel's check takes a return for an instruction that goes on to the next one.
    program.label(Label::First);
    program.add(RETURN, 0);
    program.finish()
}

fn by_ethertype(program: &mut Assembler) {
    for (ethertype, label) in [
        (0x0800, Label::Ip),
        (0x86dd, Label::Ip),
        (0x8864, Label::Pppoe),
        (0x8847, Label::Mpls),
        (0x8848, Label::Mpls),
        (0x8100, Label::Vlan),
        (0x88a8, Label::Vlan),
    ] {
        program.jump_if(JUMP_IF_EQUAL, ethertype, label);
    }
    program.jump(Label::First);
}

/// Sums words of the IP header so that their order does not matter; the sum is left in the accumulator.
fn sum_words(program: &mut Assembler, start: u32, count: u32) {
    program.add(LOAD_WORD_AT_INDEX, network(start));
    for word in 1..count {
        program.add(STORE, SUM);
        program.add(LOAD_WORD_AT_INDEX, network(start + word * 4));
        program.add(LOAD_INDEX_FROM_MEMORY, SUM);
        program.add(XOR_INDEX, 0);
        program.add(LOAD_INDEX_FROM_MEMORY, IP_OFFSET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel does, on a received frame whose network header begins `bytes`; loads beyond the end
    /// return 0.
    fn run(ethertype: u32, bytes: &[u8]) -> u32 {
        run_on(ethertype, libc::PACKET_HOST, bytes)
    }

    fn run_on(ethertype: u32, kind: u8, bytes: &[u8]) -> u32 {
        let (mut accumulator, mut index, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
        let program = by_addresses();
        let mut at = 0;
        loop {
            let Instruction { code, jump_true, jump_false, operand } = program[at];
            at += 1;
            let load = |address: u32, width: usize| {
                let offset = address.wrapping_sub(network(0)) as usize;
                let loaded = bytes.get(offset..offset + width)?;
                Some(loaded.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
            };
            let protocol = ancillary(libc::SKF_AD_PROTOCOL);
            let packet_type = ancillary(libc::SKF_AD_PKTTYPE);
            let loaded = match code {
                LOAD_HALF if operand == protocol => Some(ethertype),
                LOAD_BYTE if operand == packet_type => Some(u32::from(kind)),
                LOAD_HALF => load(operand, 2),
                LOAD_BYTE => load(operand, 1),
                LOAD_WORD_AT_INDEX => load(operand.wrapping_add(index), 4),
                LOAD_BYTE_AT_INDEX => load(operand.wrapping_add(index), 1),
                _ => Some(accumulator),
            };
            let Some(loaded) = loaded else { return 0 };
            accumulator = loaded;
            let mut jump = |is_true: bool| at += usize::from(if is_true { jump_true } else { jump_false });
            match code {
                LOAD_INDEX => index = operand,
                LOAD_INDEX_FROM_MEMORY => index = memory[operand as usize],
                STORE => memory[operand as usize] = accumulator,
                STORE_INDEX => memory[operand as usize] = index,
                XOR_INDEX => accumulator ^= index,
                MULTIPLY => accumulator = accumulator.wrapping_mul(operand),
                SHIFT_RIGHT => accumulator >>= operand,
                JUMP_IF_EQUAL => jump(accumulator == operand),
                JUMP_IF_BIT => jump(accumulator & operand != 0),
                JUMP => at += operand as usize,
                RETURN_ACCUMULATOR => return accumulator,
                RETURN => return operand,
                _ => {}
            }
        }
    }

    fn v4(source: u8, destination: u8, fragment: u8, ports: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 28, 0, 1, fragment, 0, 64, 17, 0, 0, 10, 0, 0, source, 192, 0, 2, destination];
        bytes.extend(ports);
        bytes
    }

    #[test]
    fn both_directions_and_all_fragments_come_to_one_worker() {
        let there = run(0x0800, &v4(1, 9, 0, [1, 2, 3, 4]));
        let mut back = v4(0, 0, 0, [3, 4, 1, 2]);
        back[12..20].copy_from_slice(&[192, 0, 2, 9, 10, 0, 0, 1]);
        assert_eq!(run(0x0800, &back), there);
        assert_eq!(run(0x0800, &v4(1, 9, 0x20, [1, 2, 3, 4])), there);
        assert_eq!(run(0x0800, &v4(1, 9, 1, [9, 9, 9, 9])), there);
        assert_ne!(run(0x0800, &v4(2, 9, 0, [1, 2, 3, 4])), there);
        let mut v6 = vec![0x60, 0, 0, 0, 0, 0, 44, 64];
        let (client, server) = ([0x20; 16], [7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        v6.extend([client, server].concat());
        let there = run(0x86dd, &v6);
        assert!(there != 0);
        v6[8..].copy_from_slice(&[server, client].concat());
        assert_eq!(run(0x86dd, &v6), there);
    }

    #[test]
    fn tags_labels_and_sessions_are_skipped() {
        let packet = v4(1, 9, 0, [1, 2, 3, 4]);
        let plain = run(0x0800, &packet);
        for (ethertype, header) in [
            (0x8100, &[0, 7, 8, 0][..]),
            (0x8864, &[0x11, 0, 0, 1, 0, 40, 0, 0x21]),
            (0x8847, &[0, 1, 1, 64]),
            (0x8847, &[0, 1, 0, 64, 0, 2, 0, 64, 0, 3, 1, 64]),
        ] {
            assert_eq!(run(ethertype, &[header, &packet].concat()), plain, "{ethertype:x}");
        }
        // As this machine sends it, with the tag behind the network header, or with the one in front of it.
        assert_eq!(run_on(0x8100, libc::PACKET_OUTGOING, &packet), plain);
        let tagged = [&[0, 7, 8, 0], &packet[..]].concat();
        assert_eq!(run_on(0x8100, libc::PACKET_OUTGOING, &tagged), plain);
        assert_eq!((run(0x0806, &packet), run(0x0800, &packet[..18]), run(0x0800, &[0x55; 40])), (0, 0, 0));
    }

    #[test]
    fn pairs_of_addresses_spread_over_the_workers() {
        let mut workers = [0; 8];
        for client in 0..=255 {
            workers[(run(0x0800, &v4(client, 9, 0, [0; 4])) % 8) as usize] += 1;
        }
        assert!(workers.iter().all(|&count| (16..=48).contains(&count)), "{workers:?}");
    }

    #[test]
    fn all_jumps_reach_their_targets() {
        let program = by_addresses();
        assert!(program.len() < 128);
        for (at, jump) in program.iter().enumerate() {
            let distance = if jump.code == JUMP { jump.operand as usize } else { usize::from(jump.jump_true) };
            let is_jump = matches!(jump.code, JUMP | JUMP_IF_EQUAL | JUMP_IF_BIT);
            assert!(!is_jump || (distance > 0 || jump.code == JUMP) && at + 1 + distance < program.len(), "{at}");
        }
    }
}
