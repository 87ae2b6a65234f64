//! The definition of the command line, from which help, manual pages and completions are made. Commands with few
//! options define them in their own modules.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;

use super::generate::completions;
use crate::event::Fact;
use crate::settings::Limits;

/// Passive network sensor: recognises banned services by the names that TLS, QUIC and DNS show in clear text.
#[derive(Debug, Parser)]
#[command(
    name = "vigie",
    version = env!("BUILD_VERSION"),
    propagate_version = true,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 success; 1 found, with --fail-on-alert or --fail-on-incident; 64 wrong usage; 65 bad data; \
                  69 a file, interface or address is unavailable; 70 internal error; 78 wrong configuration or \
                  signatures; 130 'vigie read' or 'vigie judge' was interrupted."
)]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read captures and show which clients used which banned services.
    Read(ReadArguments),
    /// Judge the logs of Suricata, Zeek or others: which clients used which services, without a capture.
    Judge(super::judge::JudgeArguments),
    /// Capture on network interfaces and write alerts, until stopped.
    Run(super::run::RunArguments),
    /// Send the events of the journal to receivers (the program vigie-forward).
    Forward(super::beside::ProgramArguments),
    /// Serve pages about what was found (the program vigie-console).
    Console(super::beside::ProgramArguments),
    /// Show a running sensor in this terminal: rates, losses, coverage, incidents (the program vigie-top).
    Top(super::beside::ProgramArguments),
    /// Write a report of a period: coverage, and counts of incidents (the program vigie-console).
    Report(super::beside::ProgramArguments),
    /// Show a made-up day of a ministry in a browser, to see what this is.
    Demo(super::demo::DemoArguments),
    /// Show which signature matches a name, an address or a fingerprint, and what it means.
    Explain(ExplainArguments),
    /// List or check signatures.
    Signatures(SignaturesArguments),
    /// List bans, or show one: authority, dates, what it forbids on which devices.
    Bans(BansArguments),
    /// List, add or end derogations: who may use a banned service, from when until when.
    Derogation(super::derogation::DerogationArguments),
    /// Record what an incident turned out to be: confirmed, false or excused.
    Incident(super::incident::IncidentArguments),
    /// Verify the journal against its seals, or copy a span of time out of it.
    Journal(super::journal::JournalArguments),
    /// Show who is behind a pseudonym of an event, for a case; the audit tells it.
    Reveal(super::reveal::RevealArguments),
    /// Print the notice for the staff and the facts for impact assessment and register of processing.
    Privacy(super::privacy::PrivacyArguments),
    /// List the network interfaces, and offloads that disturb a capture.
    Interfaces(super::interfaces::InterfacesArguments),
    /// Load the XDP program of the shunt and of AF_XDP for a sensor that may not load it, as the service.
    Xdp(super::xdp::XdpArguments),
    /// Generate synthetic traffic from a seed, to test the sensor and taps.
    Synth(super::synth::SynthArguments),
    /// Check the configuration and what it needs, and show what would run.
    Check(super::check::CheckArguments),
    /// Print the default configuration, shell completions, manual pages, or the list of metrics.
    Generate(super::generate::GenerateArguments),
}

/// `vigie read`.
#[derive(Args, Debug)]
#[command(
    long_about = "Read captures and show which clients used which banned services.\n\nPrints a summary for people, or \
                  with --json or --output writes events. The same captures give the same events, byte for byte.",
    after_help = "Examples:\n  vigie read office.pcapng\n  vigie read --json 'ring/*.pcap.zst' | jq .alert.signature\n  \
                  vigie read --quiet --fail-on-incident phone.pcap && echo clean\n  \
                  tcpdump -i eth0 -w - | vigie read --json -"
)]
pub struct ReadArguments {
    /// Captures, or directories of them: pcap or pcapng, plain or compressed with gzip, zstd or lz4; `-` is the standard
    /// input. Patterns such as 'ring/*.pcap' are allowed. Several captures are read in the order of time.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Write events to the standard output as EVE JSON, one per line, instead of the summary.
    #[arg(long)]
    pub json: bool,

    /// Append events to this file as EVE JSON; `-` is the standard output. Implies --json.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Print only events: no summary, no warnings, no progress.
    #[arg(long, short)]
    pub quiet: bool,

    /// Exit with code 1 if there was an alert: a flow under an incident.
    #[arg(long)]
    pub fail_on_alert: bool,

    /// Exit with code 1 if there was an incident.
    #[arg(long)]
    pub fail_on_incident: bool,

    /// By which policy to judge.
    #[command(flatten)]
    pub policy: super::policy::PolicyArguments,

    /// Show every client in the story, however many there are.
    #[arg(long)]
    pub all: bool,

    /// List the names behind the story that may be missing in the signatures: hellos to prefixes of a known owner that name
    /// a host which no signature knows.
    #[arg(long)]
    pub candidates: bool,

