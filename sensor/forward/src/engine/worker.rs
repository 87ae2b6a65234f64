//! The thread of one receiver: reads the journal, sends, and moves the cursor after the receiver has the events.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::retry::Retry;
use super::state::{RejectedFile, State, StateFile};
use super::{Status, Stop};
use crate::batch::Batch;
use crate::configuration::{KindSettings, ReceiverSettings, WebhookFormat};
use crate::encode::{EncodeError, Encoding};
use crate::error::{ErrorKind, SendError, plain, without_number};
use crate::receiver::{Context, Receiver, open};
use crate::seals::{lost_event, seal_event};
use crate::selection::{Class, Head};
use crate::settings::{Settings, Start};
use vigie_journal::{Cursor, JournalReader, SealReader, StartAt};

/// Lines that are read in one turn, also if none of them is for the receiver.
const LINES_PER_TURN_MAX: usize = 16_384;
/// How often the cursor is saved while events flow. A crash sends again what was sent since.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest seal; one has some 400 bytes.
const SEAL_BYTES_MAX: u64 = 64 << 10;
/// How often the lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(1);
/// Tries before `--once` gives up.
const ONCE_TRIES_MAX: u32 = 3;

/// What one turn did.
enum Turn {
    /// Something was read or sent.
    Busy,
    /// There is nothing more at the moment.
    Idle,
}

/// One receiver, and how far it is.
pub struct Worker {
    receiver: Box<dyn Receiver>,
    settings: ReceiverSettings,
    program: Settings,
    status: Arc<Status>,
    stop: Arc<Stop>,
    once: bool,
    host: String,
    state_file: StateFile,
    rejected: RejectedFile,
    /// What the file has, or will have at the next save; none until it was read.
    state: Option<State>,
    is_saved: bool,
    saved_at: Instant,
    lag_at: Option<Instant>,
    reader: Option<JournalReader>,
    seals: SealReader,
    batch: Batch,
    /// Where the journal's reader and that of seals stand after the batch.
    after_batch: Option<(Cursor, u64)>,
    /// The cursors before the last batches, with the lines of each, as far as lines are sent again after a break.
    recent: VecDeque<(Cursor, usize)>,
    resend_lines: usize,
}

impl Worker {
    /// The worker of these settings.
    pub fn new(
        settings: ReceiverSettings,
        program: Settings,
        status: Arc<Status>,
        stop: Arc<Stop>,
        once: bool,
    ) -> Self {
        let folder = &program.state.folder;
        let resend_lines = match &settings.kind {
            KindSettings::Syslog(syslog) => syslog.resend_lines,
            _ => 0,
        };
        Self {
            receiver: open(&settings),
            state_file: StateFile::new(folder, &settings.name),
            rejected: RejectedFile::new(folder, &settings.name, program.state.rejected_bytes_max),
            host: vigie_config::Machine::detect().host_name,
            seals: SealReader::new(&program.journal.folder, 0, SEAL_BYTES_MAX),
            settings,
            program,
            status,
            stop,
            once,
            state: None,
            is_saved: true,
            saved_at: Instant::now(),
            lag_at: None,
            reader: None,
            batch: Batch::default(),
            after_batch: None,
            recent: VecDeque::new(),
            resend_lines,
        }
    }

    /// Works until the program ends; with `once`, until everything is sent. Whether everything was sent that had to be.
    pub fn run(mut self) -> bool {
        let delivery = &self.program.delivery;
        let mut retry =
            Retry::new(Duration::from_millis(delivery.retry_first_ms), Duration::from_millis(delivery.retry_max_ms));
        let poll_interval = Duration::from_millis(self.program.journal.poll_interval_ms);
        let mut is_done = true;
        while !self.stop.is_asked() {
            match self.turn() {
                Ok(turn) => {
                    retry.succeeded();
                    self.status.works();
                    match turn {
                        Turn::Busy => {}
                        Turn::Idle if self.once => break,
                        Turn::Idle => _ = self.stop.wait(poll_interval),
                    }
                }
                Err(_) if self.stop.is_asked() => break,
                Err(error) => {
                    self.fail(&error);
                    let wait = retry.failed(error.retry_after);
                    if self.once && retry.failures() >= ONCE_TRIES_MAX {
                        is_done = false;
                        break;
                    }
                    self.stop.wait(wait);
                }
            }
        }
        if let Err(error) = self.save() {
            self.status.failed(&error);
        }
        is_done
    }

    /// Reads if nothing waits, and sends what waits.
    fn turn(&mut self) -> Result<Turn, SendError> {
        self.load()?;
        if self.after_batch.is_none() {
            let lines = self.fill().inspect_err(|_| self.forget_batch())?;
            self.measure_lag();
            if lines == 0 {
                self.receiver.idle()?;
                self.save()?;
                return Ok(Turn::Idle);
            }
        }
        self.send()?;
        self.commit()?;
        Ok(Turn::Busy)
    }

