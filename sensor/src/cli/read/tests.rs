//! Events, errors and counts of a run. The tests of the whole sensor read whole captures.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use vigie_signatures::Class;

use super::*;
use crate::cli::arguments::When;
use crate::cli::findings::tests::{alert, flow, rule};
use crate::event::{Evidence, FlowEnd, Order};
use vigie_capture::Position;
use vigie_decode::Address;

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
    Run {
        lines: Some(JsonLines::new(Box::new(target.clone()))),
        context: Context::default(),
        events: events.to_vec(),
        findings: Findings::default(),
        waiting: Vec::new(),
        write_error: None,
        read_error: None,
        progress: Progress::start(When::Never, false, Position::default()),
    }
}

fn event(fact: Fact) -> Event {
    Event { timestamp_ns: 0, frame_number: 1, order: Order::default(), fact }
}

fn matched() -> Event {
    let mut flow = flow(Address::v4([10, 0, 0, 1]), 0);
    flow.interface = 1;
    event(Fact::Alert(Box::new(alert(flow, rule("tiktok", "TikTok", Class::Site), Evidence::TlsSni, "a"))))
}

fn ended() -> Event {
    let flow = flow(Address::v4([10, 0, 0, 1]), 0);
    event(Fact::FlowEnd(Box::new(flow), FlowEnd::Timeout, Some(Arc::new(rule("tiktok", "TikTok", Class::Site)))))
}

#[test]
fn only_the_selected_types_are_written() {
    for (events, types) in [
        (&[EventType::Alert][..], &["alert"][..]),
        (&[EventType::Flow], &["flow"]),
        (&[EventType::Flow, EventType::Alert], &["alert", "flow"]),
        (&[EventType::Dns], &[]),
    ] {
        let target = Target::default();
        let mut run = run_to(&target, events);
        run.add_event(matched());
        run.add_event(ended());
        run.finish();
        let text = String::from_utf8(target.0.take()).unwrap();
        let written: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(written.iter().map(|line| &line["event_type"]).collect::<Vec<_>>(), types);
        // The summary counts both in any case.
        assert_eq!((run.findings.alerts(), run.findings.sorted()[0].bytes_sent), (1, 1_500));
    }
}

/// Reports an alert three times, or until the run stops.
fn three_alerts(run: &mut Run) -> usize {
    let interfaces = [String::new(), "eth1".to_owned()];
    (0..3)
        .take_while(|_| {
            let progress =
                read::Progress { events: &mut vec![matched()], position: Position::default(), interfaces: &interfaces };
            run.take_progress(progress) == ControlFlow::Continue(())
        })
        .count()
}

#[test]
fn all_events_have_the_name_of_their_interface() {
    let target = Target::default();
    let mut run = run_to(&target, &[EventType::Alert]);
    assert_eq!(three_alerts(&mut run), 3);
    run.finish();
    let text = String::from_utf8(target.0.take()).unwrap();
    assert_eq!(text.matches(r#""in_iface":"eth1""#).count(), 3, "{text}");
    assert_eq!(run.outcome(None, false, &SourceStatistics::default()), Ok(Exit::Success));
}

#[test]
fn a_source_that_fails_midway_loses_no_event() {
    let target = Target::default();
    let mut run = run_to(&target, &[EventType::Alert]);
    assert_eq!(three_alerts(&mut run), 3);
    run.read_error = Some(CaptureError::NotACapture { file: "x.pcap".into(), seen: "rubbish".to_owned() });
    run.finish();
    assert_eq!(target.0.borrow().iter().filter(|&&byte| byte == b'\n').count(), 3);
    assert_eq!(run.outcome(None, true, &SourceStatistics::default()).unwrap_err().exit, Exit::BadData);
}

#[test]
fn reading_ends_when_events_cannot_be_written() {
    let refusing = |kind| {
        let mut run = run_to(&Target(Rc::default(), Some(kind)), &[EventType::Alert]);
        run.add_event(matched());
        run.finish();
        assert_eq!(three_alerts(&mut run), 0);
        run
    };
    let dash = Some(Path::new("-"));
    assert_eq!(
        refusing(io::ErrorKind::BrokenPipe).outcome(dash, false, &SourceStatistics::default()),
        Ok(Exit::Success)
    );
    assert_eq!(refusing(io::ErrorKind::BrokenPipe).outcome(dash, true, &SourceStatistics::default()), Ok(Exit::Found));
    assert_eq!(
        refusing(io::ErrorKind::StorageFull).outcome(dash, false, &SourceStatistics::default()).unwrap_err().exit,
        Exit::Unavailable
    );
    let file = Some(Path::new("events.json"));
    assert_eq!(
        refusing(io::ErrorKind::BrokenPipe).outcome(file, false, &SourceStatistics::default()).unwrap_err().exit,
        Exit::Unavailable
    );
}

#[test]
fn alerts_fail_the_command_only_on_request() {
    let outcome = |fail_on_alert| {
        let mut run = run_to(&Target::default(), &[]);
        run.add_event(matched());
        run.outcome(None, fail_on_alert, &SourceStatistics::default())
    };
    assert_eq!((outcome(false), outcome(true)), (Ok(Exit::Success), Ok(Exit::Found)));
    assert_eq!(run_to(&Target::default(), &[]).outcome(None, true, &SourceStatistics::default()), Ok(Exit::Success));
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
