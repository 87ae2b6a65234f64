//! The values that one scrape collects.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, Histogram, HistogramOpts};

use crate::{Family, Kind};

/// A histogram for this family with these upper bounds of buckets.
///
/// # Errors
/// Never in practice: the bounds are not sorted.
pub fn histogram(family: Family, bounds: &[f64]) -> Result<Histogram, Error> {
    Histogram::with_opts(HistogramOpts::new(family.name, family.help).buckets(bounds.to_vec()))
}

/// Counts stay whole numbers until all are added.
#[derive(Clone, Copy)]
enum Value {
    Count(u64),
    Number(f64),
}

type Series = BTreeMap<Vec<String>, Value>;

/// Values by family and labels.
#[derive(Default)]
pub struct Scrape {
    families: BTreeMap<&'static str, (Family, Series)>,
    histograms: Vec<MetricFamily>,
}

impl Scrape {
    /// Sets a value; the first one set stays.
    pub fn set(&mut self, family: Family, labels: &[&str], value: f64) {
        self.entry(family, labels, Value::Number(value));
    }

    /// Adds to a counter, so that the counts of several threads are summed.
    pub fn add(&mut self, family: Family, labels: &[&str], count: u64) {
        debug_assert_eq!(family.kind, Kind::Counter, "{}", family.name);
        if let Value::Count(sum) = self.entry(family, labels, Value::Count(0)) {
            *sum = sum.wrapping_add(count);
        }
    }

    /// Takes a histogram as it is now.
    pub fn histogram(&mut self, histogram: &Histogram) {
        self.histograms.extend(histogram.collect());
    }

    fn entry(&mut self, family: Family, labels: &[&str], value: Value) -> &mut Value {
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let (_, series) = self.families.entry(family.name).or_insert_with(|| (family, Series::new()));
        series.entry(labels).or_insert(value)
    }

    /// All of it in the form that the exposition formats are made from.
    pub(crate) fn finish(self) -> Vec<MetricFamily> {
        let families = self.families.into_values().map(|(family, series)| metric_family(family, series));
        families.chain(self.histograms).collect()
    }
}

fn metric_family(family: Family, series: Series) -> MetricFamily {
    let mut proto = MetricFamily::default();
    proto.set_name(family.name.to_owned());
    proto.set_help(family.help.to_owned());
    let is_counter = family.kind == Kind::Counter;
    proto.set_field_type(if is_counter { MetricType::COUNTER } else { MetricType::GAUGE });
    let metrics = series.into_iter().map(|(labels, value)| {
        let mut metric = Metric::from_label(family.labels.iter().zip(labels).map(label_pair).collect());
        let value = match value {
            Value::Count(count) => count as f64,
            Value::Number(number) => number,
        };
        if is_counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    proto.set_metric(metrics.collect());
    proto
}

fn label_pair((name, value): (&&str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value);
    pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::Format;

    crate::families! {
        EVENTS: Counter, "x_events_total", ["worker"], "Events.";
        AGE: Gauge, "x_age_seconds", [], "Age.";
        LATENCY: Histogram, "x_latency_seconds", [], "Latency.";
    }

    #[test]
    fn counts_are_summed_and_numbers_are_set() {
        let latency = histogram(LATENCY, &[0.5]).unwrap();
        latency.observe(0.25);
        let mut scrape = Scrape::default();
        scrape.add(EVENTS, &["1"], 2);
        scrape.add(EVENTS, &["0"], 1);
        scrape.add(EVENTS, &["1"], 3);
        scrape.set(AGE, &[], 1.5);
        scrape.histogram(&latency);
        let text = String::from_utf8(Format::Text.encode(&scrape.finish()).unwrap()).unwrap();
        for family in FAMILIES {
            let head = format!("# HELP {0} {1}\n# TYPE {0} {2}\n", family.name, family.help, family.kind.as_str());
            assert!(text.contains(&head), "no {head} in {text}");
        }
        for line in [
            "x_events_total{worker=\"0\"} 1",
            "x_events_total{worker=\"1\"} 5",
            "x_age_seconds 1.5",
            "x_latency_seconds_bucket{le=\"0.5\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in {text}");
        }
    }
}
