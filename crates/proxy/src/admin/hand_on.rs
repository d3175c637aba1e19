//! Orders about what is handed on.

use guichet_core::bounds::HAND_ON_TTL_S_MAX;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::orders::{Reply, bad, network, read};
use super::source::AdminSource;
use crate::link::{HandOnOrder, HandOnProtocol, Proposal, Refused};

/// Paths at which these orders are taken.
pub(super) const PROPOSE: &str = "/hand-on/propose";
/// See [`PROPOSE`].
pub(super) const CONFIRM: &str = "/hand-on/confirm";
/// See [`PROPOSE`].
pub(super) const WITHDRAW: &str = "/hand-on/withdraw";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfProposal {
    target: String,
    to: String,
    from: Option<String>,
    protocol: Option<String>,
    port: Option<u16>,
    for_s: Option<u64>,
    #[serde(default)]
    because: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRoute {
    id: u32,
}

/// Carries out an order.
pub(super) async fn obey(path: &str, body: &[u8], source: &dyn AdminSource) -> Reply {
    let order = match path {
        PROPOSE => HandOnOrder::Propose(proposal(read(body)?)?),
        CONFIRM => HandOnOrder::Confirm(read::<OfRoute>(body)?.id),
        _ => HandOnOrder::Withdraw(read::<OfRoute>(body)?.id),
    };
    match source.link().hand_on.order(order).await {
        Ok(route) => Ok(json!(route)),
        Err(Refused::Bad(detail)) => Err(bad(detail)),
        Err(Refused::NotThere(detail)) => Err((StatusCode::NOT_FOUND, "Not there", detail)),
        Err(Refused::Failed(detail)) => Err((StatusCode::BAD_GATEWAY, "The target did not do it", detail)),
        Err(Refused::Busy(detail)) => Err((StatusCode::SERVICE_UNAVAILABLE, "Not carried out", detail.to_owned())),
    }
}

fn proposal(of: OfProposal) -> Result<Proposal, (StatusCode, &'static str, String)> {
    if of.for_s.is_some_and(|for_s| for_s == 0 || for_s > HAND_ON_TTL_S_MAX) {
        return Err(bad(format!("'for_s' must be from 1 to {HAND_ON_TTL_S_MAX}: nothing stands for ever")));
    }
    let protocol = match of.protocol.as_deref() {
        None => None,
        Some(name) => {
            let found = HandOnProtocol::named(name);
            Some(found.ok_or_else(|| bad("'protocol' must be tcp, udp or icmp".to_owned()))?)
        }
    };
    Ok(Proposal {
        target: of.target,
        to: network(&of.to)?,
        from: of.from.as_deref().map(network).transpose()?,
        protocol,
        port: of.port,
        for_s: of.for_s,
        because: of.because.chars().filter(|c| !c.is_control()).take(200).collect(),
    })
}

/// All routes.
pub(super) fn list(source: &dyn AdminSource) -> Value {
    json!({ "routes": *source.link().hand_on.routes() })
}
