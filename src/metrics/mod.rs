//! What Prometheus is told of the server (docs/metrics.md): one table of metrics, which any module may count in, and their text.
//!
//! A label has a bounded number of values, all of them words of ours, routes' patterns, an administrator's profiles or this host's GPUs:
//! nothing of a user's or a session's. Calls nobody; `api` sets what is looked at for each scrape.

mod process;
mod series;
mod start;
mod table;

use std::sync::{LazyLock, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{IntGaugeVec, Registry, TextEncoder};

pub use process::{begin, look_at_process};
pub use start::StartClock;
pub use table::*;

/// A metric, as the documentation lists it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, with its unit and, for a counter, `_total` at the end.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, each with its values; none for values that are not known ahead.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// What it counts.
    pub help: &'static str,
    collector: fn() -> Box<dyn Collector>,
    prepare: fn(&[&str]),
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::new();
    for metric in ALL {
        // Fails only for a name that is there twice; a test makes all.
        let added = registry.register((metric.collector)());
        debug_assert!(added.is_ok(), "{}", metric.name);
        if metric.labels.iter().all(|(_, values)| !values.is_empty()) {
            prepare(metric, &mut Vec::new());
        }
    }
    registry
});

/// Shows each combination of labels from the start, so that the first count is a rise.
fn prepare(metric: &Metric, chosen: &mut Vec<&'static str>) {
    match metric.labels.get(chosen.len()) {
        None => (metric.prepare)(chosen),
        Some((_, values)) => {
            for value in *values {
                chosen.push(value);
                prepare(metric, chosen);
                chosen.pop();
            }
        }
    }
}

/// All metrics in Prometheus' text format, once `look` has set what is looked at. One scrape at a time.
///
/// # Errors
/// A metric can't be written as text.
pub fn scrape(look: impl FnOnce()) -> Result<String, prometheus::Error> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let registry = &*REGISTRY;
    look();
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// Sets all of a gauge to zero: what is counted anew for a scrape begins there, and each combination of known labels stays shown.
pub fn clear(gauge: &IntGaugeVec) {
    gauge.reset();
    for metric in ALL {
        if gauge.desc().iter().any(|desc| desc.fq_name == metric.name) {
            prepare(metric, &mut Vec::new());
        }
    }
}

/// The table of docs/metrics.md.
#[must_use]
pub fn reference() -> String {
    let mut table = String::from("| metric | type | labels | what it is |\n|---|---|---|---|\n");
    for metric in ALL {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|(name, values)| match values {
                [] => format!("`{name}`"),
                values => format!("`{name}`: {}", values.join(", ")),
            })
            .collect();
        let (name, kind, help) = (metric.name, metric.kind, metric.help);
        table.push_str(&format!(
            "| `{name}` | {kind} | {} | {help} |\n",
            labels.join("; ")
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_is_shown_once_and_named_as_the_rules_say() {
        let text = scrape(|| {}).unwrap();
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == "counter",
                "{}",
                metric.name
            );
            assert!(
                metric.help.ends_with('.') && !metric.help.contains('|'),
                "{}",
                metric.name
            );
            let is_known = metric.labels.iter().all(|(_, values)| !values.is_empty());
            let is_shown = text.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind));
            assert!(is_shown || !is_known, "{}", metric.name);
        }
    }
}
