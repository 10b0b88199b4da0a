//! The one loop of an operator: a pass when woken or when the next deadline comes, only while it leads.

use std::future::Future;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep_until, timeout, timeout_at};

use crate::client::{Cluster, Licence};
use crate::clock::{Monotonic, jittered, monotonic};
use crate::fault::{KubeFault, Retry};
use crate::lease::{Leadership, LeaseKeeper, Parting};
use crate::serve::Health;
use crate::wake::Wake;

/// The longest time between two passes: a change that no watch shows is found by then.
pub const LONGEST: Duration = Duration::from_secs(300);
/// The shortest time between the end of a pass and the next, unless it is urgent, so that a burst of changes is one pass.
const SPACING: Duration = Duration::from_millis(100);
/// At a stop: how long the pass and our writes may go on.
const STOP_PASS: Duration = Duration::from_secs(5);
/// At a stop: how long the operator's own farewell may take.
const STOP_FAREWELL: Duration = Duration::from_secs(2);
/// At a stop: how long giving up the Lease may take.
const STOP_LEASE: Duration = Duration::from_secs(2);

/// When to look again if nothing wakes us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revisit {
    within: Duration,
}

impl Revisit {
    /// Within this time, and never later than [`LONGEST`].
    pub fn within(time: Duration) -> Self {
        Revisit { within: time.min(LONGEST) }
    }

    /// When there is nothing to wait for.
    pub fn at_leisure() -> Self {
        Revisit::within(LONGEST)
    }

    /// The earlier of the two.
    pub fn or_sooner(self, time: Duration) -> Self {
        Revisit { within: self.within.min(time) }
    }
}

/// How the process stands when a pass begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether objects may be written. Reading and reporting is always allowed in a pass.
    pub licence: Licence,
}

impl Standing {
    /// Whether a request of a predecessor, or one of ours that timed out, may still be under way.
    pub fn is_quarantined(&self) -> bool {
        matches!(self.licence, Licence::Quarantined { .. })
    }
}

/// Why a pass came to no end: the API server failed us.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PassError {
    /// Something could not be read.
    #[error("failed to read {object}")]
    Observe {
        /// What was read.
        object: String,
        /// Why not.
        source: KubeFault,
    },
    /// Something could not be written down.
    #[error("failed to report on {object}")]
    Report {
        /// What was written.
        object: String,
        /// Why not.
        source: KubeFault,
    },
}

impl PassError {
    /// Turns the fault of a read into the error of the pass.
    pub fn observe(object: impl Into<String>) -> impl FnOnce(KubeFault) -> PassError {
        move |source| PassError::Observe { object: object.into(), source }
    }

    /// Turns the fault of a report into the error of the pass.
    pub fn report(object: impl Into<String>) -> impl FnOnce(KubeFault) -> PassError {
        move |source| PassError::Report { object: object.into(), source }
    }

    /// What the API server did.
    pub fn fault(&self) -> &KubeFault {
        match self {
            PassError::Observe { source, .. } | PassError::Report { source, .. } => source,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        self.fault().retry()
    }
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop, and the Lease was given up.
    Stopped {
        /// Whether the successor need not wait.
        parting: Parting,
    },
    /// The Lease was lost.
    LeadershipLost,
}

impl Ending {
    /// What the process should end with. Lost leadership is a failure, so that the pod is started afresh.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Ending::Stopped { .. } => ExitCode::SUCCESS,
            Ending::LeadershipLost => ExitCode::FAILURE,
        }
    }
}

/// Runs passes until the process is told to stop (SIGTERM or SIGINT), or until leadership is lost.
///
/// A stop begins no new pass and no new object write, waits for what is under way, calls `farewell` (as for
/// logging out of a vCenter) and gives up the Lease, all within ten seconds.
pub async fn run(
    cluster: &Cluster,
    lease: LeaseKeeper,
    wake: &Wake,
    health: &Health,
    pass: impl AsyncFnMut(Standing) -> Result<Revisit, PassError>,
    farewell: impl AsyncFnOnce(),
) -> Ending {
    run_until(told_to_stop(), cluster, lease, wake, health, pass, farewell).await
}

