//! Reads one program of an object as clang writes it: a relocatable ELF file with the instructions of each, the constants that
//! are set when a program is loaded, and the places where instructions refer to these or to maps (kernel documentation,
//! `bpf/llvm_reloc.rst`).
//!
//! Not here: debugging information, calls between functions. The objects have none of them.

use super::bpf::ProgramKind;

const CONSTANTS: &str = ".rodata";
const MAPS: &str = ".maps";
const LICENSE: &str = "license";
/// Section types and sizes of table entries (ELF-64).
const SYMBOL_TABLE: u32 = 2;
const RELOCATIONS: u32 = 9;
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
const RELOCATION_BYTES: usize = 16;
/// The relocation of an instruction that loads 64 bits, and its operation code.
const R_BPF_64_64: u32 = 1;
const LOAD_64: u8 = 0x18;
/// What the loaded number means (`BPF_PSEUDO_…`, linux/bpf.h).
const IS_MAP: u8 = 1;
const IS_MAP_VALUE: u8 = 2;

/// An instruction: operation code, registers, offset, immediate number.
pub(super) type Instruction = [u8; 8];

/// An object.
#[derive(Debug)]
pub(super) struct Object<'o> {
    instructions: Vec<Instruction>,
    constants: Vec<u8>,
    constant_places: Vec<(&'o str, usize)>,
    references: Vec<(usize, Target<'o>)>,
    license: &'o [u8],
    fingerprint: u64,
}

/// What an instruction refers to.
#[derive(Clone, Copy, Debug)]
enum Target<'o> {
    Map(&'o str),
    /// At this offset in the constants.
    Constant(u32),
}

#[derive(Clone, Copy)]
struct Section<'o> {
    name: &'o str,
    kind: u32,
    link: usize,
    info: usize,
    bytes: &'o [u8],
}

/// The section of a program.
const fn section_of(program: ProgramKind) -> &'static str {
    match program {
        // `.frags`: it takes packets that lie in several buffers.
        ProgramKind::Xdp => "xdp.frags",
        ProgramKind::SocketFilter => "socket",
    }
}

impl<'o> Object<'o> {
    /// Reads a program of an object; `None` if it is not one of ours.
    pub(super) fn read(elf: &'o [u8], program: ProgramKind) -> Option<Self> {
        let program_section = section_of(program);
        let sections = sections(elf)?;
        let place = |name: &str| sections.iter().position(|section| section.name == name);
        let bytes = |name: &str| sections.iter().find(|section| section.name == name).map(|section| section.bytes);
        let symbols = sections.iter().find(|section| section.kind == SYMBOL_TABLE)?;
        let names = sections.get(symbols.link)?.bytes;
        let (program, constants, maps) = (place(program_section)?, place(CONSTANTS)?, place(MAPS)?);
        let symbol = |number: usize| {
            let symbol = symbols.bytes.get(number * SYMBOL_BYTES..)?;
            Some((text(names, u32_at(symbol, 0)? as usize)?, u16_at(symbol, 6)? as usize, u64_at(symbol, 8)? as usize))
        };
        let all = (0..symbols.bytes.len() / SYMBOL_BYTES).filter_map(symbol);
        let constant_places = all.filter(|symbol| symbol.1 == constants).map(|(name, _, offset)| (name, offset));
        let mut references = Vec::new();
        let relocations = sections.iter().find(|section| section.kind == RELOCATIONS && section.info == program)?;
        for relocation in relocations.bytes.chunks_exact(RELOCATION_BYTES) {
            let (offset, info) = (u64_at(relocation, 0)? as usize, u64_at(relocation, 8)?);
            let (name, section, value) = symbol((info >> 32) as usize)?;
            let target = match section {
                _ if info as u32 != R_BPF_64_64 => return None,
                section if section == maps => Target::Map(name),
                section if section == constants => Target::Constant(u32::try_from(value).ok()?),
                _ => return None,
            };
            references.push((offset / size_of::<Instruction>(), target));
        }
        Some(Self {
            instructions: bytes(program_section)?.as_chunks().0.to_vec(),
            constants: bytes(CONSTANTS)?.to_vec(),
            constant_places: constant_places.collect(),
            references,
            license: bytes(LICENSE)?,
            fingerprint: fingerprint(elf),
        })
    }

    /// Sets a constant. False if there is none of this name.
    #[must_use]
    pub(super) fn set(&mut self, name: &str, value: &[u8]) -> bool {
        let place = self.constant_places.iter().find(|(other, _)| *other == name);
        let place = place.and_then(|&(_, offset)| self.constants.get_mut(offset..offset + value.len()));
        place.map(|place| place.copy_from_slice(value)).is_some()
    }

