//! The sensor's metrics: asked over HTTP, read from the text format of Prometheus, and compared with those of a moment before.
//!
//! Not here: TLS and passwords.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A scrape that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(2);
/// No sensor tells more.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Why metrics are missing.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("HTTP {0}")]
    Status(String),
    #[error("no HTTP")]
    NoHttp,
}

/// A value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// All values of a moment.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub at: Instant,
    pub samples: Vec<Sample>,
}

/// Asks for metrics.
///
/// # Errors
/// Nobody answers, or not with metrics.
pub fn scrape(address: SocketAddr) -> Result<Scrape, ScrapeError> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // Of HTTP/1.0, so that the answer comes in one piece and ends with the connection (RFC 1945 §7.2).
    // It goes in one piece as well: a server that answers before the rest of it has come resets the connection.
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\nAccept: text/plain; version=0.0.4\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let at = Instant::now();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ScrapeError::NoHttp)?;
    let status = head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.")).ok_or(ScrapeError::NoHttp)?;
    let status = status.get(2..).unwrap_or_default();
    match status.starts_with("200") {
        true => Ok(Scrape { at, samples: parse(body) }),
        false => Err(ScrapeError::Status(status.to_owned())),
    }
}

/// The samples of a text in the format of Prometheus. Lines that are none are left out.
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(name_end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to `}`, and what is behind them.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A text up to its closing quote, with its escapes undone.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

impl Sample {
    /// The value of a label; empty if it has none of that name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl Scrape {
    /// All samples of a family.
    pub fn of<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of a family; none if there is none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.of(name).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// The sum of the samples of a family with a label's value.
    pub fn sum_with(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        let with = self.of(name).filter(|sample| sample.label(label) == value);
        with.map(|sample| sample.value).reduce(|sum, value| sum + value)
    }
}

/// How much a counter grew in a second, from one scrape to the next. None if it is not known: at first, or if the sensor
/// started anew.
pub fn rate(before: Option<&Scrape>, now: &Scrape, value: impl Fn(&Scrape) -> Option<f64>) -> Option<f64> {
    let before_scrape = before?;
    let seconds = now.at.saturating_duration_since(before_scrape.at).as_secs_f64();
    let grown = value(now)? - value(before_scrape)?;
    (seconds > 0.0 && grown >= 0.0).then(|| grown / seconds)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const TEXT: &str = "# HELP vigie_ready x\n# TYPE vigie_ready gauge\nvigie_ready 1\n\
        vigie_capture_drops_total{interface=\"eth1\",reason=\"ring\"} 5\n\
        vigie_capture_drops_total{interface=\"eth1\",reason=\"interface\"} 2e1\n\
        vigie_odd{a=\"q\\\"}\\\\\\n\",b=\"\"} 3 1700000000\n\
        broken{a=\"\nnot a number x\n\n";

    #[test]
    fn samples_are_read_with_their_labels() {
        let samples = parse(TEXT);
        assert_eq!(samples.len(), 4);
        let scrape = Scrape { at: Instant::now(), samples };
        assert_eq!(scrape.sum("vigie_ready"), Some(1.0));
        assert_eq!(scrape.sum("vigie_capture_drops_total"), Some(25.0));
        assert_eq!(scrape.sum_with("vigie_capture_drops_total", "reason", "ring"), Some(5.0));
        assert_eq!(scrape.sum("absent"), None);
        assert_eq!(scrape.of("vigie_odd").next().unwrap().label("a"), "q\"}\\\n");
    }

    #[test]
    fn rates_are_known_from_the_second_scrape_on_and_not_over_a_restart() {
        let at = Instant::now();
        let scrape = |seconds: u64, value: f64| Scrape {
            at: at + Duration::from_secs(seconds),
            samples: vec![Sample { name: "n".to_owned(), labels: Vec::new(), value }],
        };
        let value = |scrape: &Scrape| scrape.sum("n");
        assert_eq!(rate(None, &scrape(0, 5.0), value), None);
        assert_eq!(rate(Some(&scrape(0, 5.0)), &scrape(2, 25.0), value), Some(10.0));
        assert_eq!(rate(Some(&scrape(0, 5.0)), &scrape(2, 1.0), value), None);
        assert_eq!(rate(Some(&scrape(0, 5.0)), &scrape(0, 6.0), value), None);
    }

    #[test]
    fn other_answers_are_errors() {
        for (answer, expected) in [
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", "HTTP 401 Unauthorized"),
            ("\x15\x03\x03\0\x02\x02\x16", "no HTTP"),
            ("", "no HTTP"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(scrape(address).unwrap_err().to_string(), expected);
            server.join().unwrap();
        }
    }
}
