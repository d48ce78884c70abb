//! Between routines and the one thread that answers HTTP.
//!
//! Three ways to have something done without holding that thread: work belongs on routines ([`joined`]); looking at the
//! runtime and reading the disk belong on tokio's blocking threads ([`off_thread`]), because an observer that queued up
//! behind what it observes would show nothing just when there is most to see; and what is long is made piece by piece as
//! its reader takes it ([`pieces`]), so that a slow reader holds a few kilobytes and no thread.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use openwork::{JoinError, JoinHandle};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::{ApiError, Code};

/// Pieces made ahead of the reader.
const PIECES_AHEAD: usize = 2;

/// Awaits a routine; dropping the future aborts it.
pub fn joined<T>(handle: JoinHandle<T>) -> Joined<T> {
    Joined(Some(handle))
}

/// See [`joined`].
#[derive(Debug)]
#[must_use = "dropping it aborts the routine"]
pub struct Joined<T>(Option<JoinHandle<T>>);

impl<T> Future for Joined<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.0.as_mut().expect("polled after it was ready");
        let ready = Pin::new(handle).poll(context);
        if ready.is_ready() {
            self.0 = None;
        }
        ready
    }
}

impl<T> Drop for Joined<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

/// How a routine's bad end is told to the client.
pub fn join_error(error: &JoinError) -> ApiError {
    match error {
        JoinError::Cancelled => ApiError::new(Code::Cancelled, "its routines were cancelled"),
        other => ApiError::internal(format_args!("a routine panicked: {}", other.message())),
    }
}

/// Runs `read` on a thread that may block.
///
/// # Errors
/// `internal` if it panics.
pub async fn off_thread<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(ApiError::internal)
}

/// A body whose pieces are made on blocking threads, each when the one before it is on its way.
///
/// A piece that cannot be made ends the connection, so that its client sees a broken answer and not a short one.
pub fn pieces<E: std::error::Error + Send + Sync + 'static>(
    pieces: impl Iterator<Item = Result<Bytes, E>> + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let mut pieces = pieces;
        // No permit any more: the client has gone.
        while let Ok(permit) = sender.reserve().await {
            let made = tokio::task::spawn_blocking(move || {
                let piece = pieces.next();
                (pieces, piece)
            });
            let piece = match made.await {
                Ok((rest, Some(piece))) => {
                    pieces = rest;
                    piece.map_err(axum::Error::new)
                }
                Ok((_, None)) => return,
                Err(panicked) => {
                    permit.send(Err(axum::Error::new(panicked)));
                    return;
                }
            };
            let broken = piece.is_err();
            if let Err(error) = &piece {
                tracing::error!(%error, "an answer broke off");
            }
            permit.send(piece);
            if broken {
                return;
            }
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

/// The pieces of a JSON text `{head}[entries]{tail}`, some entries a piece.
///
/// `batches` gives rendered entries; an empty batch is skipped.
pub fn json_list<E>(
    head: String,
    mut batches: impl Iterator<Item = Result<Vec<String>, E>> + Send + 'static,
    tail: String,
) -> impl Iterator<Item = Result<Bytes, E>> + Send + 'static {
    let mut opening = Some(head + "[");
    let mut closing = Some(format!("]{tail}"));
    let mut first = true;
    std::iter::from_fn(move || {
        closing.as_ref()?;
        let mut text = opening.take().unwrap_or_default();
        match batches.next() {
            Some(Ok(entries)) => {
                for entry in entries {
                    if !first {
                        text.push(',');
                    }
                    text.push_str(&entry);
                    first = false;
                }
            }
            Some(Err(error)) => {
                closing = None;
                return Some(Err(error));
            }
            None => text.push_str(&closing.take().unwrap_or_default()),
        }
        Some(Ok(Bytes::from(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_pieces_is_one_json_text() {
        #[track_caller]
        fn check(batches: &[&[&str]], expected: &str) {
            let batches: Vec<Result<Vec<String>, std::fmt::Error>> = batches
                .iter()
                .map(|b| Ok(b.iter().map(|s| (*s).to_owned()).collect()))
                .collect();
            let pieces = json_list("{\"list\":".to_owned(), batches.into_iter(), "}".to_owned());
            let text: Vec<u8> = pieces.flat_map(|p| p.unwrap()).collect();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
        check(&[], r#"{"list":[]}"#);
        check(&[&[], &["1"], &[], &["2", "3"]], r#"{"list":[1,2,3]}"#);
    }
}
