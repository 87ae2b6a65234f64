//! Ctrl-C in commands that read: what was read until then is told. A second one ends the program.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGINT;

use super::exit::Exit;

/// A flag that the first interrupt sets, so that what was read until then is printed. A second one ends the program.
pub fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let exit = i32::from(Exit::Interrupted as u8);
    // Without the handlers an interrupt ends the program at once.
    let _ = signal_hook::flag::register_conditional_shutdown(SIGINT, exit, Arc::clone(&stop))
        .and_then(|_| signal_hook::flag::register(SIGINT, Arc::clone(&stop)));
    stop
}
