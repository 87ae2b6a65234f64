//! A topic of Kafka, by librdkafka: idempotent producer, all replicas acknowledge, zstd. The key is the incident, so that its
//! changes stay in one partition and in order; events of no incident have the sensor as key.
//!
//! A batch is acknowledged up to the first event that no broker has acknowledged. After a failure what is still queued is
//! thrown away, and a new producer sends it again: nothing of an incident overtakes an earlier event that failed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};

use super::tls::{Certificates, handshake};
use super::{Context, Receiver, stopped};
use crate::batch::Batch;
use crate::configuration::{Credentials, KafkaSettings, SaslMechanism, Transport};
use crate::error::{ErrorKind, SendError};
use crate::secret::credential_path;

/// How long a wait lasts before the wish to end is looked at.
const WAIT: Duration = Duration::from_millis(100);
/// How long events that were thrown away may take to be reported as such.
const PURGE_MAX: Duration = Duration::from_secs(2);
/// Most bytes that wait in the producer: the longest batch, and room for its keys.
const QUEUE_KBYTES_MAX: u32 = 128 << 10;
/// How long the producer waits for more events before it sends some.
const LINGER_MS: u32 = 1;
/// How long brokers may take to agree that a topic is not there.
const TOPIC_UNKNOWN_MS: u32 = 3_000;

/// A topic.
pub struct KafkaReceiver {
    settings: KafkaSettings,
    producer: Option<BaseProducer<Reports>>,
    /// Events that are sent at once: one, after a broker found some too long.
    events_max: usize,
}

/// What the producer reports of the events that were given to it.
#[derive(Default)]
struct Reports(Mutex<Report>);

#[derive(Default)]
struct Report {
    /// The events that were given, from the first one that is not acknowledged; `true`: acknowledged.
    waiting: VecDeque<bool>,
    /// Place of the first of them.
    first: usize,
    /// Events that were neither acknowledged nor given up.
    unreported: usize,
    /// Why an event was given up, the first time.
    failure: Option<Code>,
    /// What the client said last of its connections.
    fault: Option<(Code, String)>,
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    fn begin(&mut self) {
        (self.first, self.unreported, self.failure) = (0, 0, None);
        self.waiting.clear();
    }

    fn given(&mut self) {
        self.waiting.push_back(false);
        self.unreported += 1;
    }

    fn reported(&mut self, place: usize, result: Result<(), Code>) {
        self.unreported = self.unreported.saturating_sub(1);
        match result {
            Err(code) => _ = self.failure.get_or_insert(code),
            Ok(()) => {
                if let Some(is_acknowledged) =
                    place.checked_sub(self.first).and_then(|place| self.waiting.get_mut(place))
                {
                    *is_acknowledged = true;
                }
            }
        }
    }

    /// Events that are acknowledged, and all before them.
    fn take_acknowledged(&mut self) -> usize {
        let count = self.waiting.iter().take_while(|is_acknowledged| **is_acknowledged).count();
        self.waiting.drain(..count);
        self.first += count;
        count
    }
}

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut report = self.lock();
        // That no broker can be reached is said after why the last one cannot, which says more.
        let is_summary = code == Code::AllBrokersDown;
        if !(is_summary && report.fault.is_some()) {
            report.fault = Some((code, reason.to_owned()));
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        self.lock().reported(place, result);
    }
}

impl KafkaReceiver {
    pub const fn new(settings: KafkaSettings) -> Self {
        Self { settings, producer: None, events_max: usize::MAX }
    }

