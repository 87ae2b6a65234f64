//! The same traffic by packet sockets and by AF_XDP, each with and without the shunt, and read from a capture that tcpdump wrote
//! meanwhile: sightings, incidents, and the packets and bytes of each flow are equal. Without the rights for that the test says
//! so and passes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use vigie_tests::daemon::{Daemon, Folder, PATIENCE, Running, binary, has, is_sighting, until};
use vigie_tests::hello::Hello;
use vigie_tests::live::{talk, tapped};
use vigie_tests::network::{Namespace, Sender};
use vigie_tests::packets::SERVER;
use vigie_tests::tcp::Connection;

/// How packets come up, and the shunt.
const WAYS: [(&str, &str); 5] = [("ring", "off"), ("ring", "drop"), ("ring", "pass"), ("xdp", "off"), ("xdp", "drop")];
const POLICY: &str = "[[ban]]\nuse = \"be-federal\"\n";
/// Long enough for frames to reach the worker, and for their flows to be inserted.
const SETTLING: Duration = Duration::from_millis(150);
const TALKS: usize = 3;
const TALK_PACKETS: usize = 8;

/// What each device says, one connection for each name, in this order.
const DEVICES: [&[&str]; 6] = [
    &["tnc16-normal-no1a.tiktokv.eu", "frontier.tiktokv-eu.com"],
    &["www.tiktok.com", "webcast.tiktok.com", "im-api.tiktok.com"],
    // Only what pages embed.
    &["analytics.tiktok.com"],
    &["www.example.org", "www.example.com"],
    // A web site first, the app later.
    &["www.tiktok.com", "webcast.tiktok.com", "tnc16-normal-no1a.tiktokv.eu", "frontier.tiktokv-eu.com"],
    // No ban covers it.
    &["www.capcut.com"],
];

#[test]
fn sightings_incidents_and_flows_are_the_same_by_each_way_and_read() {
    if !has("tcpdump") {
        return;
    }
    let mut all = Vec::new();
    for (backend, shunt) in WAYS {
        let Some((live, read)) = by(backend, shunt) else { return };
        assert_eq!(live, read, "{backend}, shunt {shunt}: live, and read");
        all.push(live);
    }
    assert!(all.iter().all(|told| *told == all[0]), "{all:?}");
    let told = &all[0];
    let of = |state: &str, verdict: &str| {
        told.incidents.iter().filter(|incident| incident[1] == state && incident[2] == verdict).count()
    };
    println!(
        "{} sightings, {} events of incidents, {} flows",
        told.sightings.len(),
        told.incidents.len(),
        told.flows.len()
    );
    assert_eq!((of("opened", "app"), of("opened", "web"), of("risen", "app")), (1, 2, 1));
    assert!(told.sightings.len() > 10);
}

/// What was told of the traffic, without times, numbers and secrets of a run, in an order of its own.
#[derive(Debug, PartialEq)]
struct Told {
    sightings: Vec<Value>,
    /// Client, state, verdict, and what else is told of an incident when it opens or rises.
    incidents: Vec<Value>,
    /// Client, ports, packets and bytes.
    flows: Vec<Value>,
}

impl Told {
    fn of(events: &[Value]) -> Self {
        let sorted = |mut values: Vec<Value>| {
            values.sort_by_key(Value::to_string);
            values
        };
        let is_of = |gid: u64| move |event: &&Value| event["alert"]["gid"] == gid;
        let sightings = events.iter().filter(|event| is_sighting(event)).map(|event| {
            json!([event["src_ip"], event["src_port"], event["dest_port"], event["proto"], event["alert"]["metadata"]])
        });
        // A running sensor does not close what goes on when it stops: the next one continues it.
        let goes_on = |event: &&Value| event["alert"]["metadata"]["incident_state"][0] != "closed";
        let incidents = events.iter().filter(is_of(7)).filter(goes_on).map(|event| {
            let mut metadata = event["alert"]["metadata"].clone();
            let first = |key: &str| metadata[key][0].clone();
            let (client, state, verdict) = (first("client"), first("incident_state"), first("verdict"));
            let fields = metadata.as_object_mut().unwrap();
            fields.retain(|name, _| !["event_id", "incident"].contains(&name.as_str()));
            json!([
                client,
                state,
                verdict,
                event["alert"]["severity"],
                metadata,
                event["alert"]["context"]["vigie"]["flows"]
            ])
        });
        let flows = events.iter().filter(|event| event["event_type"] == "flow").map(|event| {
            let flow = &event["flow"];
            let totals = ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"].map(|name| &flow[name]);
            json!([event["src_ip"], event["src_port"], event["dest_port"], event["proto"], totals])
        });
        Self {
            sightings: sorted(sightings.collect()),
            incidents: sorted(incidents.collect()),
            flows: sorted(flows.collect()),
        }
    }
}

