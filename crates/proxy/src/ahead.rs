//! Bodies read ahead, so that a slow client does not hold a slot of a service.
//!
//! A request takes its slot when the first bytes of its body are there (all of it, if it is small), and gives it back
//! when the service has said a small answer whole: who dribbles a body or an answer then costs memory of the door, which
//! is bounded, and no time of the service.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// Bytes that one worker may hold read ahead.
#[derive(Debug, Clone)]
pub struct AheadBudget {
    held: Rc<Cell<usize>>,
    bytes_max: usize,
}

impl AheadBudget {
    /// A budget of one worker.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { held: Rc::default(), bytes_max }
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.get()
    }

    fn take(&self, bytes: usize) -> bool {
        let held = self.held.get() + bytes;
        if held <= self.bytes_max {
            self.held.set(held);
        }
        held <= self.bytes_max
    }
}

/// A body of which the beginning may have been read ahead.
pub struct Ahead<B> {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    rest: Option<B>,
    lease: Option<(AheadBudget, usize)>,
}

/// The client's body, as `forward` takes it.
pub type ClientBody = Ahead<Incoming>;

impl<B> From<B> for Ahead<B> {
    fn from(body: B) -> Self {
        Self { pieces: VecDeque::new(), trailers: None, rest: Some(body), lease: None }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> Ahead<B> {
    /// Reads until the body has ended, `bytes_max` are there, or `patience` is over. False if the budget is used up.
    ///
    /// # Errors
    /// Those of the body.
    pub async fn fill(&mut self, bytes_max: usize, patience: Duration, budget: &AheadBudget) -> Result<bool, B::Error> {
        if !budget.take(bytes_max) {
            return Ok(false);
        }
        self.lease = Some((budget.clone(), bytes_max));
        // What is there already needs no timer.
        let mut taken = 0;
        let reading = async {
            while taken < bytes_max {
                let Some(body) = self.rest.as_mut() else { return Ok(()) };
                if body.is_end_stream() {
                    self.rest = None;
                    return Ok(());
                }
                match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                    None => self.rest = None,
                    Some(Err(error)) => return Err(error),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            taken += data.len();
                            self.pieces.push_back(data);
                        }
                        Err(frame) => self.trailers = frame.into_trailers().ok(),
                    },
                }
            }
            Ok(())
        };
        match tokio::time::timeout(patience, reading).await {
            Ok(read) => read.map(|()| true),
            Err(_) => Ok(true),
        }
    }

    /// All of it in one piece, if it was read to its end and had no trailers.
    #[must_use]
    pub fn whole(&self) -> Option<Bytes> {
        let ended = self.rest.as_ref().is_none_or(HttpBody::is_end_stream);
        if !ended || self.trailers.is_some() {
            return None;
        }
        match self.pieces.len() {
            0 => Some(Bytes::new()),
            1 => self.pieces.front().cloned(),
            _ => {
                let mut all = bytes::BytesMut::with_capacity(self.pieces.iter().map(Bytes::len).sum());
                self.pieces.iter().for_each(|piece| all.extend_from_slice(piece));
                Some(all.freeze())
            }
        }
    }

    /// Whether all of it was read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rest.is_none()
    }
}

impl<B> Drop for Ahead<B> {
    fn drop(&mut self) {
        if let Some((budget, bytes)) = self.lease.take() {
            budget.held.set(budget.held.get().saturating_sub(bytes));
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Ahead<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match self.rest.as_mut() {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none() && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        let mut hint = self.rest.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Body, BodyError};
    use guichet_core::Reason;
    use http_body_util::BodyExt as _;

    /// Frames that come one by one; a `None` never comes.
    struct Slow(VecDeque<Option<Result<Frame<Bytes>, BodyError>>>);

    impl HttpBody for Slow {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(frame)),
                Some(None) => {
                    self.0.push_front(None);
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }
    }

    fn data(text: &'static str) -> Option<Result<Frame<Bytes>, BodyError>> {
        Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
    }

    async fn filled(
        frames: Vec<Option<Result<Frame<Bytes>, BodyError>>>,
        bytes_max: usize,
    ) -> (Ahead<Slow>, AheadBudget) {
        let budget = AheadBudget::new(1000);
        let mut body = Ahead::from(Slow(frames.into()));
        assert_eq!(body.fill(bytes_max, Duration::from_millis(50), &budget).await, Ok(true));
        (body, budget)
    }

    #[tokio::test]
    async fn a_small_body_is_there_whole_with_its_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", "1".parse().unwrap());
        let end = Some(Ok(Frame::trailers(trailers)));
        let (body, budget) = filled(vec![data("ab"), data("cd"), end], 100).await;
        assert!(body.is_whole());
        assert_eq!(budget.held(), 100);
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["sum"], "1");
        assert_eq!(collected.to_bytes(), "abcd");
        assert_eq!(budget.held(), 0, "the lease ends with the body");
    }

    #[tokio::test]
    async fn reading_ahead_ends_at_the_bound_or_when_patience_does() {
        let (body, _) = filled(vec![data("abcdef"), data("gh")], 4).await;
        assert!(!body.is_whole());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdefgh");
        let (body, _) = filled(vec![data("ab"), None], 4).await;
        assert!(!body.is_whole());
        assert_eq!(body.size_hint().lower(), 2);
    }

    #[tokio::test]
    async fn errors_are_told_and_the_budget_is_a_bound() {
        let budget = AheadBudget::new(10);
        let mut broken = Ahead::from(Slow(vec![Some(Err(BodyError(Reason::BadChunk)))].into()));
        let read = broken.fill(10, Duration::from_millis(50), &budget).await;
        assert_eq!(read, Err(BodyError(Reason::BadChunk)));
        let mut second = Ahead::from(Body::full("x"));
        assert_eq!(second.fill(1, Duration::from_millis(50), &budget).await, Ok(false));
        drop(broken);
        assert_eq!(second.fill(1, Duration::from_millis(50), &budget).await, Ok(true));
    }
}
