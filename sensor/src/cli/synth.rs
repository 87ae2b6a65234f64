//! `vigie synth`: made-up traffic ([`vigie_synth`]) as a capture file.

mod ministry;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::arguments::numbers;
use super::exit::{Exit, Failure};
use super::terminal::{Terminal, eprint};
use vigie_synth::ministry::{CLIENTS_MAX, CLIENTS_MIN};
use vigie_synth::{Profile, Settings, Traffic, TrafficCounts, pcap};

/// `vigie synth`.
#[derive(Args, Debug)]
#[command(
    long_about = "Generate synthetic traffic of an organisation from a seed, byte for byte the same for the same seed, and \
                  write it as a capture: TLS 1.3 with short and post-quantum hellos, QUIC, DNS, HTTP and other packets, \
                  over IPv4 and IPv6, in flows of heavy-tailed lengths. A small share goes to names for which the \
                  built-in signatures raise alerts. Addresses are private or reserved for documentation and benchmarks, and \
                  encrypted payload is random.\n\nThe profile 'ministry' is another: a working day of a ministry, to check \
                  verdicts with. Beside the capture it writes truth.jsonl (who used which service), policy.toml and \
                  derogations.toml (to judge the day by).",
    after_help = "Examples:\n  vigie synth --packets 1000000 --output synth.pcap\n  \
                  vigie synth --bytes 1G --seed 7 --profile handshakes | vigie read -\n  \
                  vigie synth --profile ministry --output day/day.pcap\n  \
                  vigie read --policy day/policy.toml day/day.pcap"
)]
pub struct SynthArguments {
    /// Number of frames to write; a hello that is not complete by then is completed.
    #[arg(long, value_name = "N", conflicts_with = "bytes")]
    pub packets: Option<u64>,

    /// Size of the file, such as 500k, 64M or 2G; a hello that has begun by then is completed.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub bytes: Option<u64>,

    /// Seed; the same seed gives the same bytes.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,

    /// Approximate number of flows open at a time.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = numbers::<u32>(1, 10_000_000), allow_negative_numbers = true)]
    pub flows: u32,

    /// How often new flows begin.
    #[arg(long, value_name = "PROFILE", value_enum, default_value_t = ProfileName::Mixed)]
    pub profile: ProfileName,

    /// People of the profile 'ministry', guests among them; 5000 if not given.
    #[arg(long, value_name = "N", value_parser = numbers::<u32>(CLIENTS_MIN, CLIENTS_MAX))]
    pub clients: Option<u32>,

    /// Sets of names for the profile 'ministry', instead of drawn ones: JSON lines with `truth` (app, web or embed), `names`,
    /// and for app and web `service`.
    #[arg(long, value_name = "FILE")]
    pub names: Option<PathBuf>,

    /// File to write; `-` is the standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

/// The profiles as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// One packet in 17 opens a flow.
    Handshakes,
    /// One packet in 60 does.
    Mixed,
    /// One packet in 2000 does, once the flows are open.
    Settled,
    /// A working day of a ministry, with files that say what is true.
    Ministry,
}

/// Runs the command.
///
/// # Errors
/// Options do not fit the profile, the file cannot be written, or its bytes would go to a terminal.
pub fn run(arguments: &SynthArguments, terminal: Terminal) -> Result<Exit, Failure> {
    arguments.check()?;
    if arguments.profile == ProfileName::Ministry {
        return ministry::run(arguments);
    }
    if arguments.output != Path::new("-") {
        let name = arguments.output.display().to_string();
        let file = File::create(&arguments.output).map_err(|error| Failure::write(&name, &error))?;
        let made = write(arguments, BufWriter::with_capacity(1 << 20, file));
        eprint(&report(&made.map_err(|error| Failure::write(&name, &error))?));
        return Ok(Exit::Success);
    }
    if terminal.stdout {
        let what = "a capture cannot be printed on a terminal";
        return Err(Failure::new(Exit::Usage, what, "give --output FILE, or pipe it to a program"));
    }
    match write(arguments, BufWriter::with_capacity(1 << 16, io::stdout().lock())) {
        Ok(made) => eprint(&report(&made)),
        // A reader that closed its end of the pipe is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => return Err(Failure::write("the standard output", &error)),
    }
    Ok(Exit::Success)
}

impl SynthArguments {
    /// Options that do not fit the profile.
    fn check(&self) -> Result<(), Failure> {
        let is_ministry = self.profile == ProfileName::Ministry;
        let has_amount = self.packets.is_some() || self.bytes.is_some();
        let (what, mend) = if is_ministry && has_amount {
            (
                "the profile 'ministry' makes a whole day",
                "remove --packets and --bytes, or give --clients for a smaller one",
            )
        } else if !is_ministry && (self.clients.is_some() || self.names.is_some()) {
            ("--clients and --names are for the profile 'ministry'", "add --profile ministry")
        } else if !is_ministry && !has_amount {
            ("nothing says how much to write", "give --packets N or --bytes SIZE")
        } else {
            return Ok(());
        };
        Err(Failure::new(Exit::Usage, what, mend))
    }
}