/// What a running sensor tells of the traffic, and what is read of it.
fn by(backend: &str, shunt: &str) -> Option<(Told, Told)> {
    let namespace = tapped(backend == "xdp")?;
    let folder = Folder::new();
    folder.write("policy.toml", POLICY);
    let (capture, policy) = (folder.text_path("sent.pcap"), folder.text_path("policy.toml"));
    let mut tcpdump = record(&namespace, &folder, &capture);
    let settings = [format!("capture.backend={backend}"), format!("capture.shunt={shunt}")];
    let mut arguments = vec!["-i", "tap0", "--workers", "1", "--config", &policy];
    for setting in settings.iter().map(String::as_str).chain(["events.types=[\"alert\", \"sighting\", \"flow\"]"]) {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(["--set", "privacy.debug_until=2100-01-01"]);
    let daemon = Daemon::start(&namespace, &folder, &arguments);
    let sent = send(&namespace);
    let scrape = daemon.scrape_until(&namespace, "all packets", |scrape| {
        let (packets, drops) = scrape.packets_and_drops();
        packets + drops + scrape.sum("vigie_shunt_packets_total", &[]) >= sent
    });
    let shunted = scrape.sum("vigie_shunt_packets_total", &[]);
    assert_eq!(scrape.packets_and_drops(), (sent - shunted, 0), "{sent} sent, {shunted} shunted");
    assert_eq!(shunted > sent / 3, shunt != "off", "{shunted} of {sent}");
    daemon.stop();
    namespace.run(&format!("kill -INT {}", tcpdump.0.id()));
    tcpdump.0.wait().unwrap();
    let live = Told::of(&folder.events_of("eve.json"));
    let types = ["read", "--json", "--events", "alert,sighting,flow", "--policy", &policy, &capture];
    let read = Command::new(binary()).args(types).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read = String::from_utf8(read.stdout).unwrap();
    let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Some((live, Told::of(&read)))
}

/// Has tcpdump write what is sent.
fn record(namespace: &Namespace, folder: &Folder, capture: &str) -> Running {
    let log = File::create(folder.path("tcpdump.log")).unwrap();
    let mut command = namespace.command("tcpdump");
    command.args(["-i", "out0", "-n", "-U", "--immediate-mode", "-Z", "root", "-B", "65536", "-w", capture]);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let running = Running(command.spawn().unwrap());
    let is_listening =
        || fs::read_to_string(folder.path("tcpdump.log")).unwrap().contains("listening on").then_some(());
    until("tcpdump", PATIENCE, is_listening);
    running
}

/// Sends the traffic, no faster than it can arrive: how many packets there are.
fn send(namespace: &Namespace) -> u64 {
    let mut sent = 0;
    let mut send = |frames: Vec<Vec<u8>>| {
        namespace.inside(|| Sender::new("out0").send_in_bursts(&frames));
        sent += frames.len() as u64;
        thread::sleep(SETTLING);
    };
    let client = |device: usize, number: usize| {
        let address = Ipv4Addr::new(10, 1, 0, 11 + u8::try_from(device).unwrap());
        SocketAddr::new(address.into(), 41_000 + u16::try_from(number).unwrap())
    };
    let mut open: Vec<Connection> = Vec::new();
    for number in 0..DEVICES.iter().map(|names| names.len()).max().unwrap() {
        let named = DEVICES.iter().enumerate().filter_map(|(device, names)| Some((device, names.get(number)?)));
        for (device, name) in named {
            let connection = Connection::between(client(device, number), SERVER);
            send(connection.saying(&Hello::to(name).record()));
            open.push(connection);
        }
        for _ in 0..TALKS {
            send(open.iter().flat_map(|connection| talk(connection, TALK_PACKETS)).collect());
        }
    }
    // The first device's connections end, and begin anew with the same ports.
    send((0..2).map(|number| Connection::between(client(0, number), SERVER).fin(90_000)).collect());
    for (number, name) in DEVICES[0].iter().enumerate() {
        let anew = Connection::between(client(0, number), SERVER).isn(5_000_000);
        send(anew.saying(&Hello::to(name).record()));
        send(talk(&anew, TALK_PACKETS));
    }
    sent
}