    /// What a constant is in a copy of all constants. `None` if there is none of this name and length.
    pub(super) fn constant<'c>(&self, constants: &'c [u8], name: &str, bytes: usize) -> Option<&'c [u8]> {
        let (_, offset) = self.constant_places.iter().find(|(other, _)| *other == name)?;
        constants.get(*offset..offset + bytes)
    }

    /// The constants as they are now, and the fingerprint of the object behind them.
    pub(super) fn constants(&self) -> Vec<u8> {
        [&self.constants[..], &self.fingerprint.to_ne_bytes()].concat()
    }

    /// Whether these constants are of this object.
    pub(super) fn is_of(&self, constants: &[u8]) -> bool {
        constants.len() == self.constants().len() && constants.ends_with(&self.fingerprint.to_ne_bytes())
    }

    /// The licence, with a zero at the end.
    pub(super) const fn license(&self) -> &'o [u8] {
        self.license
    }

    /// The instructions, which refer to maps by the numbers of their descriptors. `None` if a map is missing.
    pub(super) fn linked(&self, constants: i32, map: impl Fn(&str) -> Option<i32>) -> Option<Vec<Instruction>> {
        let mut instructions = self.instructions.clone();
        for &(place, target) in &self.references {
            let [first, second] = instructions.get_mut(place..)?.first_chunk_mut::<2>()?;
            let (descriptor, meaning) = match target {
                Target::Map(name) => (map(name)?, IS_MAP),
                Target::Constant(offset) => {
                    // The object has what is to be added to the symbol's offset in the first half.
                    let added = u32_at(&first[..], 4)?;
                    second[4..].copy_from_slice(&(offset + added).to_le_bytes());
                    (constants, IS_MAP_VALUE)
                }
            };
            if first[0] != LOAD_64 {
                return None;
            }
            // The upper half of the byte is the source register.
            first[1] = first[1] & 0x0f | meaning << 4;
            first[4..].copy_from_slice(&descriptor.to_le_bytes());
        }
        Some(instructions)
    }
}

/// A number by which the object of one version is known from those of others (FNV-1a).
fn fingerprint(elf: &[u8]) -> u64 {
    elf.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn sections(elf: &[u8]) -> Option<Vec<Section<'_>>> {
    // 64 bits, little-endian, for BPF (ELF header, e_ident and e_machine).
    if elf.get(..6)? != b"\x7fELF\x02\x01" || u16_at(elf, 18)? != 247 {
        return None;
    }
    let (table, count, names) = (u64_at(elf, 40)? as usize, u16_at(elf, 60)?, u16_at(elf, 62)?);
    let header = |number: u16| elf.get(table + usize::from(number) * SECTION_BYTES..);
    let bytes = |header: &[u8]| {
        let offset = u64_at(header, 24)? as usize;
        elf.get(offset..offset.checked_add(u64_at(header, 32)? as usize)?)
    };
    let names = bytes(header(names)?)?;
    let section = |number| {
        let header = header(number)?;
        Some(Section {
            name: text(names, u32_at(header, 0)? as usize)?,
            kind: u32_at(header, 4)?,
            link: u32_at(header, 40)? as usize,
            info: u32_at(header, 44)? as usize,
            bytes: bytes(header).unwrap_or_default(),
        })
    };
    (0..count).map(section).collect()
}

fn text(names: &[u8], offset: usize) -> Option<&str> {
    let name = names.get(offset..)?.split(|&byte| byte == 0).next()?;
    std::str::from_utf8(name).ok()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use super::super::program::OBJECT;
    use super::*;

    #[test]
    fn the_object_is_read() {
        for program in [ProgramKind::Xdp, ProgramKind::SocketFilter] {
            is_read(program);
        }
    }

    fn is_read(program: ProgramKind) {
        let mut object = Object::read(OBJECT, program).unwrap();
        assert!(object.set("key_high", &7_u64.to_le_bytes()) && object.set("interfaces", &[1; 64]));
        assert!(!object.set("key", &[0; 8]) && !object.set("interfaces", &[1; 256]));
        assert_eq!(object.constants()[8..16], 7_u64.to_le_bytes());
        assert_eq!(object.license(), b"Dual MIT/GPL\0");
        assert!(object.linked(3, |_| None).is_none());
        let linked = object.linked(3, |name| Some(if name == "shunt_flows" { 4 } else { 5 })).unwrap();
        let loads = |descriptor: u8, meaning: u8| {
            let is_it = |instruction: &&Instruction| {
                instruction[0] == LOAD_64 && instruction[1] >> 4 == meaning && instruction[4] == descriptor
            };
            linked.iter().filter(is_it).count()
        };
        assert!(loads(3, IS_MAP_VALUE) > 10 && loads(4, IS_MAP) > 0 && loads(5, IS_MAP) > 0);
    }

    /// Damaged objects are refused or read as something else, without a panic.
    #[test]
    fn damaged_objects_do_no_harm() {
        for cut in (0..OBJECT.len()).step_by(61) {
            let _ = Object::read(&OBJECT[..cut], ProgramKind::Xdp);
        }
        let mut bytes = OBJECT.to_vec();
        for place in (0..bytes.len()).filter(|place| *place < 64 || *place > OBJECT.len() - 14 * SECTION_BYTES) {
            let kept = std::mem::replace(&mut bytes[place], 0xff);
            let object = Object::read(&bytes, ProgramKind::SocketFilter);
            let _ = object.and_then(|object| object.linked(3, |_| Some(4)));
            bytes[place] = kept;
        }
    }
}
