//! `vigie read` under a policy: captures in; incidents, the alerts that belong to them, and the story out.
//!
//! Sightings are put in the order of packet time before they are judged, as those of logs are. An alert is written for a
//! flow of a client and service with an open incident, also for those that led to it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use foldhash::fast::RandomState;
use vigie_capture::{CaptureError, Files, FilesOptions};
use vigie_journal::JsonLines;
use vigie_judgement::policy::Policy;
use vigie_judgement::{
    Answered, CaseKey, Client, Contact as Kind, Finding, Incident, IncidentChange, IncidentLimits, Incidents, Origin,
    Recogniser, Sighting, Step, Thresholds,
};
use vigie_signatures::{Clients, Name, Rule, normalise};

use super::{
    capture_failure, files_failure, inspected, limits, open, print_warnings, raise_file_limit, stop_on_interrupt,
};
use crate::cli::arguments::ReadArguments;
use crate::cli::bundle;
use crate::cli::exit::{Exit, Failure};
use crate::cli::judge::story::{Judged, Read, Story};
use crate::cli::summary::{Inspected, with_story};
use crate::cli::terminal::{Terminal, eprint, ignore_broken_pipe, print};
use crate::cli::words::counted;
use crate::event::{Alert, DnsAnswer, Event, Evidence, Fact, Flow};
use crate::judge::line::{Contact, FlowEnd, FlowKey, Record, What};
use crate::judge::{Contacts, Limits};
use crate::read::{self, Settings, Totals};
use crate::record::{self, Context, encode_incident};
use crate::worker::EventTypes;

/// Clients × services under observation at most.
const CASES_MAX: usize = 1 << 18;
/// Sightings of a client and service that wait for an incident at most: they are written when it opens.
const HELD_PER_CASE_MAX: usize = 64;
/// Sightings that wait for an incident at most.
const HELD_MAX: usize = 1 << 16;

/// Runs the command.
///
/// # Errors
/// Captures, signatures or the policy cannot be read, or events cannot be written.
pub fn run(arguments: &ReadArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let bundle = bundle::load(&arguments.signatures)?;
    let policy = arguments.policy.load(&bundle)?;
    let recogniser = Recogniser::new(Arc::clone(&bundle), Clients::builtin());
    let stop = stop_on_interrupt();
    let options = FilesOptions { filter: arguments.bpf.clone(), stop: Some(stop) };
    raise_file_limit();
    let mut source = Files::open(&arguments.files, &options).map_err(|error| capture_failure(&error))?;
    let target = arguments.output.as_deref().or(arguments.json.then_some(Path::new("-")));
    let context = Context {
        sensor_name: arguments.sensor_name.clone(),
        interfaces: Vec::new(),
        bundle: Some(Arc::clone(&bundle)),
        pseudonyms: None,
    };
    let mut judged = JudgedRead::new(&recogniser, &policy, context, target.map(open).transpose()?);
    let event_types = EventTypes { dns: true, flows: true, sightings: true, ..EventTypes::default() };
    let settings = Settings { event_types, limits: limits(&arguments.limits)? };
    let workers = usize::from(arguments.workers);
    let (totals, error) =
        read::read_parallel(workers, &mut source, &settings, &bundle, &mut |progress| judged.take_progress(progress));
    judged.finish();
    let inspected = inspected(arguments, &totals, error.as_ref());
    judged.print(arguments, &inspected, terminal)?;
    judged.outcome(arguments, target, &totals, error)
}

/// An incident, as far as an alert tells it.
#[derive(Clone)]
struct Under {
    incident: String,
    ban: String,
    scope: String,
    site: String,
}

impl Under {
    fn of(incident: &Incident) -> Self {
        let (id, ban) = (incident.id.clone(), incident.ban.id.clone());
        Self { incident: id, ban, scope: incident.scope.clone(), site: incident.site.clone() }
    }
}

