//! The trace of one request: continued from the caller, or begun here.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::RequestIds;
use super::super::ids::hex;
use super::parent::{Traceparent, parse_traceparent, tracestate_is_valid};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Where a request stands in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The door's own span, the parent of the upstream's.
    pub span_id: [u8; 8],
    /// The caller's span; `None` where the trace begins here.
    pub parent_id: Option<[u8; 8]>,
    /// Flags, as passed on.
    pub flags: u8,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// The context of a request with these headers. A malformed or repeated `traceparent` begins a new trace, and its
    /// `tracestate` is dropped. `sample`: share of new traces that are sampled, 0 to 1; the caller's decision stands
    /// where it made one.
    #[must_use]
    pub fn of_request(headers: &HeaderMap, ids: &RequestIds, sample: f64) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = match (values.next(), values.next()) {
            (Some(only), None) => parse_traceparent(only.as_bytes()),
            _ => None,
        };
        match parent {
            Some(parent) => Self {
                trace_id: parent.trace_id,
                span_id: ids.span_id(),
                parent_id: Some(parent.parent_id),
                flags: parent.flags,
                state: joined_state(headers),
            },
            None => Self {
                trace_id: ids.trace_id(),
                span_id: ids.span_id(),
                parent_id: None,
                flags: u8::from(ids.share() < sample) * Traceparent::SAMPLED,
                state: None,
            },
        }
    }

    /// The context of a request where no spans are recorded: the caller's own span stays the upstream's parent, since a
    /// span of ours would be missing from the trace. A malformed `traceparent` begins a new trace, not sampled. `None`:
    /// the caller sent none, and there is nothing to pass on.
    #[must_use]
    pub fn passed_through(headers: &HeaderMap, ids: &RequestIds) -> Option<Self> {
        if !headers.contains_key(TRACEPARENT) {
            return None;
        }
        let mut context = Self::of_request(headers, ids, 0.0);
        if let Some(parent) = context.parent_id {
            context.span_id = parent;
        }
        Some(context)
    }

    /// Whether the span of this request is wanted.
    #[must_use]
    pub const fn sampled(&self) -> bool {
        self.flags & Traceparent::SAMPLED != 0
    }

    /// Writes the headers for the upstream, in place of the caller's.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut text = [b'-'; Traceparent::LENGTH];
        text[..2].copy_from_slice(b"00");
        text[3..35].copy_from_slice(hex(&self.trace_id, &mut [0; 32]).as_bytes());
        text[36..52].copy_from_slice(hex(&self.span_id, &mut [0; 32]).as_bytes());
        text[53..].copy_from_slice(hex(&[self.flags], &mut [0; 32]).as_bytes());
        // Digits and hyphens always make a header value.
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => drop(headers.insert(TRACESTATE, state.clone())),
            None => drop(headers.remove(TRACESTATE)),
        }
    }
}

/// The `tracestate` headers as one value; `None` where they are absent or invalid, since passing on what cannot be
/// read helps nobody.
fn joined_state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let first = values.next()?;
    let joined = match values.next() {
        None => first.clone(),
        Some(second) => {
            let mut bytes = first.as_bytes().to_vec();
            for value in std::iter::once(second).chain(values) {
                if bytes.len() > guichet_core::bounds::TRACESTATE_BYTES_MAX {
                    return None;
                }
                bytes.push(b',');
                bytes.extend_from_slice(value.as_bytes());
            }
            HeaderValue::from_bytes(&bytes).ok()?
        }
    };
    tracestate_is_valid(joined.as_bytes()).then_some(joined)
}
