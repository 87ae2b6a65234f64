//! Frames that an interface receives at a rate no sender reaches: the kernel runs a short program once for
//! each of them and hands it on as if the interface's card had brought it (`BPF_PROG_TEST_RUN` with
//! `BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18, Documentation/bpf/bpf_prog_run.rst). Nothing is sent, so nothing on the way
//! can be short of room: every frame that the program lets pass meets the packet sockets of the interface.
//!
//! The kernel runs the program on frames all of which are the same. The program makes each into another: the next of a
//! tape in memory that it shares with the test. The test may write to the tape between two runs.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::{fs, slice};
use vigie_skip::skipped;

/// The longest frame: what the kernel keeps beside a frame in its page takes the rest.
pub const FRAME_BYTES_MAX: usize = 3072;
/// The shortest: an Ethernet header.
const FRAME_BYTES_MIN: usize = 14;
/// Before each frame on a tape stands how many of its bytes are there, and its length above that; each begins at a multiple
/// of this.
const LENGTH_BYTES: usize = 4;
const LENGTH_SHIFT: i32 = 16;
const ALIGNMENT: usize = 8;
/// Before the tape stand two words: where on it the program is, and how many frames it let pass.
const TAPE_AT: usize = 8;
/// How many frames are handed over at once, as by a card's driver.
const BATCH_FRAMES: u32 = 64;
/// The first kernel with live frames.
const KERNEL: (u32, u32) = (5, 18);

/// Where the frames of a tape lie in it, if laid one after the other, and how long it has to be.
pub fn lay(lengths: impl IntoIterator<Item = usize>) -> (Vec<Range<usize>>, usize) {
    let (mut places, mut end) = (Vec::new(), 0);
    for length in lengths {
        assert!((FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length), "a frame of {length} bytes");
        let start: usize = end + LENGTH_BYTES;
        places.push(start..start + length);
        end = (start + length).next_multiple_of(ALIGNMENT);
    }
    (places, end)
}

/// Writes a frame where it lies, with its length before it.
pub fn put(tape: &mut [u8], place: &Range<usize>, frame: &[u8]) {
    put_start(tape, place, frame, frame.len());
}

/// Writes the start of a frame that is longer. The rest of it is whatever lies in the kernel's memory.
pub fn put_start(tape: &mut [u8], place: &Range<usize>, start: &[u8], frame_bytes: usize) {
    assert!((start.len()..=FRAME_BYTES_MAX).contains(&frame_bytes), "a frame of {frame_bytes} bytes");
    let lengths = (frame_bytes << LENGTH_SHIFT | start.len()) as u32;
    tape[place.start - LENGTH_BYTES..place.start].copy_from_slice(&lengths.to_ne_bytes());
    tape[place.clone()].copy_from_slice(start);
}

/// Gives an interface the frames of a tape.
#[derive(Debug)]
pub struct LiveFrames {
    memory: Memory,
    program: OwnedFd,
    interface: u32,
}

impl LiveFrames {
    /// For an interface of the calling thread's namespace. `None`, and a line that says why, where the kernel cannot do
    /// that or does not let us.
    ///
    /// # Panics
    /// The kernel could, but something is wrong with what it was given.
    pub fn new(interface: &str, tape_bytes: usize) -> Option<Self> {
        Self::of(interface, tape_bytes, false)
    }

    /// The same, but the interface sends them: what is joined to it receives them, as by the driver of a card. That needs XDP or
    /// GRO there.
    ///
    /// # Panics
    /// As of [`new`](Self::new).
    pub fn through(interface: &str, tape_bytes: usize) -> Option<Self> {
        Self::of(interface, tape_bytes, true)
    }

