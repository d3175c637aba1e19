//! The body of an answer, whatever it comes from.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use guichet_core::Reason;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body broke off; the reason says whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError(pub Reason);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operator_text())
    }
}

impl std::error::Error for BodyError {}

/// A stream of frames that stays on its worker (it need not be `Send`).
pub type LocalBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>;

/// The body of an answer.
pub enum Body {
    /// Nothing.
    Empty,
    /// One piece.
    Full(Option<Bytes>),
    /// From an upstream, or wrapped to account for it.
    Stream(LocalBody),
}

impl Body {
    /// One piece.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// Anything that is a body.
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(piece) => Poll::Ready(piece.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(piece) => piece.is_none(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(piece) => SizeHint::with_exact(piece.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
