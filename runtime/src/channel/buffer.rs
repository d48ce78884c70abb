//! What lies in a channel: sent, not yet received.

use std::collections::VecDeque;

/// Bytes of one segment of an unbounded channel: one allocation for many values, and never a copy of
/// all that lies there.
const SEGMENT_BYTES: usize = 4096;

/// Most values of a segment, for small ones.
const SEGMENT_MAX: usize = 256;

/// Values in their order.
pub(crate) enum Buffer<T> {
    /// All its memory is there from the start.
    Bounded {
        items: VecDeque<T>,
        capacity: usize,
    },
    Unbounded(Segments<T>),
}

/// A queue that grows by segments.
pub(crate) struct Segments<T> {
    /// None of them is empty, but perhaps the only one.
    segments: VecDeque<VecDeque<T>>,
    /// An empty one, so that a channel around a segment's edge does not allocate each time.
    spare: Option<VecDeque<T>>,
    len: usize,
    /// Values beyond which the channel is over its soft limit; `usize::MAX` for none.
    soft_limit: usize,
    /// Values that were pushed beyond it.
    pushed_over: u64,
}

impl<T> Buffer<T> {
    pub(crate) fn bounded(capacity: usize) -> Buffer<T> {
        Buffer::Bounded {
            items: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    pub(crate) fn unbounded(soft_limit: usize) -> Buffer<T> {
        Buffer::Unbounded(Segments {
            segments: VecDeque::new(),
            spare: None,
            len: 0,
            soft_limit,
            pushed_over: 0,
        })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Buffer::Bounded { items, .. } => items.len(),
            Buffer::Unbounded(segments) => segments.len,
        }
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        match self {
            Buffer::Bounded { capacity, .. } => Some(*capacity),
            Buffer::Unbounded(_) => None,
        }
    }

    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Buffer::Bounded { items, capacity } => items.len() < *capacity,
            Buffer::Unbounded(_) => true,
        }
    }

    /// Whether there is room for who waits at the soft limit too.
    #[inline]
    pub(crate) fn has_soft_room(&self) -> bool {
        match self {
            Buffer::Bounded { items, capacity } => items.len() < *capacity,
            Buffer::Unbounded(segments) => segments.len < segments.soft_limit,
        }
    }

    /// The soft limit, and how many values were pushed beyond it.
    pub(crate) fn soft_limit(&self) -> Option<(usize, u64)> {
        match self {
            Buffer::Unbounded(segments) if segments.soft_limit < usize::MAX => {
                Some((segments.soft_limit, segments.pushed_over))
            }
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        match self {
            Buffer::Bounded { items, .. } => items.push_back(value),
            Buffer::Unbounded(segments) => segments.push(value),
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        match self {
            Buffer::Bounded { items, .. } => items.pop_front(),
            Buffer::Unbounded(segments) => segments.pop(),
        }
    }

    /// Puts back what was taken last, perhaps over the capacity.
    pub(crate) fn unpop(&mut self, value: T) {
        match self {
            Buffer::Bounded { items, .. } => items.push_front(value),
            Buffer::Unbounded(segments) => segments.unpop(value),
        }
    }

    /// Everything, to be dropped elsewhere.
    pub(crate) fn take(&mut self) -> Buffer<T> {
        let empty = match self {
            Buffer::Bounded { capacity, .. } => Buffer::Bounded {
                items: VecDeque::new(),
                capacity: *capacity,
            },
            Buffer::Unbounded(segments) => Buffer::unbounded(segments.soft_limit),
        };
        std::mem::replace(self, empty)
    }
}

impl<T> Segments<T> {
    const LEN: usize = {
        let fit = SEGMENT_BYTES
            / if size_of::<T>() == 0 {
                1
            } else {
                size_of::<T>()
            };
        if fit == 0 {
            1
        } else if fit > SEGMENT_MAX {
            SEGMENT_MAX
        } else {
            fit
        }
    };

    fn push(&mut self, value: T) {
        self.len += 1;
        self.pushed_over += u64::from(self.len > self.soft_limit);
        if let Some(last) = self.segments.back_mut()
            && last.len() < Self::LEN
        {
            // In a segment that was popped from, the free places are at the front: the ring uses
            // them.
            last.push_back(value);
            return;
        }
        let fresh = self.spare.take();
        let mut fresh = fresh.unwrap_or_else(|| VecDeque::with_capacity(Self::LEN));
        fresh.push_back(value);
        self.segments.push_back(fresh);
    }

    fn pop(&mut self) -> Option<T> {
        let first = self.segments.front_mut()?;
        let value = first.pop_front()?;
        self.len -= 1;
        if first.is_empty() && self.segments.len() > 1 {
            self.spare = self.segments.pop_front();
        }
        Some(value)
    }

    fn unpop(&mut self, value: T) {
        self.len += 1;
        match self.segments.front_mut() {
            Some(first) => first.push_front(value),
            None => self.segments.push_front(VecDeque::from([value])),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Over many segments and around their edges: order and count are right.
    #[test]
    fn segments_keep_the_order() {
        let mut buffer = Buffer::unbounded(usize::MAX);
        let (mut sent, mut received) = (0u64, 0u64);
        for round in 0..2000u64 {
            for _ in 0..round % 7 + 1 {
                buffer.push(sent);
                sent += 1;
            }
            for _ in 0..round % 5 + 1 {
                if let Some(value) = buffer.pop() {
                    assert_eq!(value, received);
                    received += 1;
                }
            }
            assert_eq!(buffer.len() as u64, sent - received);
        }
        buffer.unpop(received - 1);
        for expected in received - 1..sent {
            assert_eq!(buffer.pop(), Some(expected));
        }
        assert_eq!((buffer.pop(), buffer.len()), (None, 0));
    }
}
