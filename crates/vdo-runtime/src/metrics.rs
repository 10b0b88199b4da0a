//! What every operator counts, in the terms of Prometheus.
//!
//! A metric is described once, and registered by its description: `docs/metrics.md` is made of the same. What only one
//! operator counts is described there.
//!
//! **Invariant:** no label holds what grows with the cluster, and none holds a secret. Names of objects are shown for at
//! most [`SHOWN`] objects of a kind.

mod described;
mod process;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use vdo_api::{Condition, Truth};

pub use described::{Described, Kind};
pub use traffic::Traffic;

use crate::watch::{Pulses, lock};
use process::Process;

/// Of so many objects of a kind the conditions are shown. Anybody may make more of them.
pub const SHOWN: usize = 100;

/// A label of every metric, so that nothing depends on how they are scraped.
pub const OPERATOR_LABEL: &str = "operator";

const BUILD: Described =
    Described::gauge("vdo_build_info", &["version"], "Which operator this is; always 1.");
const PASSES: Described = Described::counter(
    "vdo_passes_total",
    &["outcome"],
    "Passes that ended, by outcome: ok, or why the API server failed us.",
);
const PASS_SECONDS: Described =
    Described::histogram("vdo_pass_seconds", &["outcome"], "How long a pass took, in seconds.");
const LEADING: Described =
    Described::gauge("vdo_leading", &[], "1 while this process leads, 0 while it waits for the Lease.");
const WATCH_SILENCE: Described = Described::gauge(
    "vdo_watch_silence_seconds",
    &["watch"],
    "How long ago a watch last heard from the API server, in seconds.",
);
const CRD_FIELDS_MISSING: Described = Described::gauge(
    "vdo_crd_fields_missing",
    &[],
    "Fields of this release that the CRDs of the cluster do not know; above 0 the chart vdo-crds has to be upgraded.",
);
const CONDITION: Described = Described::gauge(
    "vdo_condition",
    &["kind", "name", "type", "status"],
    "1 for the status that a condition has, 0 for the two that it has not. Each operator shows the conditions that it \
     writes, of at most 100 objects of a kind, and only the replica that leads does.",
);
const EVENTS: Described = Described::counter(
    "vdo_events_total",
    &["result"],
    "Events, by what became of them: written, counted (as a repetition of one that is there), dropped (too many at a time) or failed.",
);

/// What every operator counts.
pub const ALL: &[&[Described]] = &[
    &[BUILD, PASSES, PASS_SECONDS, LEADING, WATCH_SILENCE, CRD_FIELDS_MISSING, CONDITION, EVENTS],
    &traffic::ALL,
    &process::ALL,
];

/// The types of conditions that are shown of each object, by its kind and name.
type Shown = BTreeMap<(&'static str, String), BTreeSet<String>>;

/// The metrics of one operator. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub(crate) passes: IntCounterVec,
    pub(crate) pass_seconds: HistogramVec,
    pub(crate) leading: Gauge,
    watch_silence: GaugeVec,
    pub(crate) crd_fields_missing: Gauge,
    pub(crate) events: IntCounterVec,
    condition: GaugeVec,
    shown: Arc<Mutex<Shown>>,
    process: Arc<Process>,
}

impl Metrics {
    /// The metrics that every operator has.
    pub fn new(operator: &str, version: &str) -> Result<Self, prometheus::Error> {
        let build = IntGauge::with_opts(Opts::new(BUILD.name, BUILD.help).const_label("version", version))?;
        build.set(1);
        let process = Process::new()?;
        let metrics = Metrics {
            registry: Registry::new_custom(
                None,
                Some([(OPERATOR_LABEL.to_owned(), operator.to_owned())].into()),
            )?,
            passes: PASSES.counters()?,
            pass_seconds: PASS_SECONDS.buckets(&[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])?,
            leading: LEADING.single()?,
            watch_silence: WATCH_SILENCE.gauges()?,
            crd_fields_missing: CRD_FIELDS_MISSING.single()?,
            events: EVENTS.counters()?,
            condition: CONDITION.gauges()?,
            shown: Arc::default(),
            process: Arc::new(process),
        };
        metrics.add(Box::new(build))?;
        metrics.add(Box::new(metrics.passes.clone()))?;
        metrics.add(Box::new(metrics.pass_seconds.clone()))?;
        metrics.add(Box::new(metrics.leading.clone()))?;
        metrics.add(Box::new(metrics.watch_silence.clone()))?;
        metrics.add(Box::new(metrics.crd_fields_missing.clone()))?;
        metrics.add(Box::new(metrics.events.clone()))?;
        metrics.add(Box::new(metrics.condition.clone()))?;
        metrics.process.collectors().into_iter().try_for_each(|it| metrics.add(it))?;
        Ok(metrics)
    }

    /// Adds what goes to the API server.
    pub(crate) fn add_traffic(&self, traffic: &Traffic) -> Result<(), prometheus::Error> {
        traffic.collectors().into_iter().try_for_each(|it| self.add(it))
    }

    /// Adds counters that only one operator has.
    pub fn counters(&self, described: &Described) -> Result<IntCounterVec, prometheus::Error> {
        let counters = described.counters()?;
        self.add(Box::new(counters.clone()))?;
        Ok(counters)
    }

