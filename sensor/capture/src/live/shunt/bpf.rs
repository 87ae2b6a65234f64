//! The calls of bpf(2) that are made for the shunt and for AF_XDP: maps, a program, its links to interfaces, and names for them in a BPF file
//! system. Each descriptor is owned, and what it stands for ends with it, unless it has such a name.
#![allow(unsafe_code)]

use std::ffi::{CString, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::object::Instruction;

/// Commands (`enum bpf_cmd`, linux/bpf.h).
const MAP_CREATE: c_long = 0;
const MAP_LOOKUP_ELEM: c_long = 1;
const MAP_UPDATE_ELEM: c_long = 2;
const PROG_LOAD: c_long = 5;
const OBJ_PIN: c_long = 6;
const OBJ_GET: c_long = 7;
const PROG_TEST_RUN: c_long = 10;
const OBJ_GET_INFO_BY_FD: c_long = 15;
const MAP_FREEZE: c_long = 22;
const LINK_CREATE: c_long = 28;
/// A type of program (`enum bpf_prog_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramKind {
    /// A filter of sockets.
    SocketFilter = 1,
    /// A program at the driver of an interface.
    Xdp = 6,
}
/// What an XDP program is attached to.
const ATTACH_XDP: u32 = 37;
/// `BPF_F_XDP_HAS_FRAGS`: the program takes packets in several buffers.
const TAKES_FRAGMENTS: u32 = 1 << 5;
/// Where an XDP program runs (`XDP_FLAGS_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Mode {
    /// In the kernel's own code, behind any driver.
    Generic = 1 << 1,
    /// In the driver, or not at all.
    Native = 1 << 2,
}
/// What the kernel says of a program that it refuses, at most.
const LOG_BYTES: usize = 1 << 20;

/// A kind of map (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug)]
pub(super) enum MapKind {
    Array = 2,
    LruHash = 9,
    Sockets = 17,
}

/// `BPF_F_MMAPABLE`: the map can be mapped into the memory of this process.
pub(super) const MAPPABLE: u32 = 1 << 10;
/// `BPF_F_RDONLY_PROG`: programs do not write it.
pub(super) const READ_ONLY: u32 = 1 << 7;
/// `BPF_F_RDONLY`: this process does not write it.
const OPENED_TO_READ: u32 = 1 << 3;

/// A map to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapSpec {
    pub(super) name: &'static str,
    pub(super) kind: MapKind,
    pub(super) key_bytes: u32,
    pub(super) value_bytes: u32,
    pub(super) entries: u32,
    pub(super) flags: u32,
}

/// Arguments of each command, as the kernel expects them (`union bpf_attr`). None has padding.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct MapElement {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct Pin {
    path: u64,
    object: u32,
    flags: u32,
}

#[repr(C)]
struct InfoRequest {
    object: u32,
    info_bytes: u32,
    info: u64,
}

/// The beginning of what the kernel tells of a map (`struct bpf_map_info`).
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    verdict: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
    rest: [u64; 8],
}

/// Makes a map.
pub(super) fn make_map(spec: &MapSpec) -> io::Result<OwnedFd> {
    let mut arguments = MapCreate {
        kind: spec.kind as u32,
        key_bytes: spec.key_bytes,
        value_bytes: spec.value_bytes,
        entries: spec.entries,
        flags: spec.flags,
        name: name(spec.name),
        ..MapCreate::default()
    };
    // SAFETY: the command takes numbers only.
    unsafe { bpf(MAP_CREATE, &mut arguments) }.map(owned)
}

/// Puts a value into a map, whose keys and values have these sizes.
pub(super) fn update(map: BorrowedFd<'_>, spec: &MapSpec, key: &[u8], value: &[u8]) -> io::Result<()> {
    if key.len() != spec.key_bytes as usize || value.len() != spec.value_bytes as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    let mut arguments = MapElement { map: number(map), unused: 0, key, value, flags: 0 };
    // SAFETY: the kernel reads a key and a value of the map's sizes there, which these slices have. They outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut arguments) }.map(drop)
}

/// Reads a value of a map, whose keys and values have these sizes.
pub(super) fn value(map: BorrowedFd<'_>, spec: &MapSpec, key: &[u8]) -> io::Result<Vec<u8>> {
    let told = info(map)?;
    if key.len() != told.key_bytes as usize || told.value_bytes != spec.value_bytes {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut value = vec![0; told.value_bytes as usize];
    let (key, place) = (key.as_ptr() as u64, value.as_mut_ptr() as u64);
    let mut arguments = MapElement { map: number(map), unused: 0, key, value: place, flags: 0 };
    // SAFETY: the kernel reads a key of the map's size and writes a value of the map's size, as it has just told them; they
    // never change. Key and value outlive the call.
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut arguments) }.map(|_| value)
}

