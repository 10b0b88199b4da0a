//! The one wake-up of the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Wakes the loop. Any number of wake-ups before the next pass are one.
#[derive(Clone, Default)]
pub struct Wake(Arc<Bell>);

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    notify: Notify,
}

impl Wake {
    /// A wake-up that nobody raised yet.
    pub fn new() -> Self {
        Wake::default()
    }

    /// Asks for a pass.
    pub fn raise(&self) {
        self.0.rung.store(true, Ordering::Release);
        self.0.notify.notify_one();
    }

    /// Waits until a pass is asked for, and forgets it.
    pub async fn raised(&self) {
        // The notification may be left over from a wake-up that was forgotten; the flag decides.
        while !self.forget() {
            self.0.notify.notified().await;
        }
    }

    /// Forgets what was asked for until now: the pass that begins will see it. True if there was anything.
    pub(crate) fn forget(&self) -> bool {
        self.0.rung.swap(false, Ordering::AcqRel)
    }
}
