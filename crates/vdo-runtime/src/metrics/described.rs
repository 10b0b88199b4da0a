//! A metric in words: what it is registered by, and what `docs/metrics.md` tells of it.

use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in a sentence.
    pub help: &'static str,
}

impl Described {
    /// A metric that only grows.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Described { name, kind: Kind::Counter, labels, help }
    }

    /// A metric that goes up and down.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Described { name, kind: Kind::Gauge, labels, help }
    }

    /// A metric that counts by size.
    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Described { name, kind: Kind::Histogram, labels, help }
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    pub(crate) fn counters(&self) -> Result<IntCounterVec, prometheus::Error> {
        IntCounterVec::new(self.opts(), self.labels)
    }

    pub(crate) fn gauges(&self) -> Result<GaugeVec, prometheus::Error> {
        GaugeVec::new(self.opts(), self.labels)
    }

    pub(crate) fn single(&self) -> Result<Gauge, prometheus::Error> {
        Gauge::with_opts(self.opts())
    }

    pub(crate) fn buckets(&self, buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
        HistogramVec::new(HistogramOpts::new(self.name, self.help).buckets(buckets.to_vec()), self.labels)
    }
}
