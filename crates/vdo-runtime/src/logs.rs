//! The log: where it goes, how it looks, and how much is said, which can be changed while the process runs.

use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;
use vdo_api::condition::clip;

use crate::watch::lock;

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

type Turn = dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync;

/// How much is logged. Clones are one.
#[derive(Clone)]
pub struct LogLevel {
    turn: Arc<Turn>,
    /// What the process was started with.
    first: String,
    /// What was asked for last, whether or not it could be had.
    asked: Arc<Mutex<String>>,
}

impl LogLevel {
    /// Begins to log to standard error. `filter` is as in `info` or `vdo_core=debug,info`; an unreadable one is
    /// an error that names the part.
    pub fn start(format: LogFormat, filter: &str) -> Result<Self, String> {
        let first = log_filter(filter)?;
        let builder = tracing_subscriber::fmt().with_env_filter(first).with_writer(std::io::stderr);
        let (turn, started): (Arc<Turn>, _) = match format {
            LogFormat::Text => {
                let builder = builder.with_ansi(false).with_filter_reloading();
                let handle = builder.reload_handle();
                (Arc::new(move |to| handle.reload(to).map_err(|error| error.to_string())), builder.try_init())
            }
            LogFormat::Json => {
                let builder = builder.json().flatten_event(true).with_filter_reloading();
                let handle = builder.reload_handle();
                (Arc::new(move |to| handle.reload(to).map_err(|error| error.to_string())), builder.try_init())
            }
        };
        started.map_err(|error| error.to_string())?;
        Ok(LogLevel::over(turn, filter))
    }

    /// Of a process that does not log, or whose log somebody else has begun.
    pub fn fixed() -> Self {
        LogLevel::over(Arc::new(|_| Ok(())), "")
    }

    fn over(turn: Arc<Turn>, first: &str) -> Self {
        LogLevel { turn, first: first.to_owned(), asked: Arc::new(Mutex::new(first.to_owned())) }
    }

    /// Logs as is asked for, or as at the start if nothing is. What cannot be read changes nothing, and is said once.
    pub fn follow(&self, asked: Option<&str>) {
        let wanted = asked.map_or(self.first.as_str(), str::trim);
        let mut last = lock(&self.asked);
        if *last == wanted {
            return;
        }
        wanted.clone_into(&mut last);
        match log_filter(wanted).and_then(|filter| (self.turn)(filter)) {
            Ok(()) => tracing::info!(filter = clip(wanted, 256), "what is logged was changed"),
            Err(why) => {
                tracing::warn!(
                    why = clip(&why, 512),
                    "what is logged stays as it is: the annotation cannot be read"
                );
            }
        }
    }
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
    fn what_is_logged_follows_what_is_asked_and_goes_back() {
        let turned = Arc::<Mutex<Vec<String>>>::default();
        let noted = turned.clone();
        let level = LogLevel::over(
            Arc::new(move |filter| {
                lock(&noted).push(filter.to_string());
                Ok(())
            }),
            "info",
        );
        for asked in [None, Some("debug"), Some(" debug "), Some("=,=!"), Some("=,=!"), None] {
            level.follow(asked);
        }
        let turned = lock(&turned);
        assert_eq!(turned.len(), 2, "{turned:?}");
        assert!(turned[0].contains("debug") && turned[1].contains("info"), "{turned:?}");
        assert!(turned.iter().all(|it| it.contains("kube_client=error")));
    }
}
