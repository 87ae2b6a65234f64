//! Which directions a worker inserts into the shunt's table, by the order of packets within a batch. The table is the kernel's;
//! without the rights for that the tests say so and pass.

use std::sync::Arc;

use vigie::settings::Limits;
use vigie::worker::{Counter, EventTypes, Share, Worker};
use vigie_capture::live::shunt::measure::Measure;
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_signatures::Bundle;
use vigie_skip::skipped;
use vigie_tests::hello::{Hello, application_data};
use vigie_tests::known;
use vigie_tests::tape::frame;
use vigie_wire::Frame;

const START_NS: u64 = 1_795_219_200_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;

/// How many directions are inserted when a worker, which has seen a connection's opening, gets these frames in one batch, each
/// with its time after the opening.
fn inserted(batch: &[(u64, Vec<u8>)]) -> Option<u64> {
    let measure = match Measure::load(4_096) {
        Ok(measure) => measure,
        Err(error) => {
            skipped(format_args!("the XDP program cannot be loaded: {error}"));
            return None;
        }
    };
    let names = Arc::new(AddressNames::new(address_names::Limits::default()));
    let (limits, bundle) = (Limits::default(), Bundle::builtin());
    let mut worker = Worker::new(&limits, EventTypes::default(), bundle, names, HashKey::REPLAY, Share::ALL);
    worker.use_shunt(measure.table());
    let hello = Hello::to("www.example.org").record();
    let mut opening = known::connection(1).saying(&hello);
    opening.push(known::connection(1).from_server_acknowledging(0, hello.len(), &application_data(40)));
    let frames: Vec<Frame<'_>> = opening.iter().map(|data| frame(START_NS, 1, data)).collect();
    worker.batch(&frames, &mut |_| ());
    assert_eq!(worker.counters().get(Counter::ShuntInserted), 0);
    let frames: Vec<Frame<'_>> = batch.iter().map(|(after_ns, data)| frame(START_NS + after_ns, 2, data)).collect();
    worker.batch(&frames, &mut |_| ());
    Some(worker.counters().get(Counter::ShuntInserted))
}

fn data(number: usize) -> Vec<u8> {
    known::connection(number).from_client(10_000, &application_data(400))
}

#[test]
fn both_directions_of_a_settled_flow_are_inserted_once() {
    let answer = known::connection(1).from_server(10_000, &application_data(400));
    let batch = [data(1), data(1), answer, data(1)].map(|data| (MILLISECOND_NS, data));
    let Some(inserted) = inserted(&batch) else { return };
    assert_eq!(inserted, 2);
}

#[test]
fn a_flow_that_times_out_in_the_same_batch_is_not_inserted() {
    let idle_ns = Limits::default().idle_timeout_s as u64 * 1_000_000_000;
    let Some(inserted) = inserted(&[(MILLISECOND_NS, data(1)), (3 * idle_ns, data(2))]) else { return };
    assert_eq!(inserted, 0);
}

#[test]
fn a_connection_that_begins_anew_in_the_same_batch_is_not_inserted() {
    let anew = known::connection(1).isn(5_000_000).syn();
    let Some(inserted) = inserted(&[(MILLISECOND_NS, data(1)), (2 * MILLISECOND_NS, anew)]) else { return };
    assert_eq!(inserted, 0);
}
