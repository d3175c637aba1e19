//! What the operator may order: mitigations, and whom they never touch.
//!
//! Orders are POST with JSON. A page on the internet can make a browser send a POST here, but not with the header
//! [`ORDER_HEADER`]: for that the browser asks first, and is not answered. So only programs give orders.

use std::time::Duration;

use guichet_core::ServiceId;
use guichet_core::bounds::{SIGNATURE_PARTS_MAX, SPAN_S_MAX};
use guichet_core::signs::{Dimension, Signature, Step};
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};

use super::hand_on;
use super::source::AdminSource;
use crate::clock;
use crate::passes::{CODE_DAYS, CODE_USES};
use crate::record::parse_reference;
use crate::signs::{AllowedNetwork, CONNECTIONS, Order, Refusal, Signs, value_of};

/// Must be there, with any value, in every order.
pub const ORDER_HEADER: &str = "x-guichet-order";

/// What is answered to an order or a question.
pub(super) type Reply = Result<Value, (StatusCode, &'static str, String)>;

/// For how long an order holds where it does not say so: an hour.
const FOR_S_USUAL: u64 = 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfMitigation {
    id: u32,
    step: Option<String>,
    for_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSignature {
    service: String,
    step: String,
    signature: Vec<(String, String)>,
    for_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSource {
    network: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCode {
    uses: Option<u16>,
    for_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNetwork {
    network: String,
    for_s: Option<u64>,
    #[serde(default)]
    because: String,
}

/// Paths at which orders are taken.
pub(super) const PATHS: [&str; 12] = [
    "/notices/order",
    "/mitigations/add",
    "/passes/issue",
    "/mitigations/pin",
    "/mitigations/end",
    "/mitigations/forbid",
    "/mitigations/lift",
    "/allow/add",
    "/allow/remove",
    hand_on::PROPOSE,
    hand_on::CONFIRM,
    hand_on::WITHDRAW,
];

/// Carries out an order.
pub(super) async fn obey(path: &str, headers: &HeaderMap, body: &[u8], source: &dyn AdminSource) -> Reply {
    if !headers.contains_key(ORDER_HEADER) {
        let detail = format!("orders carry the header {ORDER_HEADER}: 1, so that no page in a browser can give them");
        return Err((StatusCode::FORBIDDEN, "Not an order", detail));
    }
    if super::contracts::PATHS.contains(&path) {
        return super::contracts::obey(path, body, source);
    }
    let signs = source.signs();
    match path {
        hand_on::PROPOSE | hand_on::CONFIRM | hand_on::WITHDRAW => hand_on::obey(path, body, source).await,
        "/mitigations/pin" => {
            let of: OfMitigation = read(body)?;
            let step = step(of.step.as_deref().unwrap_or_default())?;
            order(&signs, Order::Pin { id: of.id, step, for_s: span(of.for_s)? }, of.id).await
        }
        "/mitigations/add" => add(&read(body)?, source, &signs).await,
        "/notices/order" => notice(read(body)?, source).await,
        "/passes/issue" => issue(&read(body)?, source),
        "/mitigations/end" => {
            let of: OfMitigation = read(body)?;
            order(&signs, Order::End { id: of.id }, of.id).await
        }
        "/mitigations/forbid" => {
            let of: OfMitigation = read(body)?;
            order(&signs, Order::Forbid { id: of.id, for_s: span(of.for_s)? }, of.id).await
        }
        "/mitigations/lift" => lift(&read(body)?, &signs).await,
        "/allow/add" => {
            let of: OfNetwork = read(body)?;
            let (now, network) = (clock::now(), network(&of.network)?);
            let until = now.after(Duration::from_secs(span(of.for_s)?));
            let because = of.because.chars().filter(|c| !c.is_control()).take(200).collect();
            let added = signs.allowed.add(AllowedNetwork { network, until, because }, now);
            added.map_err(|detail| (StatusCode::CONFLICT, "No room", detail))?;
            eprintln!("guichet: {network} is allowed, by order");
            Ok(json!({ "allowed": network.to_string() }))
        }
        _ => {
            let of: OfNetwork = read(body)?;
            let network = network(&of.network)?;
            if !signs.allowed.remove(network, clock::now()) {
                let detail =
                    format!("{network} is not allowed by an order; those of the configuration are taken out there");
                return Err((StatusCode::NOT_FOUND, "Not there", detail));
            }
            eprintln!("guichet: {network} is not allowed any more, by order");
            Ok(json!({ "removed": network.to_string() }))
        }
    }
}

async fn order(signs: &Signs, order: Order, id: u32) -> Reply {
    match signs.order(order).await {
        Ok(Some(id)) => Ok(json!({ "done": true, "id": id })),
        Ok(None) => {
            let detail = format!("there is no mitigation {id}; `guichet mitigations list` shows those there are");
            Err((StatusCode::NOT_FOUND, "Not there", detail))
        }
        Err(detail) => Err((StatusCode::SERVICE_UNAVAILABLE, "Not carried out", detail.to_owned())),
    }
}

async fn lift(of: &OfSource, signs: &Signs) -> Reply {
    let network = network(&of.network)?;
    match signs.order(Order::Lift { network }).await {
        Ok(Some(sources)) => Ok(json!({ "done": true, "sources": sources })),
        Ok(None) => {
            let detail =
                format!("the kernel's filter drops nobody of {network}; `guichet mitigations dropped` shows whom");
            Err((StatusCode::NOT_FOUND, "Not there", detail))
        }
        Err(detail) => Err((StatusCode::SERVICE_UNAVAILABLE, "Not carried out", detail.to_owned())),
    }
}

/// The sources that are handed over to the kernel's filter.
pub(super) fn dropped(source: &dyn AdminSource) -> Value {
    json!({ "dropped": source.signs().kernel.views(clock::now()) })
}

async fn add(of: &OfSignature, source: &dyn AdminSource, signs: &Signs) -> Reply {
    let services = source.status().services;
    let named = || services.iter().position(|service| service.name == of.service);
    let service = if of.service == CONNECTIONS {
        ServiceId::DOOR
    } else if let Some(position) = named() {
        ServiceId(position as u16)
    } else {
        let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
        return Err(bad(format!("'service' must be '{CONNECTIONS}' (connections) or one of {}", names.join(", "))));
    };
    let mut parts = Vec::new();
    for (name, words) in of.signature.iter().take(SIGNATURE_PARTS_MAX + 1) {
        let dimension = Dimension::named(name).ok_or_else(|| {
            let names: Vec<_> = Dimension::ALL.iter().map(|dimension| dimension.name()).collect();
            bad(format!("'{name}' is none of {}", names.join(", ")))
        })?;
        let value = value_of(signs.hash, dimension, words);
        parts.push((dimension, value.map_err(|wanted| bad(format!("'{name}' takes {wanted}")))?));
    }
    if service == ServiceId::DOOR
        && let Some((dimension, _)) = parts.iter().find(|(dimension, _)| !dimension.of_connection())
    {
        return Err(bad(format!("'{}' is not known yet when a connection is looked at", dimension.name())));
    }
    let signature = Signature::new(&parts).ok_or_else(|| {
        bad(format!("a signature has from one to {SIGNATURE_PARTS_MAX} values, each of another dimension"))
    })?;
    let new = Order::Add { service, signature, step: step(&of.step)?, for_s: span(of.for_s)? };
    match signs.order(new).await {
        Ok(Some(id)) => Ok(json!({ "done": true, "id": id })),
        Ok(None) => {
            Err((StatusCode::CONFLICT, "No room", "all places of the service are held; end one first".to_owned()))
        }
        Err(detail) => Err((StatusCode::SERVICE_UNAVAILABLE, "Not carried out", detail.to_owned())),
    }
}

fn issue(of: &OfCode, source: &dyn AdminSource) -> Reply {
    let uses = of.uses.unwrap_or(1);
    let Some(uses) = CODE_USES.iter().copied().find(|class| *class >= uses && uses > 0) else {
        return Err(bad(format!("'uses' must be from 1 to {}", CODE_USES[CODE_USES.len() - 1])));
    };
    let for_s = span(of.for_s)?;
    if for_s > CODE_DAYS * 86_400 {
        return Err(bad(format!("'for_s' must be at most {} ({CODE_DAYS} days)", CODE_DAYS * 86_400)));
    }
    let now_s = clock::unix_s();
    let ends_s = (now_s + for_s).div_ceil(3600) * 3600;
    Ok(json!({ "code": source.issue_code(uses, ends_s), "uses": uses, "ends_unix_s": ends_s }))
}

/// No status page is kept here.
fn no_page() -> (StatusCode, &'static str, String) {
    let detail = "no status page is kept here: write [notices] with a 'directory' into the configuration".to_owned();
    (StatusCode::NOT_FOUND, "No status page", detail)
}

async fn notice(order: guichet_notices::Order, source: &dyn AdminSource) -> Reply {
    let notices = source.notices().ok_or_else(no_page)?;
    let done = notices.order(order).await;
    done.map(|id| json!({ "done": true, "id": id })).map_err(|why| (StatusCode::CONFLICT, "Not carried out", why))
}

/// What the status page knows.
pub(super) fn notices(source: &dyn AdminSource) -> Reply {
    let notices = source.notices().ok_or_else(no_page)?;
    let known = notices.known();
    let measured: Vec<_> =
        known.measured.iter().map(|(key, measured)| json!({ "service": key, "measured": measured })).collect();
    Ok(json!({
        "notices": known.notices, "measured": measured, "journal": known.chain, "drawn_at": known.drawn_at,
        "listen": notices.local_addr(), "key": notices.public_key(), "degraded": notices.degraded(),
    }))
}

fn step(name: &str) -> Result<Step, (StatusCode, &'static str, String)> {
    Step::named(name).ok_or_else(|| {
        let steps: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
        bad(format!("'step' must be one of {}", steps.join(", ")))
    })
}

/// All mitigations, and those that ended.
pub(super) fn mitigations(source: &dyn AdminSource) -> Value {
    let signs = source.signs();
    json!({ "mitigations": *signs.book.alive(), "ended": signs.book.ended() })
}

/// Whom no mitigation touches.
pub(super) fn allowed(source: &dyn AdminSource) -> Value {
    let (signs, now) = (source.signs(), clock::now());
    let by_order: Vec<_> = signs
        .allowed
        .in_force(now)
        .into_iter()
        .map(|allowed| {
            let ends_in_s = allowed.until.since(now).as_secs();
            json!({ "network": allowed.network.to_string(), "ends_in_s": ends_in_s, "because": allowed.because })
        })
        .collect();
    let configured: Vec<_> = signs.allowed.configured().iter().map(ToString::to_string).collect();
    json!({ "by_order": by_order, "configured": configured })
}

/// All that is known of the refusal with a reference code.
pub(super) fn explain(query: &str, source: &dyn AdminSource) -> Reply {
    let code = query.split('&').find_map(|pair| pair.strip_prefix("code=")).unwrap_or_default();
    let parsed = parse_reference(code).map_err(|error| bad(error.to_string()))?;
    let (signs, reason) = (source.signs(), parsed.reason);
    let text = reason.visitor_text();
    let mut answer = json!({
        "reason": reason.label(),
        "code": reason.code(),
        "status": reason.status(),
        "fault": format!("{:?}", reason.fault()).to_lowercase(),
        "operator": reason.operator_text(),
        "visitor": {
            "en": format!("{}: {}", text.title_en, text.text_en),
            "fr": format!("{} : {}", text.title_fr, text.text_fr),
        },
        "refusal": null,
    });
    if let Some(refusal) = signs.refusals.find(parsed.id_part) {
        answer["refusal"] = told(&refusal, source, &signs);
    }
    Ok(answer)
}

fn told(refusal: &Refusal, source: &dyn AdminSource, signs: &Signs) -> Value {
    let services = source.status().services;
    let now_s = clock::unix_s();
    json!({
        "ago_s": now_s.saturating_sub(refusal.unix_s),
        "unix_s": refusal.unix_s,
        "service": services.get(usize::from(refusal.service)).map(|service| &service.name),
        "standing": refusal.standing.name(),
        "mitigation": (refusal.mitigation != 0).then(|| signs.book.find(refusal.mitigation)),
    })
}

pub(super) fn read<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, (StatusCode, &'static str, String)> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the order cannot be read: {error}")))
}

fn span(for_s: Option<u64>) -> Result<u64, (StatusCode, &'static str, String)> {
    let for_s = for_s.unwrap_or(FOR_S_USUAL);
    if for_s == 0 || for_s > SPAN_S_MAX {
        return Err(bad(format!("'for_s' must be from 1 to {SPAN_S_MAX}: nothing holds for ever")));
    }
    Ok(for_s)
}

pub(super) fn network(text: &str) -> Result<IpNet, (StatusCode, &'static str, String)> {
    crate::identify::network(text).ok_or_else(|| {
        bad("'network' must be an address or a network, such as 192.0.2.0/24 or 2001:db8::/32".to_owned())
    })
}

pub(super) fn bad(detail: String) -> (StatusCode, &'static str, String) {
    (StatusCode::BAD_REQUEST, "Not understood", detail)
}
