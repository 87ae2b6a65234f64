//! When nobody in the kernel can still add to a slot that was retired.
//!
//! A run of the XDP program that read a slot's tag before it was taken away may still add to the slot's count. A run is over
//! when every processor has passed through the scheduler: `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for that (membarrier(2);
//! it is the kernel's `synchronize_rcu`, and the program runs in a read-side section). One thread, which is no worker, waits
//! in rounds; workers only read and write three words.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::memory::Word;

/// How long the thread sleeps between rounds, so that one wait serves many slots.
const ROUND_EVERY: Duration = Duration::from_millis(20);
/// How long a round waits where the kernel offers no wait (processors without timer ticks, `nohz_full`). A run of the
/// program takes less than a microsecond, and cannot be preempted.
const WAIT_WITHOUT_BARRIER: Duration = Duration::from_secs(1);

/// The rounds of waiting.
#[derive(Debug, Default)]
pub(super) struct Grace {
    begun: Word,
    done: Word,
    /// 1 if somebody waits for a round that has not begun.
    wanted: Word,
}

impl Grace {
    /// The round that must be over before a slot, whose tag was taken away just now, can be used again.
    pub(super) fn ticket(&self) -> u64 {
        // First the number, then the wish: a round that begins in between is either the one that is waited for, or sees the
        // wish. The other way round, a round could take the wish away and yet be too early.
        let ticket = self.begun.load(Ordering::SeqCst) + 1;
        if self.wanted.load(Ordering::Relaxed) == 0 {
            self.wanted.store(1, Ordering::SeqCst);
        }
        ticket
    }

    /// The last round that is over.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Whether a round could begin.
    #[cfg(test)]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) != 0
    }

    /// One round, if somebody waits for one.
    pub(super) fn round(&self, wait: impl FnOnce()) {
        if let Some(number) = self.begin() {
            wait();
            self.end(number);
        }
    }

    /// Begins a round, if somebody waits for one. Only one thread does this.
    pub(super) fn begin(&self) -> Option<u64> {
        if self.wanted.swap(0, Ordering::SeqCst) == 0 {
            return None;
        }
        let number = self.begun.load(Ordering::Relaxed) + 1;
        self.begun.store(number, Ordering::SeqCst);
        Some(number)
    }

    /// Ends a round: all runs of the program that were under way when it began are over.
    pub(super) fn end(&self, number: u64) {
        self.done.store(number, Ordering::Release);
    }

    /// Waits in rounds until `stop`.
    pub(super) fn run(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(ROUND_EVERY);
            self.round(wait_for_all_processors);
        }
    }
}

fn wait_for_all_processors() {
    // SAFETY: the call takes numbers and touches no memory of this process.
    let outcome = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if outcome != 0 {
        std::thread::sleep(WAIT_WITHOUT_BARRIER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_for_a_round_that_begins_later() {
        let grace = Grace::default();
        grace.round(|| panic!("nobody waits"));
        let first = grace.ticket();
        assert!(grace.done() < first);
        let mut second = 0;
        grace.round(|| second = grace.ticket());
        assert!(grace.done() >= first && grace.done() < second, "a round does not serve who came after it began");
        grace.round(|| ());
        assert!(grace.done() >= second);
        grace.round(|| panic!("nobody waits"));
    }
}
