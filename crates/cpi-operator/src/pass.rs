//! The program: the pass that both drivers share, with what the cloud provider adds.

use std::time::Duration;

use serde_json::{Value, json};
use vdo_api::names::{CPI_FINALIZER, CPI_MANAGER};
use vdo_compat::Driver;
use vdo_plan::driver::{Plan, Rendered, Scene, StatusPart};
use vdo_runtime::clock::monotonic;
use vdo_runtime::driver::{DriverOperator, DriverPass};
use vdo_runtime::own::{OwnObjects, Owner};
use vdo_runtime::run::Ending;
use vdo_runtime::{Cluster, Operator};

use crate::args::Args;
use crate::observe::{OWNER, Observed, Watched, observe};
use crate::{plan, releases};

/// Runs until told to stop.
pub async fn operate(args: Args) -> Result<Ending, String> {
    let operator = Operator::start(CPI_MANAGER, env!("CARGO_PKG_VERSION"), &args.shared).await?;
    let cpi = Cpi { watched: Watched::new(&operator.cluster, &operator.watches, &args) };
    let driver = DriverPass::new(&operator, &args.shared, args.patience, cpi);
    Ok(operator.lead(async |standing| driver.pass(standing).await, async || {}).await)
}

struct Cpi {
    watched: Watched,
}

impl DriverOperator for Cpi {
    type Observed = Observed;

    const DRIVER: Driver = Driver::Cpi;
    const OWNER: Owner = OWNER;
    const FINALIZER: &'static str = CPI_FINALIZER;

    fn own(&self) -> &OwnObjects {
        &self.watched.own
    }

    fn due(&self, _: &Observed) -> Option<Duration> {
        self.watched.lease.lease_left(monotonic())
    }

    fn is_image(image: &str) -> bool {
        releases::is_image(image)
    }

    async fn observe(&self, cluster: &Cluster, scene: Scene) -> Option<Observed> {
        Some(observe(cluster, &self.watched, scene).await)
    }

    fn render(observed: &Observed) -> Rendered {
        plan::render(observed)
    }

    fn plan(observed: &Observed) -> Plan {
        plan::plan(observed)
    }

    fn status(_: &Observed, part: &StatusPart) -> Value {
        json!({ "cpi": part.record, "conditions": [part.ready] })
    }
}