    /// Reads how far the receiver is, once.
    fn load(&mut self) -> Result<(), SendError> {
        let path = self.state_file.path().display().to_string();
        if self.state.is_none() {
            let state = match self.state_file.load() {
                Ok(Some(state)) => state,
                Ok(None) => self.first_state()?,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.status.tell(&format!("{path} is damaged, so everything in the journal is sent again"));
                    State::default()
                }
                Err(error) => {
                    let message = format!("cannot read {path}: {}; check its permissions", plain(&error));
                    return Err(SendError::new(ErrorKind::State, message));
                }
            };
            self.recent.extend(state.resend_from.clone().map(|cursor| (cursor, 0)));
            self.seals.seek(state.seals_offset);
            self.state = Some(state);
            // What cannot be saved is found before anything is sent.
            self.is_saved = false;
            self.save()?;
        }
        if self.reader.is_none() {
            let cursor = self.state.as_ref().map(|state| state.cursor.clone()).unwrap_or_default();
            let start = if cursor == Cursor::default() { StartAt::Oldest } else { StartAt::Cursor(cursor) };
            self.reader = Some(self.open_journal(start)?);
        }
        Ok(())
    }

    fn first_state(&mut self) -> Result<State, SendError> {
        match self.program.journal.start {
            Start::Oldest => Ok(State::default()),
            Start::Newest => {
                let cursor = self.open_journal(StartAt::Newest)?.cursor();
                self.seals.skip_all().map_err(|error| self.journal_failed(&error))?;
                Ok(State { cursor, seals_offset: self.seals.offset(), resend_from: None })
            }
        }
    }

    fn open_journal(&self, start: StartAt) -> Result<JournalReader, SendError> {
        JournalReader::open(&self.program.journal.folder, start).map_err(|error| self.journal_failed(&error))
    }

    fn journal_failed(&self, error: &impl std::error::Error) -> SendError {
        journal_error(&self.program.journal.folder, error)
    }

    /// Fills the batch with the next lines that are for the receiver. Gives how many lines were read.
    fn fill(&mut self) -> Result<usize, SendError> {
        let Some(mut reader) = self.reader.take() else { return Ok(0) };
        let read = self.read(&mut reader);
        let cursor = reader.cursor();
        let lost = reader.take_lost();
        self.reader = Some(reader);
        let mut lines = read?;
        if lost.went_back {
            self.status.went_back();
        }
        if lost.segments > 0 {
            self.status.lost(lost.segments);
            if self.is_told_of_losses() {
                let line = lost_event(&self.settings.name, lost.segments, &self.host);
                self.add(&line, Class::Audit)?;
                lines += 1;
            }
        }
        if self.settings.selection.has(Class::Seals) {
            lines += self.read_seals()?;
        }
        if lines > 0 {
            let oldest = self.batch.first().and_then(|event| event.head());
            self.status.set_oldest(oldest.as_ref().map(|head| head.timestamp()));
            self.after_batch = Some((cursor, self.seals.offset()));
        }
        Ok(lines)
    }

    /// Systems that hold alerts hold incidents only.
    const fn is_told_of_losses(&self) -> bool {
        match &self.settings.kind {
            KindSettings::Webhook(webhook) => {
                !matches!(webhook.format, WebhookFormat::Alertmanager | WebhookFormat::TheHive)
            }
            _ => true,
        }
    }

    fn read(&mut self, reader: &mut JournalReader) -> Result<usize, SendError> {
        let (events_max, bytes_max) = (self.program.delivery.batch_events_max, self.program.delivery.batch_bytes_max);
        let mut lines = 0;
        while self.batch.len() < events_max && self.batch.bytes() < bytes_max && lines < LINES_PER_TURN_MAX {
            let folder = &self.program.journal.folder;
            let Some(line) = reader.next_line().map_err(|error| journal_error(folder, &error))? else { break };
            lines += 1;
            match Head::parse(line).map(|head| head.class()) {
                Some(class) if self.settings.selection.has(class) => self.add(line, class)?,
                Some(_) => {}
                None => self.set_unreadable_aside(line, "it is no JSON object")?,
            }
        }
        Ok(lines)
    }

    fn read_seals(&mut self) -> Result<usize, SendError> {
        let mut seals = Vec::new();
        let read = self.seals.next(self.program.delivery.batch_events_max, |seal| {
            seals.push(seal.to_vec());
            Ok(())
        });
        read.map_err(|error| self.journal_failed(&error))?;
        for seal in &seals {
            match std::str::from_utf8(seal) {
                Ok(text) => self.add(&seal_event(text, &self.host), Class::Seals)?,
                // A disk altered it. That the seal is damaged, `vigie journal verify` says.
                Err(_) => self.set_unreadable_aside(seal, "it is no seal")?,
            }
        }
        Ok(seals.len())
    }

    /// Adds a line to the batch.
    fn add(&mut self, line: &[u8], class: Class) -> Result<(), SendError> {
        let encoding = self.settings.encoding;
        let encode = (encoding != Encoding::Eve).then_some(|out: &mut Vec<u8>| encoding.encode(line, out));
        match self.batch.push::<EncodeError>(line, class, encode) {
            Ok(()) => Ok(()),
            Err(error) => self.set_unreadable_aside(line, &error.to_string()),
        }
    }

    fn set_unreadable_aside(&self, line: &[u8], why: &str) -> Result<(), SendError> {
        let path = self.rejected.path().display();
        let kept = self.rejected.append(line);
        kept.map_err(|error| SendError::new(ErrorKind::State, format!("cannot write {path}: {}", plain(&error))))?;
        self.status.line_unreadable(&format!("a line of the journal is in {path} now, since {why}"));
        Ok(())
    }

    fn send(&mut self) -> Result<(), SendError> {
        if self.batch.waiting() == 0 {
            return Ok(());
        }
        let before = self.batch.acknowledged();
        let context = Context { stop: &self.stop, rejected: &self.rejected, status: &self.status };
        let sent = self.receiver.send(&mut self.batch, context);
        let events = self.batch.acknowledged() - before;
        if events > 0 {
            let bytes = self.batch.bytes() * events / self.batch.len().max(1);
            self.status.acknowledged(events, bytes);
        }
        sent
    }

    /// The receiver has the batch: the cursor moves.
    fn commit(&mut self) -> Result<(), SendError> {
        let lines = self.batch.len();
        self.batch.clear();
        self.status.set_oldest(None);
        let (Some((cursor, seals_offset)), Some(state)) = (self.after_batch.take(), &mut self.state) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut state.cursor, cursor);
        state.seals_offset = seals_offset;
        if self.resend_lines > 0 && lines > 0 {
            self.recent.push_back((before, lines));
            let mut total: usize = self.recent.iter().map(|(_, lines)| lines).sum();
            while let Some((_, first)) = self.recent.front()
                && total - first >= self.resend_lines
            {
                total -= first;
                self.recent.pop_front();
            }
            state.resend_from = self.recent.front().map(|(cursor, _)| cursor.clone());
        }
        self.is_saved = false;
        if self.saved_at.elapsed() >= SAVE_INTERVAL { self.save() } else { Ok(()) }
    }

    /// Saves how far the receiver is. What it has must be safe before.
    fn save(&mut self) -> Result<(), SendError> {
        let Some(state) = self.state.as_ref().filter(|_| !self.is_saved) else { return Ok(()) };
        self.receiver.sync()?;
        self.state_file.save(state).map_err(|error| {
            let SendError { message, .. } = SendError::file(self.state_file.path(), &error);
            SendError::new(ErrorKind::State, message)
        })?;
        self.is_saved = true;
        self.saved_at = Instant::now();
        Ok(())
    }

    fn fail(&mut self, error: &SendError) {
        self.status.failed(error);
        self.measure_lag();
        if error.kind == ErrorKind::Journal {
            self.forget_batch();
        }
        // Syslog acknowledges nothing: what the server had not processed when it went away is sent again.
        if error.is_broken && self.resend_lines > 0 {
            if let (Some(state), Some((from, _))) = (&mut self.state, self.recent.front()) {
                state.cursor = from.clone();
                self.is_saved = false;
            }
            self.recent.truncate(1);
            if let Some((_, lines)) = self.recent.front_mut() {
                *lines = 0;
            }
            self.forget_batch();
            if let Err(error) = self.save() {
                self.status.failed(&error);
            }
        }
    }

    /// What was read and not acknowledged is read again.
    fn forget_batch(&mut self) {
        self.batch.clear();
        self.after_batch = None;
        self.reader = None;
        self.seals.seek(self.state.as_ref().map_or(0, |state| state.seals_offset));
    }

    fn measure_lag(&mut self) {
        if self.lag_at.is_none_or(|at| at.elapsed() >= LAG_INTERVAL)
            && let Some(reader) = &self.reader
        {
            self.lag_at = Some(Instant::now());
            let lag = reader.lag();
            self.status.set_lag(lag.bytes, lag.lines + self.batch.waiting() as u64);
        }
    }
}

/// The journal cannot be read.
pub fn journal_error(folder: &std::path::Path, error: &impl std::error::Error) -> SendError {
    let message = match std::fs::read_dir(folder) {
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => format!(
            "there is no journal at {}; does vigie run here, with its journal in that folder (journal.folder)?",
            folder.display()
        ),
        Err(reason) if reason.kind() == io::ErrorKind::PermissionDenied => format!(
            "the journal at {} may not be read; put this program's user into the group that owns it",
            folder.display()
        ),
        _ => format!("the journal at {} cannot be read: {}", folder.display(), without_number(&error.to_string())),
    };
    SendError::new(ErrorKind::Journal, message)
}
