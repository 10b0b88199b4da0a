//! What every operator does at its start: it connects, watches, serves its probes and metrics, and leads.

use crate::client::Cluster;
use crate::events::Reporter;
use crate::lease::{LeaseKeeper, LeaseSettings};
use crate::logs::LogLevel;
use crate::metrics::Metrics;
use crate::run::{Ending, PassError, Revisit, Standing, run};
use crate::serve::{Health, serve};
use crate::settings::Settings;
use crate::wake::Wake;
use crate::watch::Watches;

/// An operator that is connected and serves, and does not lead yet.
pub struct Operator {
    /// The API server.
    pub cluster: Cluster,
    /// The one wake-up of the loop.
    pub wake: Wake,
    /// What is watched; add to it before leading.
    pub watches: Watches,
    /// Who reports events.
    pub reporter: Reporter,
    /// What is counted.
    pub metrics: Metrics,
    /// How much is logged.
    pub log: LogLevel,
    health: Health,
    lease: LeaseSettings,
}

impl Operator {
    /// Begins to log, connects, and serves. The name is the field manager's and the Lease's too.
    pub async fn start(name: &'static str, version: &str, settings: &Settings) -> Result<Self, String> {
        let log = LogLevel::start(settings.log_format, &settings.log)?;
        let cluster = Cluster::connect(name, version).await.map_err(|fault| fault.to_string())?;
        let operator = Operator { log, ..Operator::over(cluster, name, version, settings)? };
        serve(settings.listen, operator.health.clone())
            .await
            .map_err(|error| format!("{}: {error}", settings.listen))?;
        Ok(operator)
    }

    /// An operator over a connection that is there; it neither logs nor serves.
    pub fn over(
        cluster: Cluster,
        name: &'static str,
        version: &str,
        settings: &Settings,
    ) -> Result<Self, String> {
        let wake = Wake::new();
        let watches = Watches::new(&wake);
        let metrics = Metrics::new(name, version).map_err(|error| error.to_string())?;
        metrics.add_traffic(cluster.traffic()).map_err(|error| error.to_string())?;
        let health = Health::new(&cluster, watches.pulses(), metrics.clone(), settings.metrics);
        // An event without the name of its reporter is refused.
        let pod = if settings.pod_name.is_empty() { &settings.pod_uid } else { &settings.pod_name };
        let reporter = Reporter::new(name, pod, &metrics);
        let (log, lease) = (LogLevel::fixed(), settings.lease(name));
        Ok(Operator { cluster, wake, watches, reporter, metrics, log, health, lease })
    }

    /// Runs passes while it leads, until told to stop. `farewell` is called at the end, whatever it is.
    pub async fn lead(
        self,
        pass: impl AsyncFnMut(Standing) -> Result<Revisit, PassError>,
        farewell: impl AsyncFnOnce(),
    ) -> Ending {
        let lease = LeaseKeeper::start(&self.cluster, self.lease);
        run(&self.cluster, lease, &self.wake, &self.health, pass, farewell).await
    }
}
