//! The one wake-up of the loop.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes the loop. Any number of wake-ups before the next pass are one.
#[derive(Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A wake-up that nobody raised yet.
    pub fn new() -> Self {
        Wake::default()
    }

    /// Asks for a pass.
    pub fn raise(&self) {
        self.0.notify_one();
    }

    /// Waits until a pass is asked for, and forgets it.
    pub async fn raised(&self) {
        self.0.notified().await;
    }
}
