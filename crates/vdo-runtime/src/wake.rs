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
    urgent: AtomicBool,
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

    /// Asks for a pass that does not wait for the pause after the last one.
    pub fn hurry(&self) {
        self.0.urgent.store(true, Ordering::Release);
        self.raise();
    }

    /// Waits until a pass is asked for, and forgets it.
    pub async fn raised(&self) {
        self.rung(&self.0.rung).await;
    }

    /// Waits until a pass is asked for that does not wait, and forgets it.
    pub(crate) async fn hurried(&self) {
        self.rung(&self.0.urgent).await;
    }

    async fn rung(&self, flag: &AtomicBool) {
        // The notification may be left over from a wake-up that was forgotten; the flag decides.
        while !flag.swap(false, Ordering::AcqRel) {
            self.0.notify.notified().await;
        }
    }

    /// Forgets what was asked for until now: the pass that begins will see it.
    pub(crate) fn forget(&self) {
        for flag in [&self.0.rung, &self.0.urgent] {
            flag.store(false, Ordering::Release);
        }
    }
}
