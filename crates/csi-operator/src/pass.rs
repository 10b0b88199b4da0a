//! The program: the pass that both drivers share, with what the storage driver adds.

use std::time::Duration;

use serde_json::{Value, json};
use vdo_api::names::{CLUSTER_ID_CONFIG_MAP, CSI_DRIVER_NAME, CSI_FINALIZER, CSI_MANAGER};
use vdo_compat::Driver;
use vdo_plan::driver::{Plan, Rendered, Scene, StatusPart};
use vdo_plan::foreign::Traces;
use vdo_runtime::apply::create_immutable;
use vdo_runtime::clock::monotonic;
use vdo_runtime::driver::{DriverOperator, DriverPass, WATCHFUL};
use vdo_runtime::own::{OwnObjects, Owner};
use vdo_runtime::run::Ending;
use vdo_runtime::{Cluster, KubeFault, Operator, PassError, volumes};

use crate::args::Args;
use crate::observe::{CLUSTER_ID_KEY, OWNER, Observed, Watched, add_traces, observe};
use crate::{plan, releases};

/// Runs until told to stop.
pub async fn operate(args: Args) -> Result<Ending, String> {
    let operator = Operator::start(CSI_MANAGER, env!("CARGO_PKG_VERSION"), &args.shared).await?;
    let csi = Csi {
        watched: Watched::new(&operator.cluster, &operator.watches, &args),
        namespace: args.shared.namespace.clone(),
    };
    let driver = DriverPass::new(&operator, &args.shared, args.patience, csi);
    Ok(operator.lead(async |standing| driver.pass(standing).await, async || {}).await)
}

struct Csi {
    watched: Watched,
    /// The namespace of the operators.
    namespace: String,
}

impl DriverOperator for Csi {
    type Observed = Observed;

    const DRIVER: Driver = Driver::Csi;
    const OWNER: Owner = OWNER;
    const FINALIZER: &'static str = CSI_FINALIZER;

    fn own(&self) -> &OwnObjects {
        &self.watched.own
    }

    fn due(&self, observed: &Observed) -> Option<Duration> {
        let of_lease = self.watched.syncer.lease_left(monotonic());
        // No watch tells of a volume that is attached or detached.
        let of_volumes = observed.cluster.kept.is_some().then_some(WATCHFUL);
        of_lease.into_iter().chain(of_volumes).min()
    }

    fn is_image(image: &str) -> bool {
        releases::is_image(image)
    }

    async fn observe(&self, cluster: &Cluster, scene: Scene) -> Option<Observed> {
        observe(cluster, &self.watched, scene).await
    }

    fn render(observed: &Observed) -> Rendered {
        plan::render(observed)
    }

    fn plan(observed: &Observed) -> Plan {
        plan::plan(observed)
    }

    /// The cluster id is told once it is recorded.
    fn status(observed: &Observed, part: &StatusPart) -> Value {
        let mut csi = json!(part.record);
        if let Some(id) = observed.cluster_id.recorded.present() {
            csi["clusterID"] = id.as_str().into();
        }
        json!({ "csi": csi, "conditions": [part.ready] })
    }

    fn add_traces(observed: &Observed, traces: &mut Traces) {
        add_traces(observed, traces);
    }

    /// Records the cluster id before anything is written that carries it: an id that changed would orphan every
    /// volume.
    async fn prepare(&self, cluster: &Cluster, observed: &Observed, plan: &Plan) -> Result<(), PassError> {
        let Some(id) = plan::cluster_id_to_record(observed, plan) else { return Ok(()) };
        let data = [(CLUSTER_ID_KEY.to_owned(), id)].into();
        create_immutable(cluster, CSI_MANAGER, &self.namespace, CLUSTER_ID_CONFIG_MAP, data)
            .await
            .map_err(PassError::report("the record of the cluster id"))
    }

    /// A volume may have been made while the controller was going away.
    async fn may_go(&self, cluster: &Cluster) -> Result<bool, KubeFault> {
        Ok(volumes::needing(cluster, CSI_DRIVER_NAME).await.present().is_some_and(Vec::is_empty))
    }
}