    fn of(interface: &str, tape_bytes: usize, are_sent: bool) -> Option<Self> {
        let kernel = kernel();
        if kernel < KERNEL {
            skipped(format_args!("live frames need Linux 5.18, and this is {}.{}", kernel.0, kernel.1));
            return None;
        }
        let memory = match Memory::new(tape_bytes) {
            Ok(memory) => memory,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                skipped(format_args!("bpf() is refused: {error}"));
                return None;
            }
            Err(error) => panic!("no memory for a tape of {tape_bytes} bytes: {error}"),
        };
        let interface = number_of(interface);
        let through = are_sent.then_some(interface);
        let program = load(&program(memory.map.as_raw_fd(), memory.tape_bytes, through))?;
        Some(Self { memory, program, interface })
    }

    /// The tape, to be written to.
    pub fn tape(&mut self) -> &mut [u8] {
        self.memory.tape()
    }

    /// Has the interface receive so many frames from the tape's beginning, as fast as it goes. Called in the interface's
    /// namespace.
    ///
    /// # Panics
    /// The kernel refuses, or the tape holds fewer.
    pub fn send(&mut self, frames: usize) {
        let [cursor, passed] = self.memory.words();
        (*cursor, *passed) = (TAPE_AT as u32, 0);
        let interface = self.interface;
        let context = Context { data_end: FRAME_BYTES_MAX as u32, interface, ..Context::default() };
        let frame = [0_u8; FRAME_BYTES_MAX];
        let mut run = Run {
            program: self.program.as_raw_fd() as u32,
            data_bytes: FRAME_BYTES_MAX as u32,
            data: frame.as_ptr() as u64,
            repeat: u32::try_from(frames).expect("not that many"),
            context_bytes: size_of::<Context>() as u32,
            context: (&raw const context) as u64,
            flags: Run::LIVE_FRAMES,
            batch_frames: BATCH_FRAMES,
            ..Run::default()
        };
        // SAFETY: `Run` is this command's part of `bpf_attr`; its two pointers and lengths describe `frame` and `context`,
        // which the kernel only reads. The program writes to the tape's two words, to which there is no reference now.
        let result = unsafe { bpf(Run::COMMAND, &mut run) };
        assert!(result.is_ok(), "live frames: {result:?}");
        let [_, passed] = self.memory.words();
        assert_eq!(*passed as usize, frames, "frames that the program let pass, and those that it was run for");
    }
}

/// Has an interface of the calling thread's namespace drop all packets in its driver, until what comes back is dropped. `None`
/// where that is not permitted.
///
/// # Panics
/// The kernel could, but refuses.
pub fn drop_all(interface: &str) -> Option<OwnedFd> {
    let instruction = |code, immediate| Instruction { code, registers: 0, offset: 0, immediate };
    let program = load(&[instruction(MOVE, XDP_DROP), instruction(EXIT, 0)])?;
    let mut link = LinkCreate {
        program: program.as_raw_fd() as u32,
        interface: number_of(interface),
        kind: LinkCreate::XDP,
        flags: LinkCreate::IN_DRIVER,
    };
    // SAFETY: `LinkCreate` is this command's part of `bpf_attr`, without pointers. A new descriptor comes back.
    let link = unsafe { bpf(LinkCreate::COMMAND, &mut link).map(|link| OwnedFd::from_raw_fd(link)) };
    Some(link.unwrap_or_else(|error| panic!("{interface} takes no program: {error}")))
}

fn number_of(interface: &str) -> u32 {
    let name = CString::new(interface).expect("a name");
    // SAFETY: `name` is a string that ends with a zero.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(number, 0, "no interface {name:?}");
    number
}

/// Memory that the test shares with the program.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    tape_bytes: usize,
    map: OwnedFd,
}

// SAFETY: the memory belongs to the mapping, which is not bound to a thread; nobody else in this process points to it.
unsafe impl Send for Memory {}

