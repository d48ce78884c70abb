//! A routine that somebody awaits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use openwork::{JoinError, JoinHandle};

/// Awaits a routine; dropping it aborts the routine. Made by [`Bridge::run`](crate::Bridge::run).
///
/// So a task that is cancelled, or loses in a `tokio::select!`, takes its routine along. To let the routine
/// go on, use [`Bridge::spawn`](crate::Bridge::spawn), or [`detach`](Self::detach).
#[derive(Debug)]
#[must_use = "dropping it aborts the routine"]
pub struct Running<T> {
    /// `None` when it has ended.
    handle: Option<JoinHandle<T>>,
}

impl<T> Running<T> {
    pub(crate) fn new(handle: JoinHandle<T>) -> Running<T> {
        Running {
            handle: Some(handle),
        }
    }

    /// The handle, whose drop lets the routine go on. `None` if the routine's end was seen.
    pub fn detach(mut self) -> Option<JoinHandle<T>> {
        self.handle.take()
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.handle.as_mut().expect("polled after it was ready");
        let polled = Pin::new(handle).poll(cx);
        if polled.is_ready() {
            self.handle = None;
        }
        polled
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}
