//! The answer to an append, as something to wait for.
//!
//! A block is appended by handing it to the writer thread, which answers when the block is durable.
//! A turn routine must not sleep on that (it would take its worker along), so a [`Receipt`] is a
//! `Future`; a plain thread or a test may block on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::block::Block;
use crate::error::AppendError;

/// What the writer answers.
pub type Appended = Result<Arc<Block>, AppendError>;

/// The answer to one append: `Ok` once the block is durable.
///
/// Dropping it takes nothing back; the block is appended all the same.
#[derive(Debug)]
#[must_use = "an append is known to be durable only when its receipt says so"]
pub struct Receipt {
    slot: Arc<Slot>,
}

/// The writer's end of a receipt.
#[derive(Debug)]
pub(crate) struct Answer {
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Appended>,
    /// The future that was polled last.
    waker: Option<Waker>,
}

/// A receipt and the way to answer it.
pub(crate) fn receipt() -> (Answer, Receipt) {
    let slot = Arc::new(Slot::default());
    (
        Answer {
            slot: Arc::clone(&slot),
        },
        Receipt { slot },
    )
}

impl Answer {
    pub(crate) fn send(self, answer: Appended) {
        let mut state = self.slot.lock();
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        self.slot.answered.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Receipt {
    /// Blocks the calling thread until the writer has answered.
    ///
    /// Not for routines: there it would hold the worker. Await the receipt, or hand
    /// [`answered`](Receipt::answered) to `Turn::Wait`.
    pub fn wait(self) -> Appended {
        let mut state = self.slot.lock();
        loop {
            if let Some(answer) = state.answer.take() {
                return answer;
            }
            state = self
                .slot
                .answered
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Resolves when the answer is there, and leaves it for [`take`](Receipt::take).
    pub fn answered(&self) -> impl Future<Output = ()> + Send + use<> {
        let slot = Arc::clone(&self.slot);
        std::future::poll_fn(move |context| {
            let mut state = slot.lock();
            if state.answer.is_some() {
                return Poll::Ready(());
            }
            state.remember(context);
            Poll::Pending
        })
    }

    /// Whether an answer is there and is a refusal. An append that the chain does not accept is
    /// answered before it returns, so this tells right after it whether the block was accepted.
    pub fn is_refused(&self) -> bool {
        matches!(self.slot.lock().answer, Some(Err(_)))
    }

    /// The answer, once; `None` before the writer has answered and after it was taken.
    pub fn take(&mut self) -> Option<Appended> {
        self.slot.lock().answer.take()
    }
}

impl Future for Receipt {
    type Output = Appended;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Appended> {
        let mut state = self.slot.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.remember(context);
                Poll::Pending
            }
        }
    }
}

impl Slot {
    /// A panic while this lock is held leaves both fields whole, so poison carries no news.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, context: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StorageError;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    const CLOSED: Appended = Err(AppendError::Storage(StorageError::Closed));

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_blocked_thread_gets_an_answer_given_before_or_after() {
        let (answer, early) = receipt();
        answer.send(CLOSED);
        assert_eq!(early.wait(), CLOSED);

        let (answer, late) = receipt();
        let waiting = thread::spawn(move || late.wait());
        answer.send(CLOSED);
        assert_eq!(waiting.join().unwrap(), CLOSED);
    }

    #[test]
    fn a_pending_future_is_woken_once_and_then_ready() {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut context = Context::from_waker(&waker);

        let (answer, mut receipt) = receipt();
        let mut answered = Box::pin(receipt.answered());
        assert_eq!(answered.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(receipt.take(), None);
        answer.send(CLOSED);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert_eq!(answered.as_mut().poll(&mut context), Poll::Ready(()));
        assert_eq!(
            Pin::new(&mut receipt).poll(&mut context),
            Poll::Ready(CLOSED)
        );
    }
}