    fn config(&self) -> Result<ClientConfig, SendError> {
        let settings = &self.settings;
        let mut config = ClientConfig::new();
        let timeout_ms = (settings.timeout_s * 1_000).to_string();
        config
            .set("bootstrap.servers", &settings.brokers)
            .set("client.id", "vigie-forward")
            .set("enable.idempotence", "true")
            // An event that failed ends the producer, so that no later one of its partition overtakes it.
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            // A topic is made by who decides how many partitions it has.
            .set("allow.auto.create.topics", "false")
            .set("compression.type", "zstd")
            .set("linger.ms", LINGER_MS.to_string())
            .set("message.timeout.ms", &timeout_ms)
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX.to_string())
            .set("topic.metadata.propagation.max.ms", TOPIC_UNKNOWN_MS.to_string())
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log_level", "0");
        let is_tls = settings.transport == Transport::Tls;
        let is_sasl = settings.credentials != Credentials::None;
        config.set(
            "security.protocol",
            match (is_tls, is_sasl) {
                (false, false) => "plaintext",
                (true, false) => "ssl",
                (false, true) => "sasl_plaintext",
                (true, true) => "sasl_ssl",
            },
        );
        if is_tls {
            // Faults of the files are told in our own words.
            Certificates::read(&settings.tls)?.config()?;
            config.set("ssl.ca.location", settings.tls.authorities().to_string_lossy());
            if let Some((certificate, key)) = &settings.tls.client {
                let key = credential_path(key).map_err(|message| SendError::new(ErrorKind::Certificate, message))?;
                config.set("ssl.certificate.location", certificate.to_string_lossy());
                config.set("ssl.key.location", key.to_string_lossy());
            }
        }
        if let Credentials::Password { user, file } = &settings.credentials {
            let secret = file.read().map_err(|message| SendError::new(ErrorKind::Credentials, message))?;
            config.set("sasl.username", user).set("sasl.password", secret.reveal());
            config.set(
                "sasl.mechanism",
                match settings.sasl_mechanism {
                    SaslMechanism::Plain => "PLAIN",
                    SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                    SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
                },
            );
        }
        Ok(config)
    }

    /// A producer that has seen the topic.
    fn open(&self, stop: Option<&crate::engine::Stop>) -> Result<BaseProducer<Reports>, SendError> {
        let unusable = |error: KafkaError| self.connection(&error.to_string());
        let producer: BaseProducer<Reports> =
            self.config()?.create_with_context(Reports::default()).map_err(unusable)?;
        let until = Instant::now() + Duration::from_secs(self.settings.timeout_s);
        loop {
            if stop.is_some_and(crate::engine::Stop::is_asked) {
                return Err(stopped());
            }
            let metadata = producer.client().fetch_metadata(Some(&self.settings.topic), WAIT * 5);
            producer.poll(Duration::ZERO);
            let fault = producer.context().lock().fault.take();
            let error = match (metadata, fault) {
                (Ok(metadata), _) => match metadata.topics().first() {
                    Some(topic) if topic.error().is_none() && !topic.partitions().is_empty() => return Ok(producer),
                    Some(topic) => self.failure(topic.error().map_or(Code::UnknownTopic, Code::from), None),
                    None => self.failure(Code::UnknownTopic, None),
                },
                (Err(_), Some((code, reason))) => self.failure(code, Some(&reason)),
                (Err(error), None) => match error.rdkafka_error_code() {
                    Some(Code::OperationTimedOut | Code::BrokerTransportFailure) if Instant::now() < until => continue,
                    Some(code) => self.failure(code, None),
                    None => unusable(error),
                },
            };
            return Err(error);
        }
    }

    fn connection(&self, what: &str) -> SendError {
        SendError::new(ErrorKind::Connection, format!("{}: {what}", self.settings.brokers))
    }

    /// Why a delivery failed: what the client said of its connections says more than what became of an event.
    fn explain(&self, producer: &BaseProducer<Reports>, code: Code) -> SendError {
        let fault = producer.context().lock().fault.take();
        match (fault, producer.client().fatal_error()) {
            (Some((fault, reason)), _) if is_refusal(fault) => self.failure(fault, Some(&reason)),
            (Some((_, reason)), _) if code == Code::MessageTimedOut => self.failure(code, Some(&reason)),
            (_, Some((fatal, reason))) if code == Code::Fatal => self.failure(fatal, Some(&reason)),
            _ => self.failure(code, None),
        }
    }

    /// What an error means.
    fn failure(&self, code: Code, reason: Option<&str>) -> SendError {
        let KafkaSettings { brokers, topic, timeout_s, .. } = &self.settings;
        let (kind, message) = match code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                (ErrorKind::Rejected, format!("{brokers} has no topic {topic}; create it, or correct its name"))
            }
            Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => (
                ErrorKind::Credentials,
                format!(
                    "{brokers} refuses to let us write topic {topic}; give the user the rights Write and IdempotentWrite"
                ),
            ),
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => (
                ErrorKind::Credentials,
                format!("{brokers} refuses user, password or mechanism; check user, password_file and sasl_mechanism"),
            ),
            Code::SSL => return self.explain_tls(reason.unwrap_or_default()),
            Code::Resolve => (
                ErrorKind::UnknownHost,
                format!("no host of {brokers} is known; check the names, and the name servers of this machine"),
            ),
            Code::MessageTimedOut | Code::OperationTimedOut => {
                let why = reason.map(|reason| format!(" ({})", short(reason))).unwrap_or_default();
                (
                    ErrorKind::Timeout,
                    format!(
                        "{brokers} acknowledged nothing within {timeout_s} s (timeout_s){why}; check that the brokers run, and the way there"
                    ),
                )
            }
            Code::BrokerTransportFailure | Code::AllBrokersDown => {
                let why = reason.map_or("no connection", short);
                (
                    ErrorKind::Connection,
                    format!("{brokers}: {why}; check hosts, ports and transport, and that the brokers run"),
                )
            }
            Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => (
                ErrorKind::Busy,
                format!("{brokers} has fewer replicas of {topic} in step than it wants (min.insync.replicas)"),
            ),
            other => {
                let what = reason.map_or_else(|| other.to_string(), |reason| short(reason).to_owned());
                (ErrorKind::Rejected, format!("{brokers}: {what}"))
            }
        };
        SendError::new(kind, message)
    }

    /// librdkafka says of a certificate only that it is refused: a handshake of our own says why.
    fn explain_tls(&self, reason: &str) -> SendError {
        let timeout = Duration::from_secs(self.settings.timeout_s);
        for broker in self.settings.brokers.split(',').map(str::trim) {
            if let Err(error) = handshake(broker, &self.settings.tls, timeout) {
                return error;
            }
        }
        let message = format!("{}: {}", self.settings.brokers, short(reason));
        SendError::new(ErrorKind::Certificate, message)
    }

    /// Gives `count` events to the producer, and waits until all of them are reported.
    fn deliver(
        &self,
        producer: &BaseProducer<Reports>,
        batch: &mut Batch,
        count: usize,
        context: Context<'_>,
    ) -> Result<(), Code> {
        let reports = producer.context();
        reports.lock().begin();
        let mut given = Ok(());
        for (place, event) in batch.events().take(count).enumerate() {
            let head = event.head();
            let key = head.as_ref().map_or("", |head| head.incident().unwrap_or(&head.host));
            let mut record = BaseRecord::with_opaque_to(&self.settings.topic, place).payload(event.encoded).key(key);
            loop {
                match producer.send(record) {
                    Ok(()) => {
                        reports.lock().given();
                        break;
                    }
                    Err((error, back)) => match error.rdkafka_error_code() {
                        Some(Code::QueueFull) if !context.stop.is_asked() => record = back,
                        code => {
                            given = Err(code.unwrap_or(Code::Fail));
                            break;
                        }
                    },
                }
                producer.poll(WAIT);
            }
            if given.is_err() {
                break;
            }
        }
        // The producer gives an event up after timeout_s; this ends also if it never says so.
        let until = Instant::now() + Duration::from_secs(self.settings.timeout_s) + PURGE_MAX;
        loop {
            let (unreported, failure, is_refused) = {
                let mut report = reports.lock();
                batch.acknowledge(report.take_acknowledged());
                let is_refused = report.fault.as_ref().is_some_and(|(code, _)| is_refusal(*code));
                (report.unreported, report.failure, is_refused)
            };
            if let Some(code) = failure {
                return Err(code);
            }
            if unreported == 0 {
                return given;
            }
            if context.stop.is_asked() || Instant::now() > until || is_refused {
                return Err(Code::MessageTimedOut);
            }
            producer.poll(WAIT);
        }
    }

    /// Throws away what the producer still has, and acknowledges what was in time.
    fn abandon(producer: &BaseProducer<Reports>, batch: &mut Batch) {
        producer.purge(PurgeConfig::default().queue().inflight());
        let until = Instant::now() + PURGE_MAX;
        while producer.context().lock().unreported > 0 && Instant::now() < until {
            producer.poll(WAIT);
        }
        batch.acknowledge(producer.context().lock().take_acknowledged());
    }
}