    /// Adds gauges that only one operator has.
    pub fn gauges(&self, described: &Described) -> Result<GaugeVec, prometheus::Error> {
        let gauges = described.gauges()?;
        self.add(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    /// Adds one gauge without labels that only one operator has.
    pub fn gauge(&self, described: &Described) -> Result<Gauge, prometheus::Error> {
        let gauge = described.single()?;
        self.add(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn add(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        self.registry.register(collector)
    }

    /// Shows these conditions of an object, and no others of it.
    pub fn show_conditions(&self, kind: &'static str, name: &str, conditions: &[Condition]) {
        let mut shown = lock(&self.shown);
        let key = (kind, name.to_owned());
        if !shown.contains_key(&key) && shown.keys().filter(|(of, _)| *of == kind).count() >= SHOWN {
            return;
        }
        let types: BTreeSet<String> = conditions.iter().map(|it| it.type_.clone()).collect();
        for gone in shown.get(&key).into_iter().flatten().filter(|type_| !types.contains(*type_)) {
            self.hide(kind, name, gone);
        }
        for condition in conditions {
            for truth in TRUTHS {
                let value = f64::from(u8::from(condition.status == truth));
                self.condition
                    .with_label_values(&[kind, name, &condition.type_, &truth.to_string()])
                    .set(value);
            }
        }
        shown.insert(key, types);
    }

    /// Forgets the objects of a kind that are not among these.
    pub fn show_only(&self, kind: &'static str, names: &BTreeSet<String>) {
        lock(&self.shown).retain(|(of, name), types| {
            let stays = *of != kind || names.contains(name);
            if !stays {
                types.iter().for_each(|type_| self.hide(kind, name, type_));
            }
            stays
        });
    }

    fn hide(&self, kind: &str, name: &str, type_: &str) {
        for truth in TRUTHS {
            // What was never shown need not be hidden.
            self.condition.remove_label_values(&[kind, name, type_, &truth.to_string()]).ok();
        }
    }

    /// Everything, in the text format of Prometheus.
    pub fn render(&self, pulses: &Pulses) -> String {
        for (watch, age) in pulses.ages() {
            self.watch_silence.with_label_values(&[watch]).set(age.as_secs_f64());
        }
        self.process.read();
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics not encoded");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

const TRUTHS: [Truth; 3] = [Truth::True, Truth::False, Truth::Unknown];

/// Shows exactly these label values of a gauge, each as this number. For what changes its labels when it changes.
pub fn show_exactly<const N: usize>(gauges: &GaugeVec, rows: impl IntoIterator<Item = ([String; N], f64)>) {
    gauges.reset();
    for (labels, value) in rows {
        gauges.with_label_values(&labels.each_ref().map(String::as_str)).set(value);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use vdo_api::reason::AS_WANTED;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new("vdo-core", "1.2.3").unwrap()
    }

    fn said(type_: &str, truth: Truth) -> Condition {
        Condition::new(type_, truth, &AS_WANTED, "", 1, Time(Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn the_figures_of_the_process_are_real() {
        let text = metrics().render(&Pulses::default());
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
        }
        assert!(text.contains("vdo_build_info{version=\"1.2.3\",operator=\"vdo-core\"} 1"), "{text}");
    }

    #[test]
    fn a_condition_is_1_for_its_status_and_gone_with_its_object() {
        let metrics = metrics();
        let line = |status: &str, value: u8| {
            let labels = format!(
                "kind=\"VDOConfig\",name=\"vdo\",status=\"{status}\",type=\"Ready\",operator=\"vdo-core\""
            );
            format!("vdo_condition{{{labels}}} {value}\n")
        };
        metrics.show_conditions("VDOConfig", "vdo", &[said("Ready", Truth::Unknown)]);
        metrics.show_conditions("VDOConfig", "vdo", &[said("Ready", Truth::False)]);
        let text = metrics.render(&Pulses::default());
        for wanted in [line("True", 0), line("False", 1), line("Unknown", 0)] {
            assert!(text.contains(&wanted), "{wanted}{text}");
        }
        metrics.show_conditions("VDOConfig", "vdo", &[said("Accepted", Truth::True)]);
        assert!(!metrics.render(&Pulses::default()).contains("type=\"Ready\""));
        metrics.show_only("VDOConfig", &BTreeSet::new());
        assert!(!metrics.render(&Pulses::default()).contains("vdo_condition{"));
    }

    #[test]
    fn thousands_of_objects_make_no_thousands_of_series() {
        let metrics = metrics();
        for number in 0..SHOWN * 3 {
            metrics.show_conditions(
                "VsphereCloudConfig",
                &format!("vc-{number}"),
                &[said("Ready", Truth::True)],
            );
        }
        let text = metrics.render(&Pulses::default());
        assert_eq!(text.matches("vdo_condition{").count(), SHOWN * 3);
        assert!(text.contains("vc-99") && !text.contains("vc-100"));
    }

    #[test]
    fn what_changes_its_labels_leaves_no_old_ones() {
        let metrics = metrics();
        let gauges = metrics.gauges(&Described::gauge("vdo_test", &["reason"], "A test.")).unwrap();
        show_exactly(&gauges, [(["One".to_owned()], 1.0)]);
        show_exactly(&gauges, [(["Two".to_owned()], 1.0)]);
        let text = metrics.render(&Pulses::default());
        assert!(
            text.contains("vdo_test{reason=\"Two\",operator=\"vdo-core\"} 1") && !text.contains("One"),
            "{text}"
        );
    }

    #[test]
    fn every_name_is_described_once_and_says_what_it_is() {
        let all: Vec<&Described> = ALL.iter().copied().flatten().collect();
        let names: BTreeSet<&str> = all.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), all.len());
        for it in all {
            assert!(it.help.ends_with('.'), "{}", it.name);
            assert_eq!(it.kind == Kind::Counter, it.name.ends_with("_total"), "{}", it.name);
        }
    }
}