/// What is written, and what waits for it.
struct Output {
    lines: Option<JsonLines<Box<dyn io::Write>>>,
    error: Option<io::Error>,
    context: Context,
    story: Story,
    /// Sightings by client and service that have no incident yet.
    held: HashMap<CaseKey, VecDeque<Event>, RandomState>,
    held_count: usize,
    held_left_out: u64,
    alerts: u64,
}

impl Output {
    fn finding(&mut self, finding: &Finding<'_>) {
        self.story.take(finding);
        if let Finding::Incident(change) = finding {
            self.incident(change);
        }
    }

    fn incident(&mut self, change: &IncidentChange<'_>) {
        let context = self.context.clone();
        self.line(|line| encode_incident(change, &context, line));
        if change.step != Step::Opened {
            return;
        }
        let key = &change.incident.key;
        let case = CaseKey { client: key.client.clone(), service: Arc::clone(&key.service) };
        let under = [Under::of(change.incident)];
        for event in self.held.remove(&case).unwrap_or_default() {
            self.held_count -= 1;
            self.alert(&event, &under);
        }
    }

    /// Writes a sighting as an alert under incidents.
    fn alert(&mut self, event: &Event, under: &[Under]) {
        self.alerts += 1;
        let (region, region_evidence) = match &event.fact {
            Fact::Alert(alert) | Fact::Sighting(alert) => alert.name.as_deref().and_then(vigie_judgement::region),
            _ => None,
        }
        .unwrap_or_default();
        let list = |of: fn(&Under) -> &String| {
            let texts = under.iter().map(of).filter(|text| !text.is_empty());
            texts.cloned().collect::<Vec<_>>()
        };
        let facts = [
            ("event_id", vec![record::sighting_id(event, &self.context)]),
            ("incident", list(|under| &under.incident)),
            ("ban", list(|under| &under.ban)),
            ("scope", list(|under| &under.scope)),
            ("site", list(|under| &under.site)),
            ("region", if region.is_empty() { Vec::new() } else { vec![region.to_owned()] }),
            ("region_evidence", if region.is_empty() { Vec::new() } else { vec![region_evidence.to_owned()] }),
        ];
        let context = self.context.clone();
        self.line(|line| record::encode_under(event, &context, &facts, line));
    }

    /// Keeps a sighting until its client and service have an incident.
    fn hold(&mut self, case: CaseKey, event: Event) {
        let of_case = self.held.entry(case).or_default();
        if of_case.len() >= HELD_PER_CASE_MAX {
            of_case.pop_front();
            self.held_count -= 1;
        }
        if self.held_count >= HELD_MAX {
            self.held_left_out += 1;
            return;
        }
        of_case.push_back(event);
        self.held_count += 1;
    }

    fn line(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if let (Some(lines), None) = (&mut self.lines, &self.error) {
            self.error = lines.add_line(encode).err();
        }
    }
}

/// A replay that is judged.
struct JudgedRead<'r> {
    recogniser: &'r Recogniser,
    policy: &'r Policy,
    contacts: Contacts<'r>,
    incidents: Incidents,
    /// Sightings whose turn has not come.
    waiting: HashMap<FlowKey, Event, RandomState>,
    output: Output,
}

impl<'r> JudgedRead<'r> {
    fn new(
        recogniser: &'r Recogniser,
        policy: &'r Policy,
        context: Context,
        lines: Option<JsonLines<Box<dyn io::Write>>>,
    ) -> Self {
        let output = Output {
            lines,
            error: None,
            context,
            story: Story::default(),
            held: HashMap::default(),
            held_count: 0,
            held_left_out: 0,
            alerts: 0,
        };
        Self {
            recogniser,
            policy,
            contacts: Contacts::new(Limits::default()),
            incidents: Incidents::new(Thresholds::default(), CASES_MAX, IncidentLimits::default()),
            waiting: HashMap::default(),
            output,
        }
    }

