//! What every operator does at its start: it connects, watches, serves its probes and metrics, and leads.

use crate::client::Cluster;
use crate::events::Reporter;
use crate::lease::{LeaseKeeper, LeaseSettings};
use crate::run::{Ending, PassError, Revisit, Standing, run};
use crate::serve::{Health, serve};
use crate::settings::Settings;
use crate::telemetry::{Metrics, start_logging};
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
    health: Health,
    lease: LeaseSettings,
}

impl Operator {
    /// Begins to log, connects, and serves. The name is the field manager's and the Lease's too.
    pub async fn start(name: &'static str, version: &str, settings: &Settings) -> Result<Self, String> {
        start_logging(settings.log_format, &settings.log)?;
        let cluster = Cluster::connect(name, version).await.map_err(|fault| fault.to_string())?;
        let operator = Operator::over(cluster, name, version, settings)?;
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
        let health = Health::new(&cluster, watches.pulses(), metrics.clone());
        // An event without the name of its reporter is refused.
        let pod = if settings.pod_name.is_empty() { &settings.pod_uid } else { &settings.pod_name };
        let reporter = Reporter { operator: name.to_owned(), pod: pod.clone() };
        Ok(Operator { cluster, wake, watches, reporter, metrics, health, lease: settings.lease(name) })
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
