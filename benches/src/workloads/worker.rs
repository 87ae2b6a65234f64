//! Work of a whole worker: packets of settled flows, new flows, a capture from its file to its alerts, an alert's line.

use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrayvec::ArrayVec;
use vigie::event::{Event, Fact};
use vigie::read::{Settings, read};
use vigie::record::{self, Context};
use vigie::settings::Limits;
use vigie::worker::{Counter, EventTypes, Share, Worker};
use vigie_capture::{BATCH_FRAMES_MAX, Files, FilesOptions};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_signatures::Bundle;
use vigie_synth::{Profile, Traffic, pcap};
use vigie_wire::{Frame, LinkType};

use super::Workload;
use crate::ring::{self, Access, NOW_NS, Ring, settling_frame};
use crate::samples::{Kind, Sample, openings};

/// Frames of a batch.
pub type Batch<'a> = ArrayVec<Frame<'a>, BATCH_FRAMES_MAX>;

/// An empty worker with room for `flows` flows and a third more, so that none has to give way.
pub fn empty_worker(flows: u32) -> Worker {
    let limits = Limits { flows_max: table_flows(flows), ..Limits::default() };
    let names = Arc::new(AddressNames::new(address_names::Limits::default()));
    Worker::new(&limits, EventTypes::default(), Bundle::builtin(), names, HashKey::REPLAY, Share::ALL)
}

/// For how many flows the table of [`empty_worker`] is made.
pub fn table_flows(flows: u32) -> usize {
    (flows as usize * 4 / 3).max(64)
}

/// A worker that knows `flows` flows, all of them settled.
pub fn settled_worker(flows: u32, kind: ring::Kind) -> Worker {
    let mut worker = empty_worker(flows);
    for first in (0..flows).step_by(BATCH_FRAMES_MAX) {
        let frames: ArrayVec<Vec<u8>, BATCH_FRAMES_MAX> =
            (first..flows).take(BATCH_FRAMES_MAX).map(|flow| settling_frame(flow, kind)).collect();
        let frame = |data| {
            let wire_length = Vec::len(data) as u32;
            Frame { timestamp_ns: NOW_NS, number: 1, wire_length, link_type: LinkType::ETHERNET, interface: 0, data }
        };
        let batch: Batch<'_> = frames.iter().map(frame).collect();
        feed(&mut worker, &batch);
    }
    let counters = worker.counters();
    assert_eq!(counters.get(Counter::Flows), u64::from(flows));
    assert_eq!(counters.get(Counter::HellosTls) + counters.get(Counter::HellosDtls), u64::from(flows));
    worker
}

/// Gives a batch to a worker; what it tells is thrown away.
#[inline(never)]
pub fn feed(worker: &mut Worker, batch: &[Frame<'_>]) {
    worker.batch(batch, &mut |event| {
        black_box(event);
    });
}

/// Packets of a thousand settled flows.
pub struct Settled {
    ring: Ring,
    worker: Worker,
}

impl Settled {
    const FLOWS: u32 = 1_000;
    const FRAMES: usize = 1 << 14;

    /// All flows have their turn alike.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut ring = Ring::new(Self::FRAMES);
        ring.fill(Self::FLOWS, Access::Uniform, ring::Kind::Mixed);
        Self { ring, worker: settled_worker(Self::FLOWS, ring::Kind::Mixed) }
    }
}

impl Workload for Settled {
    fn operations(&self) -> u64 {
        self.ring.len() as u64
    }

    fn run(&mut self) {
        for first in (0..self.ring.len()).step_by(BATCH_FRAMES_MAX) {
            let batch: Batch<'_> = (first..first + BATCH_FRAMES_MAX).map(|place| self.ring.frame(place)).collect();
            feed(&mut self.worker, &batch);
        }
        assert_eq!(self.worker.counters().get(Counter::Flows), u64::from(Self::FLOWS), "every flow was known");
    }
}

/// Openings of flows, which are forgotten before each run.
pub struct NewFlows {
    samples: Vec<Sample>,
    flows: u64,
    worker: Worker,
    /// What says that all was told, and how often it says so in a run.
    told: (Counter, u64),
}

impl NewFlows {
    const FLOWS: usize = 2_048;
    /// Made with more labour.
    const QUIC_FLOWS: usize = 256;

    /// SYN, SYN and ACK, ACK, short hello.
    pub fn tls() -> Self {
        Self::of(Kind::Tls, Self::FLOWS, Counter::HellosTls)
    }

    /// SYN, SYN and ACK, ACK, post-quantum hello in two segments.
    pub fn tls_post_quantum() -> Self {
        Self::of(Kind::TlsPostQuantum, Self::FLOWS, Counter::HellosTls)
    }