impl Memory {
    fn new(tape_bytes: usize) -> io::Result<Self> {
        // Wherever on the tape a frame begins, the verifier wants there to be room for the longest.
        let tape_bytes = tape_bytes + LENGTH_BYTES + FRAME_BYTES_MAX;
        let value_bytes = (TAPE_AT + tape_bytes).next_multiple_of(ALIGNMENT);
        let mut create = Create {
            kind: Create::ARRAY,
            key_bytes: 4,
            value_bytes: u32::try_from(value_bytes).expect("a tape is not that long"),
            entries: 1,
            flags: Create::CAN_BE_MAPPED,
        };
        // SAFETY: `Create` is this command's part of `bpf_attr`, without pointers. A new descriptor comes back.
        let map = unsafe { OwnedFd::from_raw_fd(bpf(Create::COMMAND, &mut create)?) };
        // SAFETY: a new mapping at an address of the kernel's choice, of the length that the array has.
        let start = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), value_bytes, access, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, tape_bytes, map }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where on the tape the program is, and how many frames it let pass.
    fn words(&mut self) -> &mut [u32; 2] {
        // SAFETY: the two words stand at the beginning of the mapping, which is a page's. The program, which writes to them
        // too, runs only within `LiveFrames::send`, during whose call to the kernel no such reference is used.
        unsafe { self.start.cast::<[u32; 2]>().as_mut() }
    }

    fn tape(&mut self) -> &mut [u8] {
        // SAFETY: the tape stands in the mapping behind the two words. The program only reads there, and only within
        // `LiveFrames::send`, which borrows all this for itself.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().add(TAPE_AT), self.tape_bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let bytes = (TAPE_AT + self.tape_bytes).next_multiple_of(ALIGNMENT);
        // SAFETY: what was mapped; references into it are borrowed from `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
    }
}

/// An instruction (`struct bpf_insn`, RFC 9669 §3).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_64: u8 = 0x18;
const LOAD_WORD: u8 = 0x61;
const STORE_WORD: u8 = 0x63;
const ADD: u8 = 0x07;
const ADD_REGISTER: u8 = 0x0f;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const JUMP_IF_GREATER: u8 = 0x25;
const JUMP_IF_LESS: u8 = 0xa5;
const JUMP_IF_OTHER: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The immediate of a [`LOAD_64`] is a map, whose first value's address is loaded.
const OF_MAP_VALUE: u8 = 2;
/// Helpers (bpf-helpers(7)).
const REDIRECT: i32 = 23;
const XDP_ADJUST_TAIL: i32 = 65;
const XDP_STORE_BYTES: i32 = 190;
const XDP_ABORTED: i32 = 0;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

/// The program: makes the frame into the next of the tape, goes on there, counts it and lets it pass. All jumps lead to the
/// end, where a frame is refused.
fn program(map: i32, tape_bytes: usize, through: Option<u32>) -> Vec<Instruction> {
    let op = |code, [to, from]: [u8; 2], offset, immediate| {
        let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
        Instruction { code, registers, offset, immediate }
    };
    let last = TAPE_AT + tape_bytes - LENGTH_BYTES - FRAME_BYTES_MAX;
    let (least, most) = (FRAME_BYTES_MIN as i32, FRAME_BYTES_MAX as i32);
    let (length_bytes, alignment) = (LENGTH_BYTES as i32, ALIGNMENT as i32);
    let mut program = vec![
        op(MOVE_REGISTER, [6, 1], 0, 0),
        op(LOAD_64, [9, OF_MAP_VALUE], 0, map),
        op(0, [0, 0], 0, 0),
        // r8: where the next frame lies, r2: its length, r7: how many of its bytes lie there.
        op(LOAD_WORD, [7, 9], 0, 0),
        op(JUMP_IF_GREATER, [7, 0], 0, last as i32),
        op(MOVE_REGISTER, [8, 9], 0, 0),
        op(ADD_REGISTER, [8, 7], 0, 0),
        op(LOAD_WORD, [7, 8], 0, 0),
        op(MOVE_REGISTER, [2, 7], 0, 0),
        op(SHIFT_RIGHT, [2, 0], 0, LENGTH_SHIFT),
        op(JUMP_IF_GREATER, [2, 0], 0, most),
        op(JUMP_IF_LESS, [2, 0], 0, least),
        op(AND, [7, 0], 0, (1 << LENGTH_SHIFT) - 1),
        op(JUMP_IF_GREATER, [7, 0], 0, most),
        op(JUMP_IF_LESS, [7, 0], 0, least),
        // The one after it.
        op(LOAD_WORD, [1, 9], 0, 0),
        op(ADD_REGISTER, [1, 7], 0, 0),
        op(ADD, [1, 0], 0, length_bytes + alignment - 1),
        op(AND, [1, 0], 0, -alignment),
        op(STORE_WORD, [9, 1], 0, 0),
        // The frame gets that length,
        op(MOVE_REGISTER, [1, 6], 0, 0),
        op(ADD, [2, 0], 0, -most),
        op(CALL, [0, 0], 0, XDP_ADJUST_TAIL),
        op(JUMP_IF_OTHER, [0, 0], 0, 0),
        // and those bytes.
        op(MOVE_REGISTER, [1, 6], 0, 0),
        op(MOVE, [2, 0], 0, 0),
        op(MOVE_REGISTER, [3, 8], 0, 0),
        op(ADD, [3, 0], 0, length_bytes),
        op(MOVE_REGISTER, [4, 7], 0, 0),
        op(CALL, [0, 0], 0, XDP_STORE_BYTES),
        op(JUMP_IF_OTHER, [0, 0], 0, 0),
        op(LOAD_WORD, [1, 9], 4, 0),
        op(ADD, [1, 0], 0, 1),
        op(STORE_WORD, [9, 1], 4, 0),
    ];
    match through {
        Some(interface) => program.extend([
            op(MOVE, [1, 0], 0, interface.cast_signed()),
            op(MOVE, [2, 0], 0, 0),
            op(CALL, [0, 0], 0, REDIRECT),
        ]),
        None => program.push(op(MOVE, [0, 0], 0, XDP_PASS)),
    }
    program.push(op(EXIT, [0, 0], 0, 0));
    let refusal = program.len();
    for (place, instruction) in program.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_IF_GREATER | JUMP_IF_LESS | JUMP_IF_OTHER) {
            instruction.offset = (refusal - place - 1) as i16;
        }
    }
    program.extend([op(MOVE, [0, 0], 0, XDP_ABORTED), op(EXIT, [0, 0], 0, 0)]);
    program
}