fn write(arguments: &SynthArguments, mut target: impl Write) -> io::Result<TrafficCounts> {
    let profile = match arguments.profile {
        ProfileName::Handshakes => Profile::Handshakes,
        ProfileName::Mixed => Profile::Mixed,
        ProfileName::Settled | ProfileName::Ministry => Profile::Settled,
    };
    let settings = Settings { seed: arguments.seed, profile, flows: arguments.flows as usize, ..Settings::default() };
    let mut traffic = Traffic::new(settings);
    let mut frame = Vec::new();
    let header = pcap::file_header();
    target.write_all(&header)?;
    let mut written = header.len() as u64;
    let packets = arguments.packets.unwrap_or(u64::MAX);
    let bytes = arguments.bytes.unwrap_or(u64::MAX);
    loop {
        let is_enough = traffic.counts().frames >= packets || written >= bytes;
        let timestamp_ns =
            if is_enough { traffic.frame_of_unfinished_hello(&mut frame) } else { Some(traffic.frame(&mut frame)) };
        let Some(timestamp_ns) = timestamp_ns else { break };
        let header = pcap::record_header(timestamp_ns, frame.len());
        target.write_all(&header)?;
        target.write_all(&frame)?;
        written += (header.len() + frame.len()) as u64;
    }
    target.flush()?;
    Ok(*traffic.counts())
}

/// The counts of what was written, for checking a reader against them.
fn report(made: &TrafficCounts) -> String {
    format!(
        "wrote {} frames of {} bytes, {} flows: {} TLS and {} QUIC hellos ({} post-quantum), {} DNS answers, \
         {} HTTP hosts; {} of all these are banned\n",
        made.frames,
        made.bytes,
        made.flows,
        made.hellos_tls,
        made.hellos_quic,
        made.hellos_post_quantum,
        made.dns_answers,
        made.http_hosts,
        made.banned,
    )
}

/// A size in bytes, with an optional binary unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err("give a number, with k, M or G if needed".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "give a number, with k, M or G if needed".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "the size is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser;

    fn parse(line: &str) -> Result<SynthArguments, clap::Error> {
        match Arguments::try_parse_from(line.split(' '))?.command {
            Command::Synth(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn either_packets_or_bytes_are_given() {
        assert_eq!(parse("vigie synth").unwrap().check().unwrap_err().exit, Exit::Usage);
        assert!(parse("vigie synth --packets 3 --bytes 4").is_err());
        assert!(parse("vigie synth --bytes 4T").is_err());
        assert!(parse("vigie synth --packets 3 --flows 0").is_err());
        let arguments = parse("vigie synth --bytes 2M --profile settled").unwrap();
        assert_eq!((arguments.bytes, arguments.seed, arguments.profile), (Some(2 << 20), 1, ProfileName::Settled));
    }

    #[test]
    fn options_fit_the_profile() {
        for (line, fits) in [
            ("vigie synth --packets 3", true),
            ("vigie synth --packets 3 --clients 50", false),
            ("vigie synth --packets 3 --names sets.jsonl", false),
            ("vigie synth --profile ministry --packets 3", false),
            ("vigie synth --profile ministry --clients 50 --names sets.jsonl", true),
        ] {
            assert_eq!(parse(line).unwrap().check().is_ok(), fits, "{line}");
        }
    }

    #[test]
    fn files_have_the_requested_length_and_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("synth.pcap");
        let arguments = parse(&format!("vigie synth --packets 2000 --output {}", file.display())).unwrap();
        let terminal = Terminal::detect();
        assert_eq!(run(&arguments, terminal).unwrap(), Exit::Success);
        let length = std::fs::metadata(&file).unwrap().len();
        let mut source = vigie_capture::Files::open(&[&file], &Default::default()).unwrap();
        let (mut frames, mut bytes) = (0, 24);
        use vigie_capture::Source;
        while source
            .next_batch(&mut |batch| {
                frames += batch.len() as u64;
                bytes += batch.iter().map(|frame| 16 + frame.data.len() as u64).sum::<u64>();
            })
            .unwrap()
        {}
        assert_eq!(bytes, length);
        assert!((2_000..2_030).contains(&frames), "{frames}");
        assert!(source.statistics().warnings.is_empty());
    }

    #[test]
    fn the_report_is_one_line() {
        let made = write(&parse("vigie synth --bytes 100k").unwrap(), io::sink()).unwrap();
        let text = report(&made);
        assert!(text.starts_with(&format!("wrote {} frames", made.frames)) && text.ends_with('\n'), "{text}");
        assert!((90_000..120_000).contains(&made.bytes));
    }
}
