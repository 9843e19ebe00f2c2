//! How each kind of metric is made.

use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Result,
};

/// A kind of metric.
pub(super) trait Series: Collector + Clone + 'static {
    /// Prometheus' word.
    const KIND: &'static str;
    /// Makes one.
    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<Self>;
    /// Shows this combination of labels.
    fn prepare(&self, values: &[&str]);
}

macro_rules! plain {
    ($($name:ident is $kind:literal;)+) => { $(
        impl Series for $name {
            const KIND: &'static str = $kind;
            fn make(name: &str, help: &str, _: &[&str], _: &[f64]) -> Result<Self> {
                Self::with_opts(Opts::new(name, help))
            }
            fn prepare(&self, _: &[&str]) {}
        }
    )+ };
}

macro_rules! labelled {
    ($($name:ident is $kind:literal;)+) => { $(
        impl Series for $name {
            const KIND: &'static str = $kind;
            fn make(name: &str, help: &str, labels: &[&str], _: &[f64]) -> Result<Self> {
                Self::new(Opts::new(name, help), labels)
            }
            fn prepare(&self, values: &[&str]) {
                self.with_label_values(values);
            }
        }
    )+ };
}

plain! {
    IntCounter is "counter";
    Counter is "counter";
    IntGauge is "gauge";
    Gauge is "gauge";
}

labelled! {
    IntCounterVec is "counter";
    IntGaugeVec is "gauge";
    GaugeVec is "gauge";
}

impl Series for Histogram {
    const KIND: &'static str = "histogram";
    fn make(name: &str, help: &str, _: &[&str], buckets: &[f64]) -> Result<Self> {
        Self::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
    }
    fn prepare(&self, _: &[&str]) {}
}

impl Series for HistogramVec {
    const KIND: &'static str = "histogram";
    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<Self> {
        Self::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
    }
    fn prepare(&self, values: &[&str]) {
        self.with_label_values(values);
    }
}