/// Gives the kernel a program. `None` where that is not permitted.
fn load(program: &[Instruction]) -> Option<OwnedFd> {
    let mut log = vec![0_u8; 1 << 16];
    let mut load = Load {
        kind: Load::XDP,
        instructions: program.len() as u32,
        program: program.as_ptr() as u64,
        license: c"MIT OR Apache-2.0".as_ptr() as u64,
        log_level: 1,
        log_bytes: log.len() as u32,
        log: log.as_mut_ptr() as u64,
    };
    // SAFETY: `Load` is this command's part of `bpf_attr`; its pointers and lengths describe the program, a string that
    // ends with a zero, and the log, to which alone the kernel writes.
    match unsafe { bpf(Load::COMMAND, &mut load) } {
        // SAFETY: a new descriptor, which is nobody else's.
        Ok(descriptor) => Some(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            skipped(format_args!("bpf() takes no programs: {error}"));
            None
        }
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&log).trim_end_matches('\0')),
    }
}

/// What `BPF_MAP_CREATE` reads of `bpf_attr`.
#[repr(C)]
struct Create {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

impl Create {
    const COMMAND: i32 = 0;
    const ARRAY: u32 = 2;
    const CAN_BE_MAPPED: u32 = 1 << 10;
}

/// What `BPF_PROG_LOAD` reads of it.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
}

impl Load {
    const COMMAND: i32 = 5;
    const XDP: u32 = 6;
}

/// What `BPF_LINK_CREATE` reads of it.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    kind: u32,
    flags: u32,
}

impl LinkCreate {
    const COMMAND: i32 = 28;
    const XDP: u32 = 37;
    const IN_DRIVER: u32 = 1 << 2;
}

/// What `BPF_PROG_TEST_RUN` reads of it.
#[derive(Default)]
#[repr(C)]
struct Run {
    program: u32,
    returned: u32,
    data_bytes: u32,
    data_out_bytes: u32,
    data: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_bytes: u32,
    context_out_bytes: u32,
    context: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_frames: u32,
    unused: u32,
}

impl Run {
    const COMMAND: i32 = 10;
    const LIVE_FRAMES: u32 = 1 << 1;
}

/// `struct xdp_md`: what the program is told of a frame.
#[derive(Default)]
#[repr(C)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    interface: u32,
    queue: u32,
    interface_out: u32,
}

/// Calls bpf(2).
///
/// # Safety
/// `attributes` is what the command reads of `bpf_attr`, and its pointers hold what the command does with them.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: pointer and length describe `attributes`, to which the kernel may write how a run went; the rest is the
    // caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// The kernel's version.
fn kernel() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
