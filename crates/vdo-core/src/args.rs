//! Settings of the program: what was typed, and what is meant.

use clap::Parser;
use vdo_runtime::settings::Settings;

/// Verifies vCenters, chooses driver releases, publishes gates and sums up.
#[derive(Parser, Clone, Debug)]
#[command(name = "vdo-core", version)]
pub struct Args {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Settings,
}