    /// Event types to write, separated by commas; all but `alert` record the traffic of people whom no ban concerns
    /// [default: alert].
    ///
    /// `alert` writes incidents and the alerts that belong to them. `sighting` writes every flow that matched a signature,
    /// and every such name that was asked of DNS, whatever the policy and the verdict. PRIVACY: all types but `alert` and
    /// `sighting` record the traffic of EVERYBODY in the capture, with every name that was contacted, banned or not. Use
    /// them for tests and for captures of your own traffic.
    #[arg(long, value_name = "TYPES", value_enum, value_delimiter = ',', default_values_t = [EventType::Alert],
          hide_default_value = true)]
    pub events: Vec<EventType>,

    /// Read only packets that match this tcpdump filter expression, such as 'net 10.1.0.0/16 and not port 22'.
    #[arg(long, value_name = "EXPR")]
    pub bpf: Option<String>,

    /// Folder of signature files (*.toml) that add to and override the built-in signatures; may be repeated, later
    /// folders override earlier ones.
    #[arg(long, value_name = "DIR")]
    pub signatures: Vec<PathBuf>,

    /// Number of threads that read the captures together. The events are the same for any number.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = numbers::<u16>(1, 1024), allow_negative_numbers = true)]
    pub workers: u16,

    /// Set a limit; may be repeated. A wrong name lists all limits.
    #[arg(long = "limit", value_name = "NAME=NUMBER", value_parser = limit, add = ArgValueCompleter::new(completions::limits))]
    pub limits: Vec<(String, usize)>,

    /// Name of this sensor, written to events as `host`.
    #[arg(long, value_name = "NAME", env = "VIGIE_SENSOR_NAME", value_parser = sensor_name)]
    pub sensor_name: Option<String>,

    /// Show a progress bar on the terminal; `auto` shows it for captures above 64 MiB.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub progress: When,
}

/// Parses a number from `least` to `most`.
pub fn numbers<N>(least: N, most: N) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync
where
    N: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.replace('_', "").parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("write a number from {least} to {most}"))
    }
}

/// Parses the name of a sensor.
fn sensor_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().count() > 255 {
        return Err("write a name of 1 to 255 characters, here or in VIGIE_SENSOR_NAME".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses NAME=NUMBER.
fn limit(text: &str) -> Result<(String, usize), String> {
    let (name, number) = text.split_once('=').ok_or("write NAME=NUMBER, such as flows_max=100000")?;
    let number = number.replace('_', "").parse().map_err(|_| format!("\"{number}\" is not a number"))?;
    Limits::default().set(name, number).map(|()| (name.to_owned(), number))
}

/// `vigie explain`.
#[derive(Args, Debug)]
#[command(
    long_about = "Show which signature matches a name, an address or a fingerprint, what a match means, where the \
                  signature comes from, and whether it raises an alert or why not. A URL, a name with a port, '*.' or \
                  '[.]' in it is looked up by its host name. A service's key or name shows the service.",
    after_help = "Examples:\n  vigie explain api16-normal-c-useast1a.tiktokv.com\n  vigie explain 147.160.176.1\n  \
                  vigie explain 'hxxps://www[.]tiktok[.]com/'\n  vigie explain tiktok\n  \
                  zcat names.gz | vigie explain --json - > answers.json"
)]
pub struct ExplainArguments {
    /// Host name, URL, IP address, JA4 fingerprint or service; `-` reads them from the standard input, one per line.
    #[arg(required = true, value_name = "QUERY")]
    pub queries: Vec<String>,

    /// Print one JSON object per line: query, service, class, family, rule, sources, note, near misses and more; null
    /// where nothing matches.
    #[arg(long)]
    pub json: bool,

    /// Folder of signature files that add to and override the built-in signatures; may be repeated, later folders
    /// override earlier ones.
    #[arg(long, value_name = "DIR")]
    pub signatures: Vec<PathBuf>,
}

/// `vigie signatures`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct SignaturesArguments {
    /// The command.
    #[command(subcommand)]
    pub command: SignaturesCommand,
}

/// The commands on signatures.
#[derive(Debug, Subcommand)]
pub enum SignaturesCommand {
    /// List the services: rules by kind, how many raise alerts, signature ids, oldest review.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        /// Show which rules led to incidents that were decided: false ones first. Reads the audit and the events file of
        /// the configuration.
        #[arg(long, conflicts_with = "json")]
        by_disposition: bool,
        /// Configuration file, with --by-disposition [default: /etc/vigie/vigie.toml, if it exists].
        #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
        config: Option<PathBuf>,
        /// Folder of signature files that add to and override the built-in signatures; may be repeated.
        #[arg(long, value_name = "DIR")]
        signatures: Vec<PathBuf>,
    },
    /// Check signature files, and print file, line and correction of each finding.
    Verify {
        /// Folders of signature files, checked together with the built-in signatures; none: only those.
        #[arg(value_name = "DIR")]
        folders: Vec<PathBuf>,
    },
}

/// `vigie bans`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct BansArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: BansCommand,
}