    fn take_progress(&mut self, progress: read::Progress<'_>) -> ControlFlow<()> {
        if self.output.context.interfaces.len() < progress.interfaces.len() {
            self.output.context.interfaces = progress.interfaces.to_vec();
        }
        for event in progress.events.drain(..) {
            self.take(event);
        }
        if self.output.error.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn take(&mut self, event: Event) {
        let logged_ns = event.timestamp_ns;
        let what = match &event.fact {
            Fact::Alert(alert) | Fact::Sighting(alert) => {
                self.contact(alert, logged_ns).map(Box::new).map(What::Contact)
            }
            Fact::Dns(flow, answer) => self.question(flow, answer, logged_ns).map(Box::new).map(What::Contact),
            Fact::FlowEnd(flow, ..) => Some(What::FlowEnd(flow_end(flow))),
            Fact::Hello(..) | Fact::Http(..) => None,
        };
        let Some(what) = what else { return };
        if let Fact::Alert(alert) | Fact::Sighting(alert) = &event.fact {
            self.waiting.insert(alert.flow.id.into(), event);
        }
        let Self { contacts, incidents, waiting, output, policy, recogniser } = self;
        contacts.take(Record { logged_ns, what }, &mut |sighting, flow| {
            judge(incidents, policy, recogniser, sighting, flow.and_then(|flow| waiting.remove(&flow)), output);
        });
    }

    /// The capture has ended: all that waits is judged, and all incidents close.
    fn finish(&mut self) {
        let Self { contacts, incidents, waiting, output, policy, recogniser } = self;
        let contacts = std::mem::replace(contacts, Contacts::new(Limits::default()));
        let counts = contacts.finish(&mut |sighting, flow| {
            judge(incidents, policy, recogniser, sighting, flow.and_then(|flow| waiting.remove(&flow)), output);
        });
        incidents.end(policy, recogniser.bundle(), &mut |finding| output.finding(&finding));
        if let (Some(lines), None) = (&mut output.lines, &output.error) {
            output.error = lines.flush().err();
        }
        for (number, what) in [
            (counts.hurried + counts.flows_forgotten, "contact was judged before the end of its flow: too many waited"),
            (incidents.cases_evicted(), "episode ended early: too many clients were under observation"),
            (incidents.evicted(), "incident was closed early: too many were open"),
            (output.held_left_out, "alert was not written: too many waited for an incident"),
        ] {
            if number > 0 {
                eprint(&format!("vigie: {}, {what}\n", counted(number, "time")));
            }
        }
    }

    fn contact(&self, alert: &Alert, time_ns: u64) -> Option<Contact<'r>> {
        let server = alert.flow.server.ip();
        let rule = self.recogniser.flow(alert.name.as_deref(), Some(server))?;
        let ja4 =
            alert.hello.as_ref().and_then(|hello| hello.ja4.as_ref()).map(vigie_handshake::tls::Ja4Raw::fingerprint);
        let ja4 = ja4.as_ref().map(|ja4| ja4.as_str()).unwrap_or_default();
        let is_cleartext = matches!(alert.evidence, Evidence::HttpHost);
        let contact = self.of_flow(&alert.flow, rule, alert.name.as_deref().unwrap_or_default(), time_ns)?;
        let stack = self.recogniser.stack(ja4, &contact.attribution.service, time_ns);
        Some(Contact { stack, is_cleartext, flow: Some(alert.flow.id.into()), ..contact })
    }

