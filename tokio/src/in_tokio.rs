//! A future that finds tokio around it wherever it is polled.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use openwork::hold_thread;
use tokio::runtime::Handle;

/// Polls a future within a tokio runtime's context, so that its timers, sockets and `tokio::spawn` work on
/// any executor; made by [`Bridge::in_tokio`](crate::Bridge::in_tokio).
///
/// The future lies in a box, which is how it can be pinned without unsafe code. It is dropped within the
/// context too.
pub struct InTokio<F: Future> {
    /// `None` only while it is dropped.
    future: Option<Pin<Box<F>>>,
    handle: Handle,
}

impl<F: Future> InTokio<F> {
    pub(crate) fn new(handle: Handle, future: F) -> InTokio<F> {
        InTokio {
            future: Some(Box::pin(future)),
            handle,
        }
    }
}

impl<F: Future> Future for InTokio<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let future = this.future.as_mut().expect("there until it is dropped");
        // Within this poll alone: such guards must nest on a thread, and between polls others run there. A
        // poll that blocks keeps the thread.
        hold_thread(|| {
            let _entered = this.handle.enter();
            future.as_mut().poll(cx)
        })
    }
}

impl<F: Future> Drop for InTokio<F> {
    fn drop(&mut self) {
        hold_thread(|| {
            let _entered = self.handle.enter();
            self.future = None;
        });
    }
}

impl<F: Future> fmt::Debug for InTokio<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTokio").finish_non_exhaustive()
    }
}