/// What can be done with bans.
#[derive(Debug, Subcommand)]
pub enum BansCommand {
    /// List the bans: since when, in which form and state, and what they cover.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        /// File or folder of bans (*.toml) to use on top of the built-in bans; may be given several times.
        #[arg(long, value_name = "PATH")]
        bans: Vec<PathBuf>,
        /// Day for which the state is shown, such as 2023-12-31; without it today.
        #[arg(long, value_name = "DATE")]
        as_of: Option<String>,
    },
    /// Show all that is known of one ban.
    Show {
        /// Id, as the list has it.
        #[arg(value_name = "ID")]
        id: String,
        /// File or folder of bans (*.toml) to use on top of the built-in bans; may be given several times.
        #[arg(long, value_name = "PATH")]
        bans: Vec<PathBuf>,
        /// Day for which the state is shown, such as 2023-12-31; without it today.
        #[arg(long, value_name = "DATE")]
        as_of: Option<String>,
    },
}

/// Types of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventType {
    /// Incidents, and the flows that belong to them.
    Alert,
    /// Flows that matched any signature, whatever it says.
    Sighting,
    /// Every TLS and DTLS hello, with its name.
    Tls,
    /// Every QUIC hello, with its name.
    Quic,
    /// Every host that a flow's HTTP requests name.
    Http,
    /// Every DNS answer.
    Dns,
    /// The end of every flow, with its bytes.
    Flow,
}

impl EventType {
    /// The event type of a fact; none for what only judgement needs. Alerts come from judgement.
    pub const fn of(fact: &Fact) -> Option<Self> {
        use crate::event::HelloTransport::{Dtls, Quic, Tcp};
        Some(match fact {
            Fact::Sighting(_) | Fact::Question(_) => Self::Sighting,
            Fact::Hello(_, hello) => match hello.transport {
                Tcp | Dtls => Self::Tls,
                Quic(_) => Self::Quic,
            },
            Fact::Http(..) => Self::Http,
            Fact::Dns(..) => Self::Dns,
            Fact::FlowEnd(..) => Self::Flow,
            Fact::Candidate(..) | Fact::Clients(_) | Fact::FlowBytes(_) | Fact::Clock { .. } => return None,
        })
    }
}

/// When to show the progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// For big captures on a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace()).map(|arguments| arguments.command)
    }

    fn read(line: &str) -> ReadArguments {
        match parse(line).unwrap() {
            Command::Read(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn read_alone_writes_alerts_only() {
        let arguments = read("vigie read a.pcap -");
        assert_eq!(arguments.files, [PathBuf::from("a.pcap"), PathBuf::from("-")]);
        assert_eq!(arguments.events, [EventType::Alert]);
        assert!(!arguments.json && !arguments.quiet && !arguments.fail_on_alert);
        assert_eq!((arguments.output, arguments.bpf, arguments.workers), (None, None, 1));
        assert_eq!(arguments.progress, When::Auto);
    }

    #[test]
    fn read_with_all_options() {
        let arguments = read(
            "vigie read a b --json --output - --quiet --fail-on-alert --events alert,tls,quic,dns,flow --bpf tcp \
             --signatures x --signatures y --workers 4 --sensor-name tap --progress never",
        );
        use EventType::{Alert, Dns, Flow, Quic, Tls};
        assert_eq!(arguments.events, [Alert, Tls, Quic, Dns, Flow]);
        assert_eq!(arguments.signatures, [PathBuf::from("x"), PathBuf::from("y")]);
        assert_eq!((arguments.output, arguments.workers), (Some(PathBuf::from("-")), 4));
        assert_eq!((arguments.bpf.as_deref(), arguments.sensor_name.as_deref()), (Some("tcp"), Some("tap")));
        assert_eq!(arguments.progress, When::Never);
        assert!(arguments.json && arguments.quiet && arguments.fail_on_alert);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in [
            "vigie read",
            "vigie read a --workers 0",
            "vigie read a --workers many",
            "vigie read a --limit flows_max",
            "vigie read a --limit flows_max=few",
            "vigie read a --limit flows_max=1",
            "vigie read a --limit no_such=100",
            "vigie read a --events alert,smtp",
            "vigie read a --events=",
            "vigie read a --progress sometimes",
            "vigie read a --no-such",
            "vigie explain",
            "vigie signatures",
            "vigie signatures import",
            "vigie frobnicate",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn other_commands() {
        let Command::Explain(explain) = parse("vigie explain tiktok.com - --json --signatures s").unwrap() else {
            panic!("not explain");
        };
        assert_eq!((explain.queries.len(), explain.json, explain.signatures.len()), (2, true, 1));
        let Command::Signatures(signatures) = parse("vigie signatures list --json").unwrap() else {
            panic!("not signatures");
        };
        assert!(matches!(signatures.command, SignaturesCommand::List { json: true, .. }));
        let Command::Signatures(signatures) = parse("vigie signatures verify a b").unwrap() else {
            panic!("not signatures");
        };
        assert!(matches!(signatures.command, SignaturesCommand::Verify { folders } if folders.len() == 2));
    }

    #[test]
    fn help_warns_of_event_types_that_record_everybody() {
        let mut command = Arguments::command();
        let help = command.find_subcommand_mut("read").unwrap().render_long_help().to_string();
        assert!(help.contains("PRIVACY") && help.contains("EVERYBODY"), "{help}");
        assert!(help.contains("64 MiB") && help.contains("Examples:"), "{help}");
    }
}