    /// A name that a client asked of DNS, and was answered.
    fn question(&self, flow: &Flow, answer: &DnsAnswer, time_ns: u64) -> Option<Contact<'r>> {
        let mut buffer = [0; 256];
        let Name::Host(host) = normalise(answer.question.as_bytes(), &mut buffer) else { return None };
        let rule = self.recogniser.question(host)?;
        let contact = self.of_flow(flow, rule, host, time_ns)?;
        Some(Contact { kind: Kind::DnsQuestion, ..contact })
    }

    fn of_flow(&self, flow: &Flow, rule: &'r Rule, name: &str, time_ns: u64) -> Option<Contact<'r>> {
        let client = flow.client.ip();
        let interface = self.output.context.interfaces.get(usize::from(flow.interface));
        let encapsulation = &flow.encapsulation;
        let vlans = encapsulation.vlans.get(..usize::from(encapsulation.vlan_count)).unwrap_or_default();
        Some(Contact {
            time_ns,
            client: Client::Address(client),
            origin: Origin {
                address: Some(client),
                mac: None,
                vlan: vlans.last().copied(),
                interface: interface.filter(|name| !name.is_empty()).map(|name| Arc::from(name.as_str())),
            },
            server: Some(flow.server.ip()),
            rule,
            attribution: self.recogniser.attribute(rule)?,
            name: name.into(),
            kind: Kind::Flow,
            stack: vigie_judgement::Stack::Other,
            answered: Answered::Unknown,
            bytes_to_client: 0,
            bytes_to_server: 0,
            is_cleartext: false,
            flow: None,
        })
    }

    /// Prints the story: to the standard output if no events go there, else to a terminal on the standard error.
    fn print(&self, arguments: &ReadArguments, inspected: &Inspected, terminal: Terminal) -> Result<(), Failure> {
        if arguments.quiet || self.output.error.is_some() {
            return Ok(());
        }
        let read = Read { words: inspected.volume(), is_complete: inspected.is_complete() };
        let by = arguments.policy.name();
        let judged = Judged { policy: self.policy, by, counts: self.incidents.counts(), read };
        let text = |style| with_story(inspected, &self.output.story.text(&judged, arguments.all, style), style);
        if self.output.lines.is_none() {
            return print(&text(terminal.stdout_style()));
        }
        if terminal.stderr {
            eprint(&text(terminal.stderr_style()));
        } else {
            print_warnings(inspected);
        }
        Ok(())
    }

    fn outcome(
        self,
        arguments: &ReadArguments,
        target: Option<&Path>,
        totals: &Totals,
        error: Option<CaptureError>,
    ) -> Result<Exit, Failure> {
        let Output { error: write_error, story, alerts, .. } = self.output;
        if let (Some(error), Some(target)) = (write_error, target) {
            match target.as_os_str() == "-" {
                true => ignore_broken_pipe(Err(error))?,
                false => return Err(Failure::write(&target.display().to_string(), &error)),
            }
        }
        let has_found = (arguments.fail_on_incident && story.has_incident()) || (arguments.fail_on_alert && alerts > 0);
        match error {
            Some(error) => Err(capture_failure(&error)),
            None if totals.source.is_stopped => Ok(Exit::Interrupted),
            None if !totals.source.failures.is_empty() => Err(files_failure(&totals.source)),
            None => Ok(if has_found { Exit::Found } else { Exit::Success }),
        }
    }
}

/// Judges a sighting. Its event is an alert if the client and service have an incident, or will have one.
fn judge(
    incidents: &mut Incidents,
    policy: &Policy,
    recogniser: &Recogniser,
    sighting: &Sighting<'_>,
    event: Option<Event>,
    output: &mut Output,
) {
    let client = incidents.sighting(policy, recogniser.bundle(), sighting, &mut |finding| {
        output.finding(&finding);
    });
    let (Some(client), Some(event)) = (client, event) else { return };
    let is_open = incidents.is_open(&client, sighting.service);
    let under: Vec<Under> =
        incidents.alert(&client, sighting.service, sighting.time_ns).into_iter().map(Under::of).collect();
    if !under.is_empty() {
        output.alert(&event, &under);
    } else if !is_open {
        output.hold(CaseKey { client, service: Arc::clone(sighting.service) }, event);
    }
}

fn flow_end(flow: &Flow) -> FlowEnd<'static> {
    FlowEnd {
        flow: flow.id.into(),
        start_ns: flow.first_seen_ns,
        end_ns: flow.last_seen_ns,
        bytes_to_client: flow.bytes_to_client,
        bytes_to_server: flow.bytes_to_server,
        answered: if flow.packets_to_client == 0 { Answered::No } else { Answered::Yes },
        nameless: None,
    }
}
