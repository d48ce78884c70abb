//! What primitives are built from: a lock for a few instructions ([`lock`]), queues of waiters
//! ([`wait_queue`]), and the one place where a caller goes to sleep in them ([`wait`]).

pub(crate) mod lock;
pub(crate) mod wait;
pub(crate) mod wait_queue;
