//! Metrics as text: Prometheus' format 0.0.4, and OpenMetrics 1.0.0 for clients that ask for it in the `Accept` header
//! (RFC 9110 §12.5.1).

use std::fmt::Write;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The media type of a response.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a client prefers. A client that accepts neither gets text, as from every exporter.
    pub fn negotiate(accept: &str) -> Self {
        let mut best = (0, Self::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut version, mut quality) = (None, 1000);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "version" => version = Some(value.trim().trim_matches('"')),
                    "q" => quality = thousandths(value.trim()),
                    _ => {}
                }
            }
            let format = match (kind.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => Self::OpenMetrics,
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Self::Text,
                _ => continue,
            };
            // Between equals OpenMetrics wins: no client names it by accident.
            if quality > best.0 || (quality == best.0 && quality > 0 && format == Self::OpenMetrics) {
                best = (quality, format);
            }
        }
        best.1
    }

    /// The metrics in this format.
    ///
    /// # Errors
    /// Never in practice: when a family is empty or has no name.
    pub fn encode(self, families: &[MetricFamily]) -> Result<Vec<u8>, prometheus::Error> {
        match self {
            Self::Text => {
                let mut text = Vec::with_capacity(64 << 10);
                TextEncoder::new().encode(families, &mut text)?;
                Ok(text)
            }
            Self::OpenMetrics => Ok(open_metrics(families).into_bytes()),
        }
    }
}

/// A weight from 0 to 1 with at most three digits after the point, in thousandths; anything else counts as 0.
fn thousandths(weight: &str) -> u32 {
    let weight: f64 = weight.parse().unwrap_or(0.0);
    if (0.0..=1.0).contains(&weight) { (weight * 1000.0).round() as u32 } else { 0 }
}

/// Units that a metric's name may end with.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

fn open_metrics(families: &[MetricFamily]) -> String {
    let mut text = String::with_capacity(64 << 10);
    for family in families {
        let full = family.name();
        let (name, kind) = match family.get_field_type() {
            MetricType::COUNTER => (full.strip_suffix("_total").unwrap_or(full), "counter"),
            MetricType::GAUGE => match full.strip_suffix("_info") {
                Some(name) => (name, "info"),
                None => (full, "gauge"),
            },
            MetricType::HISTOGRAM => (full, "histogram"),
            MetricType::SUMMARY | MetricType::UNTYPED => (full, "unknown"),
        };
        let _ = writeln!(text, "# TYPE {name} {kind}");
        let unit = UNITS.into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
        if let Some(unit) = unit {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {}", escaped(family.help()));
        for metric in family.get_metric() {
            match kind {
                "counter" => sample(&mut text, name, "_total", metric, None, metric.get_counter().get_value()),
                "info" => sample(&mut text, name, "_info", metric, None, 1.0),
                "histogram" => histogram(&mut text, name, metric),
                _ => sample(&mut text, name, "", metric, None, metric.get_gauge().get_value()),
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn histogram(text: &mut String, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count() as f64;
    for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
        let bound = format!("{:?}", bucket.upper_bound());
        sample(text, name, "_bucket", metric, Some(&bound), bucket.cumulative_count() as f64);
    }
    sample(text, name, "_bucket", metric, Some("+Inf"), count);
    sample(text, name, "_count", metric, None, count);
    sample(text, name, "_sum", metric, None, histogram.get_sample_sum());
}

fn sample(text: &mut String, name: &str, suffix: &str, metric: &Metric, bound: Option<&str>, value: f64) {
    text.push_str(name);
    text.push_str(suffix);
    let own = metric.get_label().iter().map(|pair: &LabelPair| (pair.name(), pair.value()));
    let mut mark = '{';
    for (label, value) in own.chain(bound.map(|bound| ("le", bound))) {
        let _ = write!(text, "{mark}{label}=\"{}\"", escaped(value));
        mark = ',';
    }
    if mark == ',' {
        text.push('}');
    }
    let _ = match value {
        value if value.is_nan() => writeln!(text, " NaN"),
        value if value.is_infinite() => writeln!(text, " {}Inf", if value > 0.0 { '+' } else { '-' }),
        value => writeln!(text, " {value}"),
    };
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::core::Collector;
    use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, Opts};

    #[test]
    fn the_client_chooses_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", Format::OpenMetrics),
            ("application/openmetrics-text; version=0.0.1", Format::Text),
            ("application/openmetrics-text; version=2.0.0, text/plain;q=0.1", Format::Text),
            ("text/plain; version=0.0.4, application/openmetrics-text; version=1.0.0; q=0.9", Format::Text),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.501", Format::OpenMetrics),
            ("text/plain,application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=2", Format::Text),
            ("application/openmetrics-text;q=nan", Format::Text),
            (",;=,;q;=;", Format::Text),
        ] {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn open_metrics_has_its_own_names_units_and_end() {
        let counter = IntCounterVec::new(Opts::new("x_bytes_total", "Bytes \"in\"\nand out."), &["way"]).unwrap();
        counter.with_label_values(&["a\"\\\n"]).inc_by(7);
        let gauge = Gauge::new("x_ratio", "Share.").unwrap();
        gauge.set(f64::INFINITY);
        let info = Gauge::new("x_build_info", "Version.").unwrap();
        info.set(1.0);
        let options = HistogramOpts::new("x_latency_seconds", "Time.").buckets(vec![0.001, 1.0]);
        let histogram = Histogram::with_opts(options).unwrap();
        histogram.observe(0.5);
        histogram.observe(8.0);
        let families = [counter.collect(), gauge.collect(), info.collect(), histogram.collect()].concat();
        let text = String::from_utf8(Format::OpenMetrics.encode(&families).unwrap()).unwrap();
        let expected = r#"# TYPE x_bytes counter
# UNIT x_bytes bytes
# HELP x_bytes Bytes \"in\"\nand out.
x_bytes_total{way="a\"\\\n"} 7
# TYPE x_ratio gauge
# UNIT x_ratio ratio
# HELP x_ratio Share.
x_ratio +Inf
# TYPE x_build info
# HELP x_build Version.
x_build_info 1
# TYPE x_latency_seconds histogram
# UNIT x_latency_seconds seconds
# HELP x_latency_seconds Time.
x_latency_seconds_bucket{le="0.001"} 0
x_latency_seconds_bucket{le="1.0"} 1
x_latency_seconds_bucket{le="+Inf"} 2
x_latency_seconds_count 2
x_latency_seconds_sum 8.5
# EOF
"#;
        assert_eq!(text, expected);
        let plain = String::from_utf8(Format::Text.encode(&families).unwrap()).unwrap();
        assert!(plain.contains("# TYPE x_bytes_total counter") && !plain.contains("# EOF"));
    }
}
