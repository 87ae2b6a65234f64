//! Where the events of a replay go: lines of EVE, and the story.

use std::io;
use std::sync::Arc;

use vigie_journal::JsonLines;
use vigie_judgement::{Finding, Sighting};

use crate::cli::arguments::EventType;
use crate::cli::judge::story::Story;
use crate::event::Event;
use crate::judging::Output;
use crate::privacy::{Privacy, Rotation};
use crate::record::{self, Context, Under, encode_incident};
use crate::text::interface_name;

/// Lines of EVE.
type Lines = JsonLines<Box<dyn io::Write>>;

/// Writes events, and keeps what the story tells.
pub struct EventOutput {
    lines: Option<Lines>,
    context: Context,
    events: Vec<EventType>,
    /// What is found.
    pub story: Story,
    /// Why events cannot be written.
    pub error: Option<io::Error>,
    /// Sightings under incidents.
    pub alerts: u64,
}

impl EventOutput {
    /// Writes events of these types, if there are lines to write to.
    pub fn new(lines: Option<Lines>, context: Context, events: &[EventType], privacy: &Privacy) -> Self {
        let mut story = Story::default();
        story.use_privacy(privacy);
        Self { lines, context, events: events.to_vec(), story, error: None, alerts: 0 }
    }

    /// Whether events are written.
    pub const fn is_open(&self) -> bool {
        self.lines.is_some()
    }

    /// Takes over names of interfaces that were met since.
    pub fn use_interfaces(&mut self, names: &[String]) {
        if self.context.interfaces.len() < names.len() {
            self.context.interfaces = names.iter().map(|name| interface_name(name)).collect();
        }
    }

    /// Writes an event as it is, if events of its type are wanted.
    pub fn write(&mut self, event: &Event) {
        if EventType::of(&event.fact).is_some_and(|event_type| self.events.contains(&event_type)) {
            self.line(|context, line| record::encode(event, context, line));
        }
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) {
        if let (Some(lines), None) = (&mut self.lines, &self.error) {
            self.error = lines.flush().err();
        }
    }

    /// Writes a line. After a failure nothing is written any more.
    fn line(&mut self, encode: impl FnOnce(&Context, &mut Vec<u8>)) {
        if let (Some(lines), None) = (&mut self.lines, &self.error) {
            self.error = lines.add_line(|line| encode(&self.context, line)).err();
        }
    }
}

impl Output for EventOutput {
    fn finding(&mut self, finding: &Finding<'_>) {
        self.story.take(finding);
        if let Finding::Incident(change) = finding
            && self.events.contains(&EventType::Alert)
        {
            self.line(|context, line| encode_incident(change, None, context, line));
        }
    }

    fn judged(&mut self, _: &Sighting<'_>) {}

    fn use_pseudonyms(&mut self, privacy: &Privacy, _: Rotation) {
        self.context.pseudonyms = privacy.pseudonyms().map(Arc::clone);
        self.story.use_privacy(privacy);
    }

    fn alert(&mut self, sighting: &Event, under: &[Under]) {
        self.alerts += 1;
        if self.events.contains(&EventType::Alert) {
            self.line(|context, line| record::encode_alert(sighting, context, under, line));
        }
    }
}
