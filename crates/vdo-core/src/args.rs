//! Settings of the program: what was typed, and what is meant.

use std::time::Duration;

use clap::Parser;
use vdo_runtime::settings::Settings;
use vdo_runtime::words::Rhythm;

/// Verifies vCenters, chooses driver releases, publishes gates and sums up.
#[derive(Parser, Clone, Debug)]
#[command(name = "vdo-core", version)]
pub struct Args {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shared: Settings,

    /// Seconds between two writes of a VDOConfig's status in which only words or counts are new; after a while of them up to
    /// six times as long.
    #[arg(long, env = "VDO_STATUS_INTERVAL_SECONDS", default_value_t = 10)]
    pub status_interval_seconds: u64,
}

impl Args {
    /// How often words and counts alone are written.
    pub fn rhythm(&self) -> Rhythm {
        let pause = Duration::from_secs(self.status_interval_seconds);
        Rhythm { pause, patience: 6, longest: pause * 6 }
    }
}