fn info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    let info_bytes = size_of::<MapInfo>() as u32;
    let mut arguments = InfoRequest { object: number(map), info_bytes, info: (&raw mut info) as u64 };
    // SAFETY: the kernel writes at most so many bytes there, which `info` has; they are numbers, and it outlives the call.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut arguments) }.map(|_| info)
}

/// Whether a map is of this kind and has these sizes.
pub(super) fn is_like(map: BorrowedFd<'_>, spec: &MapSpec) -> io::Result<bool> {
    let MapInfo { kind, key_bytes, value_bytes, entries, .. } = info(map)?;
    Ok((kind, key_bytes, value_bytes, entries) == (spec.kind as u32, spec.key_bytes, spec.value_bytes, spec.entries))
}

/// Gives a map or a program a name in a BPF file system. It lives as long as it has one.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut arguments = Pin { path: path.as_ptr() as u64, object: number(object), flags: 0 };
    // SAFETY: the kernel reads the path up to its zero. It outlives the call.
    unsafe { bpf(OBJ_PIN, &mut arguments) }.map(drop)
}

/// Opens the map or the program of this name, to use it or only to read it.
pub(super) fn open(path: &Path, to_read: bool) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = if to_read { OPENED_TO_READ } else { 0 };
    let mut arguments = Pin { path: path.as_ptr() as u64, object: 0, flags };
    // SAFETY: the kernel reads the path up to its zero. It outlives the call.
    unsafe { bpf(OBJ_GET, &mut arguments) }.map(owned)
}

/// From now on no process changes a map.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut arguments = number(map);
    // SAFETY: the command takes a number.
    unsafe { bpf(MAP_FREEZE, &mut arguments) }.map(drop)
}

/// Loads a program.
///
/// # Errors
/// What the kernel refuses, and what it says of it. The latter is empty unless the instructions are refused.
pub(super) fn load(
    kind: ProgramKind,
    program: &str,
    instructions: &[Instruction],
    license: &[u8],
) -> Result<OwnedFd, (io::Error, String)> {
    if license.last() != Some(&0) {
        return Err((io::ErrorKind::InvalidInput.into(), String::new()));
    }
    let (flags, attach_type) = match kind {
        ProgramKind::SocketFilter => (0, 0),
        ProgramKind::Xdp => (TAKES_FRAGMENTS, ATTACH_XDP),
    };
    let attempt = |log: &mut [u8]| {
        let mut arguments = ProgramLoad {
            kind: kind as u32,
            instruction_count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: u32::from(!log.is_empty()),
            log_bytes: log.len() as u32,
            log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
            flags,
            name: name(program),
            attach_type,
            ..ProgramLoad::default()
        };
        // SAFETY: the kernel reads so many instructions and a licence up to its zero, and writes at most so many bytes to the
        // log. All outlive the call.
        unsafe { bpf(PROG_LOAD, &mut arguments) }.map(owned)
    };
    // Without a log first: to write one takes time, and it is empty if all is well.
    let refused = match attempt(&mut []) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) => error,
        outcome => return outcome.map_err(|error| (error, String::new())),
    };
    let mut log = vec![0; LOG_BYTES];
    match attempt(&mut log) {
        Ok(program) => Ok(program),
        Err(_) => {
            Err((refused, log.split(|&byte| byte == 0).next().map(String::from_utf8_lossy).unwrap_or_default().into()))
        }
    }
}

/// Attaches a program to an interface.
pub(super) fn attach(program: BorrowedFd<'_>, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    let mut arguments = LinkCreate { program: number(program), interface, attach_type: ATTACH_XDP, flags: mode as u32 };
    // SAFETY: the command takes numbers only.
    unsafe { bpf(LINK_CREATE, &mut arguments) }.map(owned)
}

/// Runs a program so often on a frame: its last verdict, and nanoseconds of a run.
pub(super) fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
    let mut arguments = TestRun {
        program: number(program),
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads the frame, which outlives the call. No output is asked for.
    unsafe { bpf(PROG_TEST_RUN, &mut arguments) }?;
    Ok((arguments.verdict, arguments.duration_ns))
}

/// # Safety
/// `T` is what the kernel expects of the command. The addresses in it are valid for what the command reads and writes there.
unsafe fn bpf<T>(command: c_long, arguments: &mut T) -> io::Result<c_long> {
    // SAFETY: the kernel reads and writes the arguments within their size; for the addresses in them the caller answers.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(arguments), size_of::<T>()) } {
        outcome if outcome < 0 => Err(io::Error::last_os_error()),
        outcome => Ok(outcome),
    }
}

/// The descriptor that a command gave, which the kernel has marked to be closed on exec.
fn owned(descriptor: c_long) -> OwnedFd {
    // SAFETY: the kernel has just opened it for this process, and nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) }
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_fd().as_raw_fd() as u32
}

/// A name for the kernel: at most 15 bytes and a zero.
fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name.iter_mut().take(15).zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    name
}
