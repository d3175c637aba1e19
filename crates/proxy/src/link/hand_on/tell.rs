//! Tells a target: by a program with bounded time and output, or by a signed POST.

use std::time::Duration;

use guichet_core::bounds::HAND_ON_ANSWER_BYTES_MAX;
use serde_json::{Value, json};

use super::post;
use super::route::{Route, Then};
use crate::config::HandOnWay;
use crate::program;

/// How long a target may take.
pub(super) const TELL_WITHIN: Duration = Duration::from_secs(10);

/// Why a target was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Untold {
    /// What happened.
    pub(super) why: String,
    /// Whether the target may have heard all the same.
    pub(super) maybe: bool,
}

/// Announces or withdraws a route.
pub(super) async fn tell(way: &HandOnWay, announce: bool, route: &Route, id: u32, for_s: u64) -> Result<(), Untold> {
    let document = || document(announce, route, id, for_s).to_string();
    let (argv, arguments, input) = match way {
        HandOnWay::Gobgp(argv) => (argv, route.gobgp(announce), None),
        HandOnWay::Exabgp(argv) => (argv, vec![route.exabgp(announce)], None),
        HandOnWay::Command(argv) => (argv, Vec::new(), Some(document())),
        HandOnWay::Webhook { url, secret } => {
            let posted = tokio::time::timeout(TELL_WITHIN, post::post(url, secret, document())).await;
            return posted.unwrap_or_else(|_| Err(late()));
        }
    };
    let ran = program::run(argv, &arguments, input, TELL_WITHIN, HAND_ON_ANSWER_BYTES_MAX).await;
    ran.map(drop).map_err(|failed| Untold { why: failed.why, maybe: failed.begun })
}

fn late() -> Untold {
    Untold { why: format!("no answer within {} s", TELL_WITHIN.as_secs()), maybe: true }
}

/// What programs and servers of the operator's are given. Field names are an interface.
fn document(announce: bool, route: &Route, id: u32, for_s: u64) -> Value {
    let (action, next_hop, bytes_per_s) = match route.then {
        Then::Blackhole { next_hop } => ("blackhole", Some(next_hop), None),
        Then::Discard => ("discard", None, None),
        Then::Limit { bytes_per_s } => ("limit", None, Some(bytes_per_s)),
    };
    json!({
        "event": if announce { "announce" } else { "withdraw" },
        "id": id,
        "action": action,
        "destination": route.to,
        "source": route.from,
        "protocol": route.protocol,
        "port": route.port,
        "next_hop": next_hop,
        "bytes_per_s": bytes_per_s,
        "for_s": for_s,
        "text": route.to_string(),
    })
}
