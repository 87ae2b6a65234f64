//! The interface through which workers read frames.

use vigie_wire::Frame;

use super::{Block, CaptureError, Position, ReadAhead, SourceStatistics};

/// Where frames come from.
pub trait Source {
    /// Shows the next frames to `visit`: at least one, at most [`BATCH_FRAMES_MAX`](super::BATCH_FRAMES_MAX). Returns false
    /// at the end. A source that waited in vain returns true without calling `visit`.
    ///
    /// # Errors
    /// No more frames can be had. Those shown before stay good.
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError>;

    /// Replaces the contents of `block` by the next frames. Returns false at the end. A source that waited in vain returns
    /// true with an empty block.
    ///
    /// # Errors
    /// No more frames can be had. Those in the block stay good.
    fn next_block(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        copy_block(self, block)
    }

    /// A handle with which another thread, without holding the source, reads the bytes of the next block in advance. `None`
    /// where that might make the thread wait, or does not help. Frames and warnings are the same with and without it.
    fn read_ahead(&self) -> Option<ReadAhead> {
        None
    }

    /// What was read so far.
    fn statistics(&self) -> SourceStatistics;

    /// How far the reading is.
    fn position(&self) -> Position;

    /// How many interfaces are known. Every frame given so far is of one of them.
    fn interfaces(&self) -> usize;

    /// The name of an interface, where the capture tells it.
    fn interface_name(&self, interface: u16) -> Option<&str>;
}

/// Fills a block with copies of the next batches.
pub(super) fn copy_block<S: Source + ?Sized>(source: &mut S, block: &mut Block) -> Result<bool, CaptureError> {
    block.clear();
    block.bytes.clear();
    block.start = 0;
    while !block.is_full() {
        let before = block.len();
        if !source.next_batch(&mut |frames| frames.iter().for_each(|frame| block.push(frame)))? {
            return Ok(!block.is_empty());
        }
        if block.len() == before {
            break;
        }
    }
    Ok(true)
}