/// As [`run`], until `stop` is ready.
pub async fn run_until(
    stop: impl Future<Output = ()>,
    cluster: &Cluster,
    lease: LeaseKeeper,
    wake: &Wake,
    health: &Health,
    mut pass: impl AsyncFnMut(Standing) -> Result<Revisit, PassError>,
    farewell: impl AsyncFnOnce(),
) -> Ending {
    let mut stop = pin!(stop);
    let mut leadership = lease.subscribe();

    let mut stopping = tokio::select! {
        biased;
        () = &mut stop => Some(monotonic() + STOP_PASS),
        _ = becomes(&mut leadership, Leadership::Leading) => None,
    };
    let mut pace = Pace::new();
    while stopping.is_none() {
        health.set_leading(true);
        tokio::select! {
            biased;
            () = &mut stop => { stopping = Some(monotonic() + STOP_PASS); break }
            () = becomes(&mut leadership, Leadership::Lost) => return lost(health, farewell).await,
            () = pace.due(wake) => {}
        }
        health.pass_begins();
        let began = monotonic();
        let outcome = {
            let mut running = pin!(pass(Standing { licence: cluster.licence() }));
            let first = tokio::select! {
                biased;
                // Dropping the pass drops its requests: nothing new is sent after the Lease is lost.
                () = becomes(&mut leadership, Leadership::Lost) => return lost(health, farewell).await,
                outcome = &mut running => Some(outcome),
                () = &mut stop => None,
            };
            match first {
                Some(outcome) => outcome,
                None => {
                    cluster.close();
                    let end = monotonic() + STOP_PASS;
                    stopping = Some(end);
                    match timeout_at(end, running).await {
                        Ok(outcome) => outcome,
                        Err(_) => break,
                    }
                }
            }
        };
        health.pass_ends(began, outcome.as_ref().err());
        pace.after(outcome, cluster.licence());
    }

    cluster.close();
    let end = stopping.unwrap_or_else(monotonic);
    let calm = cluster.settle(end.saturating_duration_since(monotonic())).await;
    let parting = if calm { Parting::Clean } else { Parting::Unclean };
    health.set_leading(false);
    if timeout(STOP_FAREWELL, farewell()).await.is_err() {
        tracing::warn!("the farewell took too long and was cut off");
    }
    match timeout(STOP_LEASE, lease.release(parting)).await {
        Ok(Ok(())) => tracing::info!(?parting, "stopped"),
        Ok(Err(fault)) => tracing::warn!(%fault, "stopped without giving up the lease"),
        Err(_) => tracing::warn!("stopped without giving up the lease: no answer"),
    }
    Ending::Stopped { parting }
}

async fn lost(health: &Health, farewell: impl AsyncFnOnce()) -> Ending {
    tracing::error!("leadership lost; the process ends");
    health.set_leading(false);
    if timeout(STOP_FAREWELL, farewell()).await.is_err() {
        tracing::warn!("the farewell took too long and was cut off");
    }
    Ending::LeadershipLost
}

async fn becomes(leadership: &mut watch::Receiver<Leadership>, wanted: Leadership) {
    if leadership.wait_for(|now| *now == wanted).await.is_err() && wanted != Leadership::Lost {
        // The keeper is gone without ever leading: only a stop can end the wait.
        std::future::pending::<()>().await;
    }
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; a stop will be sudden");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// When the next pass is due.
struct Pace {
    not_before: Monotonic,
    at_latest: Monotonic,
    failures: u32,
    last_cause: &'static str,
}

impl Pace {
    fn new() -> Self {
        let now = monotonic();
        Pace { not_before: now, at_latest: now, failures: 0, last_cause: "" }
    }

    async fn due(&self, wake: &Wake) {
        let woken = async {
            wake.raised().await;
            tokio::select! {
                () = sleep_until(self.not_before) => {}
                // What failed is not tried sooner for an edit.
                () = wake.hurried(), if self.failures == 0 => {}
            }
        };
        tokio::select! {
            () = sleep_until(self.at_latest) => {}
            () = woken => {}
        }
        wake.forget();
    }

    fn after(&mut self, outcome: Result<Revisit, PassError>, licence: Licence) {
        let now = monotonic();
        match outcome {
            Ok(Revisit { within }) => {
                if self.failures > 0 {
                    tracing::info!("passes come to an end again");
                }
                (self.failures, self.last_cause) = (0, "");
                (self.not_before, self.at_latest) = (now + SPACING, now + within.max(SPACING));
            }
            Err(error) => {
                if self.last_cause != error.fault().cause() {
                    // Somebody else wrote first: the next pass reads anew, and nobody has to do anything.
                    if matches!(error.fault(), KubeFault::Conflict { .. }) {
                        tracing::debug!(%error, "pass overtaken");
                    } else {
                        tracing::warn!(%error, fault = %error.fault(), "pass failed");
                    }
                    self.last_cause = error.fault().cause();
                }
                let pause = jittered(pause_after(error.retry(), self.failures));
                self.failures += 1;
                // A wake-up may cut the pause short, but only so far; and not one that the server asked for.
                let least = match error.retry() {
                    Retry::After(_) => pause,
                    Retry::Reread | Retry::Soon | Retry::Slowly => pause.min(Duration::from_secs(1)),
                };
                (self.not_before, self.at_latest) = (now + least, now + pause);
            }
        }
        if let Licence::Quarantined { until } = licence {
            self.at_latest = self.at_latest.min(until.max(now + SPACING));
        }
    }
}

fn pause_after(retry: Retry, failures: u32) -> Duration {
    let doubled = |first: Duration, most: Duration| (first * 2u32.pow(failures.min(8))).min(most);
    match retry {
        Retry::Reread => doubled(SPACING, Duration::from_secs(5)),
        Retry::Soon => doubled(Duration::from_millis(500), Duration::from_secs(15)),
        Retry::After(pause) => pause.max(SPACING),
        Retry::Slowly => doubled(Duration::from_secs(5), Duration::from_secs(60)),
    }
}
