//! A file mapped into memory, and the guard that lets the process live when the file gets shorter meanwhile.
//!
//! Touching a mapped page that lies wholly beyond the end of its file raises SIGBUS, which kills. Looking at the
//! file's length beforehand does not help: it may shrink between the look and the touch. So the signal is caught:
//! if the address lies in one of our mappings, the rest of that mapping, from the touched page on, is replaced by
//! pages of zeros, the mapping is marked, and the touch is repeated. Any other SIGBUS goes to whoever handled it
//! before. What bytes mean is not decided here.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};
use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};

/// How many mappings may be guarded, and so exist, at a time.
const MAPPINGS_MAX: usize = 256;

/// A file's bytes, as many as it had when it was mapped.
#[derive(Debug)]
pub(super) struct Mapping {
    // The guard stands first: fields drop in order, and the slot must be free before the addresses are.
    guard: Guard,
    bytes: Mmap,
    file: File,
}

impl Mapping {
    /// Maps the first `length` bytes of `file`.
    pub(super) fn new(file: &File, length: usize) -> io::Result<Self> {
        let file = file.try_clone()?;
        let guard = Guard::claim()?;
        // SAFETY: the mapping is read-only and private. That another process writes to or cuts the file is the
        // hazard for which `map` is unsafe. Cutting it is what the guard answers. Writing to it changes bytes, not
        // the bounds of the slice: every length read from these bytes is copied into a local and checked against the
        // slice by safe code before use, so that a changed byte can give a wrong frame and nothing worse.
        let bytes = unsafe { MmapOptions::new().len(length).map(&file)? };
        guard.watch(bytes.as_ptr() as usize, bytes.len());
        // Only advice: read ahead much, and forget early.
        let _ = bytes.advise(Advice::Sequential);
        Ok(Self { guard, bytes, file })
    }

    /// All bytes; zeros where the file has none any more.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether pages were found missing.
    #[inline]
    pub(super) fn is_cut(&self) -> bool {
        self.guard.slot().cut_at.load(Ordering::Acquire) != UNCUT
    }

    /// How many of the bytes are the file's, by its present length and by the pages found missing.
    pub(super) fn good_length(&self) -> usize {
        let mapped = self.bytes.len();
        let now = self.file.metadata().map_or(mapped, |metadata| usize::try_from(metadata.len()).unwrap_or(mapped));
        let cut_at = self.guard.slot().cut_at.load(Ordering::Acquire);
        mapped.min(now).min(cut_at.saturating_sub(self.bytes.as_ptr() as usize))
    }

    /// Gives back the memory of the whole pages among `from..to`; they come back from the file if touched again.
    pub(super) fn release(&self, from: usize, to: usize) {
        let page = page_bytes();
        let from = from.next_multiple_of(page);
        let to = (to / page).saturating_mul(page).min(self.bytes.len());
        if let Some(length) = to.checked_sub(from).filter(|&length| length > 0) {
            // SAFETY: the range lies in the mapping, which is backed by a file and was never written to, so
            // dropping its pages loses nothing: the next touch reads the same bytes from the file again, or, in a
            // part replaced by the guard, zeros again.
            let _ = unsafe { self.bytes.unchecked_advise_range(UncheckedAdvice::DontNeed, from, length) };
        }
    }
}

const UNCUT: usize = usize::MAX;

/// The addresses of a mapping, for the signal handler. `length` 0 means that nothing is watched.
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    length: AtomicUsize,
    /// The address of the first page found missing.
    cut_at: AtomicUsize,
}

static SLOTS: [Slot; MAPPINGS_MAX] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        cut_at: AtomicUsize::new(UNCUT),
    }
}; MAPPINGS_MAX];

/// Holds a slot for a mapping's life.
struct Guard(&'static Slot);

impl Guard {
    fn claim() -> io::Result<Self> {
        install_handler()?;
        SLOTS
            .iter()
            .find(|slot| slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok())
            .map(Self)
            .ok_or_else(|| io::Error::other("too many files are mapped"))
    }

    fn slot(&self) -> &Slot {
        self.0
    }

    fn watch(&self, start: usize, length: usize) {
        self.0.cut_at.store(UNCUT, Ordering::Relaxed);
        self.0.start.store(start, Ordering::Relaxed);
        // Whoever sees the length sees what was stored before it.
        self.0.length.store(length, Ordering::Release);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.length.store(0, Ordering::Release);
        self.0.taken.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Guard")
    }
}

fn page_bytes() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    // SAFETY: `sysconf` reads a constant of the system and has no preconditions.
    *PAGE.get_or_init(|| usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1))
}

/// What handled SIGBUS before us; set before the handler can run.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn install_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            // The handler must find it computed.
            page_bytes();
            // SAFETY: `sigaction` is plain data for which zeros are a valid value (no handler, empty mask, no flags).
            let mut before: libc::sigaction = unsafe { mem::zeroed() };
            // SAFETY: with a null action this only writes the present one to `before`, which is valid for that.
            if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &mut before) } != 0 {
                return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
            }
            BEFORE.get_or_init(|| before);
            // SAFETY: as above.
            let mut ours: libc::sigaction = unsafe { mem::zeroed() };
            ours.sa_sigaction = on_bus_error as *const () as usize;
            // On the alternate stack where there is one, as the runtime's own check for stack overflow needs it.
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: `ours` names a function with the signature that SA_SIGINFO asks for, which restricts itself
            // to what a handler may do (see there); the old action is not asked for.
            if unsafe { libc::sigaction(libc::SIGBUS, &ours, ptr::null_mut()) } != 0 {
                return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
            }
            Ok(())
        })
        .map_err(io::Error::from_raw_os_error)
}

