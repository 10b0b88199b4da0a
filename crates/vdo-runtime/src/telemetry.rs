//! Logs and metrics.

use std::sync::Arc;

use prometheus::{
    Counter, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};
use tracing_subscriber::EnvFilter;

use crate::watch::Pulses;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Directives that no filter may loosen: the client library logs whole bodies, and with them passwords, when
/// it cannot decode an answer, and at debug level whatever the server says.
const ALWAYS: [&str; 2] = ["kube_client=error", "hyper=error"];

/// Begins to log to standard error. `filter` is as in `info` or `vdo_core=debug,info`; an unreadable one is
/// an error that names the part.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = log_filter(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| error.to_string())
}

fn log_filter(filter: &str) -> Result<EnvFilter, String> {
    // A more specific directive of the user would win over ours, so it is dropped.
    let wanted = filter.split(',').map(str::trim).filter(|part| !part.is_empty());
    let wanted = wanted.filter(|part| {
        !ALWAYS.iter().any(|always| part.starts_with(always.split('=').next().unwrap_or(always)))
    });
    let directives: Vec<&str> = wanted.chain(ALWAYS).collect();
    EnvFilter::try_new(directives.join(",")).map_err(|error| format!("log filter {filter:?}: {error}"))
}

/// The metrics of one operator. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub(crate) passes: IntCounterVec,
    pub(crate) pass_seconds: Histogram,
    pub(crate) leading: IntGauge,
    watch_age: GaugeVec,
    pub(crate) crd_fields_missing: IntGauge,
    pub(crate) drift_repairs: IntCounterVec,
    process: Arc<Process>,
}

struct Process {
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    virtual_bytes: IntGauge,
    open_fds: IntGauge,
    threads: IntGauge,
    start_seconds: Gauge,
}

impl Metrics {
    /// The metrics that every operator has, with constant labels that name it.
    pub fn new(operator: &str, version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = IntGauge::with_opts(
            Opts::new("vdo_build_info", "Which operator this is; always 1.")
                .const_label("operator", operator)
                .const_label("version", version),
        )?;
        build.set(1);
        let metrics = Metrics {
            passes: IntCounterVec::new(
                Opts::new(
                    "vdo_passes_total",
                    "Passes that ended, by outcome: ok, or why the API server failed us.",
                ),
                &["outcome"],
            )?,
            pass_seconds: Histogram::with_opts(
                HistogramOpts::new("vdo_pass_seconds", "How long a pass took.")
                    .buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]),
            )?,
            leading: IntGauge::new("vdo_leading", "1 while this process leads.")?,
            watch_age: GaugeVec::new(
                Opts::new(
                    "vdo_watch_silence_seconds",
                    "How long ago a watch last heard from the API server.",
                ),
                &["watch"],
            )?,
            crd_fields_missing: IntGauge::new(
                "vdo_crd_fields_missing",
                "Fields of this release that the CRDs of the cluster do not know; above 0 they have to be upgraded.",
            )?,
            drift_repairs: IntCounterVec::new(
                Opts::new(
                    "vdo_drift_repairs_total",
                    "Objects of a driver that were put back because somebody changed or deleted them.",
                ),
                &["kind"],
            )?,
            process: Arc::new(Process::new()?),
            registry,
        };
        for collector in [
            Box::new(build) as Box<dyn prometheus::core::Collector>,
            Box::new(metrics.passes.clone()),
            Box::new(metrics.pass_seconds.clone()),
            Box::new(metrics.leading.clone()),
            Box::new(metrics.watch_age.clone()),
            Box::new(metrics.crd_fields_missing.clone()),
            Box::new(metrics.drift_repairs.clone()),
            Box::new(metrics.process.cpu_seconds.clone()),
            Box::new(metrics.process.resident_bytes.clone()),
            Box::new(metrics.process.virtual_bytes.clone()),
            Box::new(metrics.process.open_fds.clone()),
            Box::new(metrics.process.threads.clone()),
            Box::new(metrics.process.start_seconds.clone()),
        ] {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Where an operator registers metrics of its own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything, in the text format of Prometheus.
    pub fn render(&self, pulses: &Pulses) -> String {
        for (watch, age) in pulses.ages() {
            self.watch_age.with_label_values(&[watch]).set(age.as_secs_f64());
        }
        self.process.read();
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics not encoded");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Process {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(Process {
            cpu_seconds: Counter::new("process_cpu_seconds_total", "User and system time spent.")?,
            resident_bytes: IntGauge::new("process_resident_memory_bytes", "Resident memory.")?,
            virtual_bytes: IntGauge::new("process_virtual_memory_bytes", "Virtual memory.")?,
            open_fds: IntGauge::new("process_open_fds", "Open file descriptors.")?,
            threads: IntGauge::new("process_threads", "Threads.")?,
            start_seconds: Gauge::new(
                "process_start_time_seconds",
                "When the process started, in Unix time.",
            )?,
        })
    }

    /// Takes the figures from procfs; what cannot be read keeps its last value.
    #[allow(clippy::disallowed_methods, reason = "procfs is where a process finds its own figures")]
    fn read(&self) {
        // Clock ticks are 100 a second on every architecture that Linux exports to user space.
        const TICKS: f64 = 100.0;
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
            // The name of the program may hold spaces, but it ends with the last parenthesis.
            && let Some((_, fields)) = stat.rsplit_once(") ")
        {
            let fields: Vec<&str> = fields.split(' ').collect();
            let number = |index: usize| {
                fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default()
            };
            let spent = (number(11) + number(12)) as f64 / TICKS;
            self.cpu_seconds.inc_by((spent - self.cpu_seconds.get()).max(0.0));
            self.threads.set(i64::try_from(number(17)).unwrap_or_default());
            self.virtual_bytes.set(i64::try_from(number(20)).unwrap_or_default());
            let boot = std::fs::read_to_string("/proc/stat").ok().and_then(|stat| {
                stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok())
            });
            if let Some(boot) = boot {
                self.start_seconds.set(boot as f64 + number(19) as f64 / TICKS);
            }
        }
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<i64>().ok());
            if let Some(kib) = kib {
                self.resident_bytes.set(kib * 1024);
            }
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(entries.count()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_lets_the_client_log_bodies() {
        for filter in ["info", "trace", "kube_client=trace,info", "kube_client::client=debug"] {
            let effective = log_filter(filter).unwrap().to_string();
            assert!(effective.contains("kube_client=error"), "{effective}");
            assert!(!effective.contains("kube_client=trace") && !effective.contains("=debug"), "{effective}");
        }
        assert!(log_filter("=,=!").is_err());
    }

    #[test]
    fn the_figures_of_the_process_are_real() {
        let metrics = Metrics::new("vdo-core", "1.2.3").unwrap();
        let text = metrics.render(&Pulses::default());
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
        }
        assert!(text.contains("vdo_build_info{operator=\"vdo-core\",version=\"1.2.3\"} 1"), "{text}");
    }
}
