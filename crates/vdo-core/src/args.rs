//! Settings of the program: what was typed, and what is meant.

use std::time::Duration;

use clap::Parser;
use vdo_fetch::{Fetcher, Limits, Proxy, Roots, Settings as FetchSettings};
use vdo_runtime::settings::Settings;
use vdo_runtime::words::Rhythm;

use crate::sources::poll::Pace;

/// How a matrix is fetched, whoever does it. It has at most as many bytes as its copy finds room for in a ConfigMap, beside
/// the marks of its server.
pub const LIMITS: Limits = Limits {
    body: 1_000_000,
    connect: Duration::from_secs(10),
    total: Duration::from_secs(30),
    redirects: 3,
};

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

    /// Seconds between two fetches of a matrix from an address.
    #[arg(long, env = "VDO_MATRIX_INTERVAL_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub matrix_interval_seconds: u64,

    /// Seconds that another matrix has to stand before something installed moves because of it.
    #[arg(long, env = "VDO_MATRIX_SETTLE_SECONDS", default_value_t = 120)]
    pub matrix_settle_seconds: u64,

    /// Seconds that one fetch of a matrix may take, redirects included. More than 30 is not allowed.
    #[arg(long, env = "VDO_MATRIX_TIMEOUT_SECONDS", default_value_t = LIMITS.total.as_secs(), value_parser = clap::value_parser!(u64).range(1..=LIMITS.total.as_secs()))]
    pub matrix_timeout_seconds: u64,

    /// The proxy that a matrix is fetched through, as in `http://proxy.example.com:3128`.
    #[arg(long, env = "VDO_HTTPS_PROXY", default_value = "")]
    pub https_proxy: String,

    /// Hosts, suffixes, addresses and networks that are reached without the proxy, with commas between them.
    #[arg(long, env = "VDO_NO_PROXY", default_value = "")]
    pub no_proxy: String,

    /// Certificates (PEM) of authorities by which the server of a matrix is verified, besides the public ones.
    #[arg(long, env = "VDO_CA_BUNDLE", default_value = "")]
    pub ca_bundle: String,
}

impl Args {
    /// How often a matrix is read.
    pub fn pace(&self) -> Pace {
        Pace {
            every: Duration::from_secs(self.matrix_interval_seconds),
            settle: Duration::from_secs(self.matrix_settle_seconds),
        }
    }

    /// What fetches a matrix, or what is wrong with the settings for it.
    pub fn fetcher(&self) -> Result<Fetcher, String> {
        let roots = match self.ca_bundle.trim() {
            "" => Ok(Roots::public()),
            pem => Roots::with_bundle(pem.as_bytes()).map_err(|error| format!("--ca-bundle: {error}")),
        };
        let proxy = Proxy::from_values(&self.https_proxy, &self.no_proxy);
        let proxy = proxy.map_err(|error| format!("--https-proxy and --no-proxy: {error}"));
        let limits = Limits { total: Duration::from_secs(self.matrix_timeout_seconds), ..LIMITS };
        match (roots, proxy) {
            (Ok(roots), Ok(proxy)) => Ok(Fetcher::new(FetchSettings { roots, proxy, limits })),
            (Err(one), Err(other)) => Err(format!("{one}; {other}")),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// How often words and counts alone are written.
    pub fn rhythm(&self) -> Rhythm {
        let pause = Duration::from_secs(self.status_interval_seconds);
        Rhythm { pause, patience: 6, longest: pause * 6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["vdo-core", "--namespace", "vdo", "--pod-uid", "u"], words].concat())
    }

    #[test]
    fn a_fetch_takes_30_seconds_at_most_and_less_if_that_is_asked_for() {
        assert_eq!(LIMITS.total, Duration::from_secs(30));
        assert_eq!(read(&[]).unwrap().matrix_timeout_seconds, 30);
        assert_eq!(read(&["--matrix-timeout-seconds", "3"]).unwrap().matrix_timeout_seconds, 3);
        for wrong in ["0", "31", "-1", "soon"] {
            assert!(read(&["--matrix-timeout-seconds", wrong]).is_err(), "{wrong}");
        }
    }
}