/// The handler. It may interrupt any code, so it only reads and writes atomics and makes the system calls `mmap` and
/// `sigaction`; it takes no lock and allocates nothing.
extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid `info` to a handler installed with SA_SIGINFO. Its address means something only
    // for a signal raised by a touch, which the code tells; in others it is read as a number and not used.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code != libc::BUS_ADRERR || !replace_by_zeros(address) {
        hand_on(signal, info, context);
    }
}

/// Puts zeros where the mapping that holds `address` has lost its file. False if no mapping holds it.
fn replace_by_zeros(address: usize) -> bool {
    let page_start = address & !(page_bytes() - 1);
    for slot in &SLOTS {
        let length = slot.length.load(Ordering::Acquire);
        let start = slot.start.load(Ordering::Relaxed);
        if length == 0 || address < start || address - start >= length {
            continue;
        }
        // SAFETY: the range begins at a page of a mapping that is alive, since a live slice of it was just touched
        // by the very thread that is interrupted here, and ends at the mapping's end; pages beyond it up to the next
        // boundary belong to the same mapping. So exactly memory of ours is replaced, by memory as readable as
        // before, and its owner unmaps it with the rest.
        let replaced = unsafe {
            libc::mmap(
                page_start as *mut c_void,
                start + length - page_start,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if replaced == libc::MAP_FAILED {
            return false;
        }
        slot.cut_at.fetch_min(page_start, Ordering::AcqRel);
        return true;
    }
    false
}

/// Lets the former handler have a signal that is not ours.
fn hand_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(before) = BEFORE.get() else { return };
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: zeros are a valid `sigaction` and mean the default action. The touch is then repeated and ends
            // the process, as it would have without us. (A fault cannot be ignored.)
            unsafe {
                let default: libc::sigaction = mem::zeroed();
                libc::sigaction(signal, &default, ptr::null_mut());
            }
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: the address was registered with SA_SIGINFO, so it is a function of three arguments, and these
            // are the kernel's own.
            unsafe {
                let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = mem::transmute(handler);
                handler(signal, info, context);
            }
        }
        handler => {
            // SAFETY: the address was registered without SA_SIGINFO, so it is a function of one argument.
            unsafe {
                let handler: extern "C" fn(c_int) = mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn mapped(length: usize) -> (tempfile::NamedTempFile, Mapping) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; length]).unwrap();
        let mapping = Mapping::new(file.as_file(), length).unwrap();
        (file, mapping)
    }

    #[test]
    fn a_touch_beyond_the_new_end_reads_zeros() {
        let page = page_bytes();
        let (file, mapping) = mapped(64 * page + 100);
        assert_eq!(mapping.bytes()[3 * page], 7);
        file.as_file().set_len(2 * page as u64 + 10).unwrap();
        // The file's last page is still there, zeros after its end; no signal tells of it.
        assert_eq!(mapping.bytes()[2 * page + 9..2 * page + 11], [7, 0]);
        assert!(!mapping.is_cut());
        assert_eq!(mapping.good_length(), 2 * page + 10);
        assert_eq!(mapping.bytes()[40 * page], 0);
        assert!(mapping.is_cut());
        assert_eq!(mapping.bytes()[64 * page + 99], 0);
        assert_eq!(mapping.bytes()[3 * page], 0, "a page before the first fault has its own");
        assert_eq!(mapping.bytes()[0], 7);
        assert_eq!(mapping.good_length(), 2 * page + 10);
    }

    #[test]
    fn a_file_that_grew_again_is_still_cut_where_pages_were_missing() {
        let page = page_bytes();
        let (file, mapping) = mapped(8 * page);
        file.as_file().set_len(0).unwrap();
        assert_eq!(mapping.bytes()[5 * page + 1], 0);
        file.as_file().set_len(8 * page as u64).unwrap();
        assert_eq!(mapping.good_length(), 5 * page);
    }

    #[test]
    fn released_pages_come_back() {
        let page = page_bytes();
        let (_file, mapping) = mapped(8 * page);
        mapping.release(1, 5 * page + 3);
        mapping.release(page, page);
        mapping.release(0, usize::MAX);
        assert!(mapping.bytes().iter().all(|&byte| byte == 7));
        assert!(!mapping.is_cut());
    }

    #[test]
    fn slots_are_given_back_and_start_clean() {
        let page = page_bytes();
        for _ in 0..2 * MAPPINGS_MAX {
            let (file, mapping) = mapped(2 * page);
            assert!(!mapping.is_cut());
            file.as_file().set_len(0).unwrap();
            assert_eq!(mapping.bytes()[page], 0);
            assert!(mapping.is_cut());
        }
    }
}
