//! A broker of Kafka: the program `tansu`, which `VIGIE_TANSU` names.

use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::{Running, free_port, until, until_listens};

/// Longest wait for a message.
const SILENCE_MAX: Duration = Duration::from_secs(20);

pub struct Broker {
    pub port: u16,
    /// Where it says that it is.
    advertised: u16,
    program: String,
    running: Option<Running>,
}

impl Broker {
    /// A broker that does not run yet. `None`, and a line that says why, where there is no program.
    pub fn unstarted() -> Option<Self> {
        match env::var("VIGIE_TANSU") {
            Ok(program) => {
                let port = free_port();
                Some(Self { port, advertised: port, program, running: None })
            }
            Err(_) => {
                vigie_skip::skipped("there is no broker of Kafka; tests/kafka installs one");
                None
            }
        }
    }

    pub fn start() -> Option<Self> {
        let mut broker = Self::unstarted()?;
        broker.run(&[]);
        Some(broker)
    }

    pub fn run(&mut self, arguments: &[&str]) {
        let mut command = Command::new(&self.program);
        let (port, advertised) = (self.port, self.advertised);
        command.arg("broker").arg("--listener-url").arg(format!("tcp://127.0.0.1:{port}"));
        command.arg("--advertised-listener-url").arg(format!("tcp://localhost:{advertised}")).args(arguments);
        self.running = Some(Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()));
        until_listens(port);
    }

    /// Has it say that it is at another port.
    pub const fn advertise(&mut self, port: u16) {
        self.advertised = port;
    }

    pub fn signal(&self, name: &str) {
        self.running.as_ref().unwrap().signal(name);
    }

    pub fn create(&self, topic: &str, partitions: u32) {
        create_at(&format!("127.0.0.1:{}", self.port), topic, partitions);
    }
}

/// Creates a topic.
pub fn create_at(server: &str, topic: &str, partitions: u32) {
    let (program, broker) = (env::var("VIGIE_TANSU").unwrap(), format!("tcp://{server}"));
    until(&format!("topic {topic}"), || {
        let mut command = Command::new(&program);
        command.args(["topic", "create", "--broker", &broker, "--partitions", &partitions.to_string(), topic]);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        status.success().then_some(())
    });
}

/// Keys and payloads of a topic, partition by partition in order: at least `count`, unless none comes for a while.
pub fn consume(port: u16, topic: &str, partitions: i32, count: usize) -> Vec<(String, String)> {
    consume_at(&format!("localhost:{port}"), topic, partitions, count, SILENCE_MAX)
}

/// The same of a broker elsewhere, and with another longest silence.
pub fn consume_at(
    server: &str,
    topic: &str,
    partitions: i32,
    count: usize,
    silence_max: Duration,
) -> Vec<(String, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", server)
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut found, mut heard) = (Vec::new(), Instant::now());
    while found.len() < count && heard.elapsed() < silence_max {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        found.push((text(message.key()), text(message.payload())));
        heard = Instant::now();
    }
    found
}
