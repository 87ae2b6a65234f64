//! Events, errors and counts of a run. The tests of the whole sensor read whole captures.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use clap::Parser;

use super::*;
use crate::cli::arguments::{Arguments, Command, When};
use crate::event::{Event, Fact, Flow, FlowEnd};
use crate::judging::tests::{event_at, sighting_at};
use crate::privacy::Privacy;
use vigie_capture::Position;
use vigie_judgement::policy::Policy;
use vigie_signatures::Bundle;

/// A moment at which the French ban and the watch are in use.
const START_NS: u64 = 1_795_298_705_000_000_000;

/// A target whose bytes can be inspected, and that may refuse them.
#[derive(Clone, Default)]
struct Target(Rc<RefCell<Vec<u8>>>, Option<io::ErrorKind>);

impl io::Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.1 {
            Some(kind) => Err(kind.into()),
            None => {
                self.0.borrow_mut().extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run_to(target: &Target, events: &[EventType]) -> Run {
    let (lines, bundle) = (JsonLines::new(Box::new(target.clone()) as Box<dyn io::Write>), Bundle::builtin());
    Run {
        judging: Judging::new(bundle, Arc::new(Policy::builtin()), judging::Limits::default()),
        output: EventOutput::new(Some(lines), Context::default(), events, &Privacy::default()),
        read_error: None,
        progress: Progress::start(When::Never, false, Position::default()),
    }
}

fn event(seconds: u64, fact: Fact) -> Event {
    event_at(START_NS + seconds * 1_000_000_000, fact)
}

fn flow(id: u64) -> Flow {
    Flow { interface: 1, first_seen_ns: START_NS, last_seen_ns: START_NS, ..judging::tests::flow(id, 4_096) }
}

fn sighted(id: u64, name: &str) -> Event {
    sighting_at(START_NS + id * 1_000_000_000, flow(id), name)
}

/// The application of TikTok: two of its interfaces.
fn application() -> [Event; 2] {
    [sighted(1, "tnc16-platform-useast1a.tiktokv.com"), sighted(2, "api16-normal-useast1a.tiktokv.com")]
}

/// A page that embeds a pixel.
fn pixel() -> Event {
    sighted(3, "analytics.tiktok.com")
}

fn take(run: &mut Run, mut events: Vec<Event>) -> ControlFlow<()> {
    let interfaces = [String::new(), "eth1".to_owned()];
    run.take_progress(read::Progress { events: &mut events, position: Position::default(), interfaces: &interfaces })
}

fn written(target: &Target) -> Vec<serde_json::Value> {
    let text = String::from_utf8(target.0.take()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn only_the_selected_types_are_written() {
    let ended = || event(60, Fact::FlowEnd(Box::new(flow(1)), FlowEnd::Timeout, None));
    for (events, types) in [
        // The incident opens and closes; the pixel belongs to it, too.
        (&[EventType::Alert][..], &["alert 7", "alert 1", "alert 1", "alert 1", "alert 7"][..]),
        (&[EventType::Sighting], &["alert 1", "alert 1", "alert 1"]),
        (&[EventType::Flow], &["flow 0"]),
        (&[EventType::Dns], &[]),
    ] {
        let target = Target::default();
        let mut run = run_to(&target, events);
        let all = application().into_iter().chain([pixel(), ended()]).collect();
        assert!(take(&mut run, all).is_continue());
        run.finish();
        let line = |line: &serde_json::Value| {
            format!("{} {}", line["event_type"].as_str().unwrap(), line["alert"]["gid"].as_u64().unwrap_or_default())
        };
        assert_eq!(written(&target).iter().map(line).collect::<Vec<_>>(), types);
        // The story has it in any case.
        assert!(run.output.story.has_incident());
        assert_eq!(run.output.alerts, 3);
    }
}

#[test]
fn all_events_have_the_name_of_their_interface() {
    let target = Target::default();
    let mut run = run_to(&target, &[EventType::Sighting]);
    assert!(take(&mut run, application().into()).is_continue());
    run.finish();
    assert!(written(&target).iter().all(|line| line["in_iface"] == "eth1"));
}

#[test]
fn a_source_that_fails_midway_loses_no_event() {
    let target = Target::default();
    let mut run = run_to(&target, &[EventType::Alert]);
    assert!(take(&mut run, application().into()).is_continue());
    run.read_error = Some(CaptureError::NotACapture { file: "x.pcap".into(), seen: "rubbish".to_owned() });
    run.finish();
    assert_eq!(written(&target).len(), 4);
    assert_eq!(outcome(run, None, "--fail-on-alert").unwrap_err().exit, Exit::BadData);
}

fn outcome(run: Run, target: Option<&Path>, option: &str) -> Result<Exit, Failure> {
    let line = ["vigie", "read", "a.pcap", "--quiet", option];
    let Command::Read(arguments) = Arguments::try_parse_from(line).unwrap().command else { panic!() };
    run.outcome(target, &arguments, &SourceStatistics::default())
}

#[test]
fn reading_ends_when_events_cannot_be_written() {
    let refusing = |kind| {
        let mut run = run_to(&Target(Rc::default(), Some(kind)), &[EventType::Alert]);
        assert!(take(&mut run, application().into()).is_continue());
        run.finish();
        assert!(take(&mut run, vec![pixel()]).is_break());
        run
    };
    let (dash, file) = (Some(Path::new("-")), Some(Path::new("events.json")));
    let fails = |kind, target, option| outcome(refusing(kind), target, option);
    assert_eq!(fails(io::ErrorKind::BrokenPipe, dash, "--json"), Ok(Exit::Success));
    assert_eq!(fails(io::ErrorKind::BrokenPipe, dash, "--fail-on-alert"), Ok(Exit::Found));
    assert_eq!(fails(io::ErrorKind::StorageFull, dash, "--json").unwrap_err().exit, Exit::Unavailable);
    assert_eq!(fails(io::ErrorKind::BrokenPipe, file, "--json").unwrap_err().exit, Exit::Unavailable);
}

#[test]
fn what_is_found_fails_the_command_only_on_request() {
    let found = |events: Vec<Event>, option: &str| {
        let mut run = run_to(&Target::default(), &[]);
        assert!(take(&mut run, events).is_continue());
        run.finish();
        outcome(run, None, option)
    };
    assert_eq!(found(application().into(), "--json"), Ok(Exit::Success));
    for option in ["--fail-on-alert", "--fail-on-incident"] {
        assert_eq!(found(application().into(), option), Ok(Exit::Found), "{option}");
        assert_eq!(found(vec![pixel()], option), Ok(Exit::Success), "{option}");
    }
}

#[test]
fn counters_of_trouble_are_shown() {
    for (family, reason, good) in [
        ("capture", "frames", true),
        ("hello", "quic", true),
        ("hello_tls", "ech", true),
        ("hello_quic", "incomplete", false),
        ("flow", "evicted", false),
        ("limit", "records_max", false),
        ("decode_error", "not-ip", true),
        ("decode_error", "ip-truncated", false),
        ("quic", "keys_derived", true),
        ("quic", "open_failures", false),
        ("fragment", "seen", true),
        ("fragment", "timed_out", false),
        ("something", "new", false),
    ] {
        assert_eq!(counts_what_was_read(family, reason), good, "{family} {reason}");
    }
}

#[test]
fn capture_errors_have_their_exit_codes() {
    let io = |kind: io::ErrorKind| CaptureError::Io { file: "x".into(), source: kind.into() };
    for (error, exit) in [
        (io(io::ErrorKind::NotFound), Exit::Unavailable),
        (io(io::ErrorKind::PermissionDenied), Exit::Unavailable),
        (CaptureError::NotACapture { file: "x".into(), seen: "text".to_owned() }, Exit::BadData),
        (CaptureError::LinkType { file: "x".into(), number: 147, name: "USER0" }, Exit::BadData),
        (CaptureError::Pattern { pattern: "*.p".to_owned(), reason: "nothing".to_owned() }, Exit::Unavailable),
        (
            CaptureError::Filter { expression: "nto".to_owned(), link_type: "EN10MB", reason: "syntax".to_owned() },
            Exit::Usage,
        ),
    ] {
        let failure = capture_failure(&error);
        assert_eq!((failure.exit, failure.mend.is_empty()), (exit, false), "{failure}");
    }
}
