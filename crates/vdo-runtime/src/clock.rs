//! The two clocks. Wall time goes into objects, in whole seconds; whatever is waited for or judged is
//! measured on the monotonic clock, which nobody can set back.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A point on the monotonic clock.
pub use tokio::time::Instant as Monotonic;

/// The wall clock, cut to whole seconds: what the API server stores, so that a value read back is equal.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second())
        .expect("a timestamp without its fraction is in range")
}

/// The wall clock, as Kubernetes objects carry it.
pub fn wall_time() -> Time {
    Time(wall())
}

/// The monotonic clock.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn monotonic() -> Monotonic {
    Monotonic::now()
}

/// Up to a quarter longer, so that watches, replicas and clusters do not come back in step.
pub fn jittered(pause: Duration) -> Duration {
    let random = std::hash::RandomState::new().build_hasher().finish();
    pause + pause.mul_f64((random % 1024) as f64 / 4096.0)
}
