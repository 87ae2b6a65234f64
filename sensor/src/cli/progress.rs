//! The progress bar of `vigie read`, on the standard error.

use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::When;
use vigie_capture::Position;

/// Smaller captures are read before anybody could look at a bar.
pub const BAR_BYTES_MIN: u64 = 64 << 20;

/// The bar is drawn anew once in so many batches.
const BATCHES_PER_UPDATE: u32 = 256;

/// A progress bar, or none.
#[derive(Debug, Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
    batches: u32,
}

impl Progress {
    /// The bar, if one is wanted. `is_terminal`: the standard error is a terminal and has room for a bar.
    pub fn start(when: When, is_terminal: bool, at: Position) -> Self {
        let is_wanted = match when {
            When::Never => false,
            When::Always => true,
            When::Auto => is_terminal && at.bytes_total.is_some_and(|bytes| bytes >= BAR_BYTES_MIN),
        };
        Self { bar: is_wanted.then(|| bar(at.bytes_total)), batches: 0 }
    }

    /// Counts a batch that was read. `position` is called only now and then.
    #[inline]
    pub fn batch(&mut self, position: impl FnOnce() -> Position) {
        let Some(bar) = &self.bar else { return };
        self.batches += 1;
        if self.batches == BATCHES_PER_UPDATE {
            self.batches = 0;
            bar.set_position(position().bytes_done);
        }
    }

    /// Removes the bar.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(bytes_total: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes_total {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{elapsed_precise} [{wide_bar}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{elapsed_precise} {spinner} {decimal_bytes}, {decimal_bytes_per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(bytes_total: Option<u64>) -> Position {
        Position { bytes_done: 7, bytes_total }
    }

    #[test]
    fn big_captures_on_a_terminal_have_a_bar() {
        let has_bar = |when, is_terminal, bytes| Progress::start(when, is_terminal, position(bytes)).bar.is_some();
        assert!(has_bar(When::Auto, true, Some(BAR_BYTES_MIN)));
        assert!(!has_bar(When::Auto, true, Some(BAR_BYTES_MIN - 1)));
        assert!(!has_bar(When::Auto, true, None));
        assert!(!has_bar(When::Auto, false, Some(u64::MAX)));
        assert!(has_bar(When::Always, false, None));
        assert!(!has_bar(When::Never, true, Some(u64::MAX)));
    }

    #[test]
    fn the_position_is_asked_for_now_and_then() {
        let mut progress = Progress::start(When::Always, true, position(Some(10)));
        let mut asked = 0;
        for _ in 0..BATCHES_PER_UPDATE * 3 {
            progress.batch(|| {
                asked += 1;
                position(Some(10))
            });
        }
        assert_eq!(asked, 3);
        progress.finish();
        progress.batch(|| panic!("the bar was removed"));
    }
}
