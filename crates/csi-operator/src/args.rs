//! Settings of the program: what was typed, and what is meant.

use clap::Parser;
use vdo_runtime::settings::Settings;

/// Installs and watches the vSphere storage driver.
#[derive(Parser, Clone, Debug)]
#[command(name = "csi-operator", version)]
pub struct Args {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Settings,
    /// Seconds after which a roll-out that does not get healthy is rolled back.
    #[arg(long, env = "VDO_ROLLOUT_DEADLINE_SECONDS", default_value_t = 600)]
    pub rollout_deadline_seconds: i64,
}