    /// An Initial with a whole hello.
    pub fn quic() -> Self {
        Self::of(Kind::Quic, Self::QUIC_FLOWS, Counter::HellosQuic)
    }

    /// Three Initials with a hello.
    pub fn quic_three() -> Self {
        Self::of(Kind::QuicThree, Self::QUIC_FLOWS, Counter::HellosQuic)
    }

    /// Query and answer.
    pub fn dns() -> Self {
        Self::of(Kind::Dns, Self::FLOWS, Counter::DnsAnswers)
    }

    fn of(kind: Kind, count: usize, counter: Counter) -> Self {
        let openings = openings(kind, count, 0);
        // Two flows take turns, as do a few at a real tap.
        let mut samples = Vec::new();
        for pair in openings.chunks(2) {
            let longest = pair.iter().map(Vec::len).max().unwrap_or_default();
            for step in 0..longest {
                samples.extend(pair.iter().filter_map(|opening| opening.get(step).cloned()));
            }
        }
        samples.iter_mut().for_each(|sample| sample.timestamp_ns = NOW_NS);
        let flows = openings.len() as u64;
        Self { samples, flows, worker: empty_worker(count as u32 * 2), told: (counter, 0) }
    }
}

impl Workload for NewFlows {
    fn operations(&self) -> u64 {
        self.flows
    }

    fn prepare(&mut self) {
        self.worker.finish(&mut |event| {
            black_box(event);
        });
    }

    fn run(&mut self) {
        for samples in self.samples.chunks(BATCH_FRAMES_MAX) {
            let batch: Batch<'_> = samples.iter().map(Sample::frame).collect();
            feed(&mut self.worker, &batch);
        }
        self.told.1 += self.flows;
        assert_eq!(self.worker.counters().get(self.told.0), self.told.1, "all was told");
    }
}

/// Alerts as lines.
pub struct Encode {
    alerts: Vec<Event>,
    context: Context,
    out: Vec<u8>,
}

impl Encode {
    /// Alerts by hellos over TCP.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut worker = empty_worker(1_000);
        let mut alerts = Vec::new();
        for opening in openings(Kind::Tls, 128, 1) {
            for sample in &opening {
                worker.batch(&[sample.frame()], &mut |event| alerts.push(event));
            }
        }
        alerts.retain(|event| matches!(event.fact, Fact::Sighting(_)));
        assert_eq!(alerts.len(), 128);
        let context = Context { bundle: Some(Bundle::builtin()), ..Context::default() };
        Self { alerts, context, out: Vec::new() }
    }
}

impl Workload for Encode {
    fn operations(&self) -> u64 {
        self.alerts.len() as u64
    }

    fn run(&mut self) {
        for event in &self.alerts {
            self.out.clear();
            record::encode(black_box(event), &self.context, &mut self.out);
            assert!(self.out.len() > 500);
        }
    }
}

/// A capture, read from its file.
pub struct Read {
    file: PathBuf,
    packets: u64,
}

impl Read {
    const PACKETS: u64 = 50_000;

    /// One packet in 60 opens a flow.
    pub fn mixed() -> Self {
        Self::of(Profile::Mixed)
    }

    /// One packet in 17 does.
    pub fn handshakes() -> Self {
        Self::of(Profile::Handshakes)
    }

    fn of(profile: Profile) -> Self {
        let file = std::env::temp_dir().join(format!("vigie-bench-{}-{profile:?}.pcap", std::process::id()));
        let mut bytes = pcap::file_header().to_vec();
        let mut traffic = Traffic::new(vigie_synth::Settings { profile, ..vigie_synth::Settings::default() });
        let mut frame = Vec::new();
        for _ in 0..Self::PACKETS {
            let timestamp_ns = traffic.frame(&mut frame);
            bytes.extend(pcap::record_header(timestamp_ns, frame.len()));
            bytes.extend(&frame);
        }
        let mut target = std::fs::File::create(&file).expect("room for a capture");
        target.write_all(&bytes).expect("room for a capture");
        Self { file, packets: Self::PACKETS }
    }
}

impl Workload for Read {
    fn operations(&self) -> u64 {
        self.packets
    }

    fn run(&mut self) {
        let mut source = Files::open(&[&self.file], &FilesOptions::default()).expect("a capture");
        let mut alerts = 0;
        let settings = Settings::default();
        let totals = read(&mut source, &settings, Bundle::builtin(), &mut |event| {
            alerts += u64::from(matches!(event.fact, Fact::Sighting(_)));
        });
        assert_eq!(totals.expect("a whole capture").frames, self.packets);
        assert!(alerts > 0);
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