/// Whether waiting is of no use, since the brokers do not let us in.
const fn is_refusal(code: Code) -> bool {
    matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL)
}

/// What librdkafka says, without the broker's name before it and the state after it.
fn short(reason: &str) -> &str {
    let start = reason.find("/bootstrap: ").map_or(0, |at| at + "/bootstrap: ".len());
    let rest = reason.get(start..).unwrap_or(reason);
    rest.split(" (after ").next().unwrap_or(rest).trim_end_matches(['.', ' '])
}

impl Receiver for KafkaReceiver {
    fn send(&mut self, batch: &mut Batch, context: Context<'_>) -> Result<(), SendError> {
        while batch.waiting() > 0 {
            if context.stop.is_asked() {
                return Err(stopped());
            }
            let producer = match self.producer.take() {
                Some(producer) => producer,
                None => self.open(Some(context.stop))?,
            };
            let count = batch.waiting().min(self.events_max);
            producer.context().lock().fault = None;
            let Err(code) = self.deliver(&producer, batch, count, context) else {
                self.producer = Some(producer);
                self.events_max = self.events_max.saturating_mul(2);
                continue;
            };
            Self::abandon(&producer, batch);
            match code {
                _ if context.stop.is_asked() => return Err(stopped()),
                // A broker may refuse all for one, so each is sent alone.
                Code::MessageSizeTooLarge if count > 1 => self.events_max = 1,
                Code::MessageSizeTooLarge => {
                    if let Some(event) = batch.first() {
                        context.set_aside(event.line, "it is longer than the topic allows (max.message.bytes)")?;
                        batch.acknowledge(1);
                    }
                }
                code => return Err(self.explain(&producer, code)),
            }
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SendError> {
        // Brokers close connections that are idle; what is said of it must not pile up.
        if let Some(producer) = &self.producer {
            producer.poll(Duration::ZERO);
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<String, SendError> {
        self.open(None)?;
        Ok(format!("{} has the topic {}", self.settings.brokers, self.settings.topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_in_any_order_acknowledge_events_in_order() {
        let mut report = Report::default();
        report.begin();
        (0..4).for_each(|_| report.given());
        report.reported(1, Ok(()));
        assert_eq!((report.take_acknowledged(), report.unreported), (0, 3));
        report.reported(0, Ok(()));
        assert_eq!(report.take_acknowledged(), 2);
        report.reported(3, Ok(()));
        report.reported(2, Err(Code::MessageTimedOut));
        assert_eq!((report.take_acknowledged(), report.unreported), (0, 0));
        assert_eq!(report.failure, Some(Code::MessageTimedOut));
    }

    #[test]
    fn what_the_library_says_is_shortened() {
        let long = "sasl_ssl://127.0.0.1:9092/bootstrap: SASL authentication error: no (after 2ms in state AUTH_REQ)";
        assert_eq!(short(long), "SASL authentication error: no");
        assert_eq!(short("1/1 brokers are down"), "1/1 brokers are down");
    }
}
