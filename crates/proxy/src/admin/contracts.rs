//! Orders about contracts: how a service stands, which features are off.

use guichet_core::bounds::SPAN_S_MAX;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::orders::{Reply, bad, read};
use super::source::{AdminSource, ContractView};
use crate::clock;
use crate::contract::Ordered;

/// Paths at which these orders are taken.
pub(super) const PATHS: [&str; 4] =
    ["/contracts/order", "/contracts/end", "/contracts/switch-off", "/contracts/switch-on"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfService {
    service: String,
    state: Option<String>,
    route: Option<String>,
    for_s: Option<u64>,
    until_unix_s: Option<u64>,
    #[serde(default)]
    because: String,
}

/// All services with their states.
pub(super) fn list(source: &dyn AdminSource) -> Value {
    json!({ "services": source.contract_views() })
}

/// Carries out an order.
pub(super) fn obey(path: &str, body: &[u8], source: &dyn AdminSource) -> Reply {
    let of: OfService = read(body)?;
    let views = source.contract_views();
    let Some(view) = views.iter().find(|view| view.service == of.service) else {
        let names: Vec<_> = views.iter().map(|view| view.service.as_str()).collect();
        return Err(bad(format!("'service' must be one of {}", names.join(", "))));
    };
    let Some(contracts) = source.contracts() else {
        let detail = "no configuration is in force yet; try again in a moment".to_owned();
        return Err((StatusCode::SERVICE_UNAVAILABLE, "Not carried out", detail));
    };
    let no_room = || {
        let detail = "too many orders are in force; end one first (`guichet service list`)".to_owned();
        (StatusCode::CONFLICT, "No room", detail)
    };
    match path {
        "/contracts/order" => {
            let named = of.state.as_deref().unwrap_or_default();
            let Some(ordered) = Ordered::named(named) else {
                return Err(bad("'state' must be open, read-only, fallback or shut".to_owned()));
            };
            let until_s = until(&of)?;
            let taken = contracts.order(&of.service, ordered, until_s, &of.because);
            let said = json!({ "done": true, "service": of.service, "state": named, "until_unix_s": until_s });
            if taken { Ok(said) } else { Err(no_room()) }
        }
        "/contracts/end" => {
            let ended = contracts.end_order(&of.service);
            let detail = || format!("no order holds for {}; its state is what is measured", of.service);
            if ended { Ok(json!({ "done": true, "service": of.service })) } else { Err(not_there(detail())) }
        }
        "/contracts/switch-off" => {
            let (route, until_s) = (route(&of, view)?, until(&of)?);
            let taken = contracts.switch_off(&of.service, route, until_s, &of.because);
            let said = json!({ "done": true, "service": of.service, "route": route, "until_unix_s": until_s });
            if taken { Ok(said) } else { Err(no_room()) }
        }
        _ => {
            let route = route(&of, view)?;
            let ended = contracts.switch_on(&of.service, route);
            let detail = || format!("{route} of {} is not off by order", of.service);
            if ended {
                Ok(json!({ "done": true, "service": of.service, "route": route }))
            } else {
                Err(not_there(detail()))
            }
        }
    }
}

fn not_there(detail: String) -> (StatusCode, &'static str, String) {
    (StatusCode::NOT_FOUND, "Not there", detail)
}

fn route<'o>(of: &'o OfService, view: &ContractView) -> Result<&'o str, (StatusCode, &'static str, String)> {
    match of.route.as_deref().filter(|path| view.routes.iter().any(|known| known == path)) {
        Some(route) => Ok(route),
        None if view.routes.is_empty() => Err(bad(format!("{} has no [[service.{}.route]]", of.service, of.service))),
        None => Err(bad(format!("'route' must be a declared path of {}: {}", of.service, view.routes.join(", ")))),
    }
}

/// When it ends: nothing holds for ever.
fn until(of: &OfService) -> Result<u64, (StatusCode, &'static str, String)> {
    let now_s = clock::unix_s();
    let until_s = match (of.for_s, of.until_unix_s) {
        (Some(for_s), None) => now_s.saturating_add(for_s),
        (None, Some(until_s)) => until_s,
        _ => return Err(bad("say either 'for_s' or 'until_unix_s': nothing holds for ever".to_owned())),
    };
    if until_s <= now_s || until_s - now_s > SPAN_S_MAX {
        return Err(bad(format!("it must end from 1 to {SPAN_S_MAX} seconds from now")));
    }
    Ok(until_s)
}
