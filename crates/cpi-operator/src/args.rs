//! Settings of the program: what was typed, and what is meant.

use clap::Parser;
use vdo_runtime::driver::Patience;
use vdo_runtime::settings::Settings;

/// Installs and watches the vSphere cloud provider.
#[derive(Parser, Clone, Debug)]
#[command(name = "cpi-operator", version)]
pub struct Args {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Settings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub patience: Patience,
}
