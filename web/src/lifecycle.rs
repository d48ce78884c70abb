//! Whether the service takes new work.

use tokio::sync::watch;

/// Told once that the service is ending; asked by whoever must know. A cheap handle.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    draining: watch::Sender<bool>,
}

impl Lifecycle {
    /// A service that takes work.
    pub fn ready() -> Self {
        Lifecycle {
            draining: watch::Sender::new(false),
        }
    }

    /// From now on no new work is taken. Saying it twice is saying it once.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether new work is refused.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until the service begins to end.
    pub async fn draining(&self) {
        // The only sender that could go away is ours.
        let _ = self
            .draining
            .subscribe()
            .wait_for(|draining| *draining)
            .await;
    }
}
