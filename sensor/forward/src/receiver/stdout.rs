//! The standard output, for containers.

use std::io::{self, Write};

use super::{Context, Receiver};
use crate::batch::Batch;
use crate::error::{ErrorKind, SendError, plain};

/// The standard output.
pub struct StdoutReceiver;

impl Receiver for StdoutReceiver {
    fn send(&mut self, batch: &mut Batch, _: Context<'_>) -> Result<(), SendError> {
        let mut lines = Vec::with_capacity(batch.bytes() + batch.len());
        batch.write_lines(&mut lines);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&lines).and_then(|()| stdout.flush()).map_err(|error| {
            SendError::new(ErrorKind::Write, format!("cannot write to the standard output: {}", plain(&error)))
        })?;
        batch.acknowledge_all();
        Ok(())
    }

    fn probe(&mut self) -> Result<String, SendError> {
        Ok("events go to the standard output".to_owned())
    }
}
