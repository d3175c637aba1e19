//! Classify: what is asked for, how much does it matter, what may it cost, and what is the client's standing there?

mod routes;

use std::sync::Arc;

use guichet_core::{Criticality, Reason, Standing};
use http::Method;
use http::header::{CONTENT_LENGTH, HOST};

pub use routes::{HostIndex, covers, host_of, route_of};

use crate::config::{ClientKind, Route, Service};
use crate::identify::{Identified, PROOF_COOKIE, SessionSigner, cookie};
use crate::passes::{Holder, PATH, Passes, Token};

/// Statuses that say that a sign-in failed, where nothing is declared.
const SIGN_IN_FAILED: &[u16] = &[401, 403, 422];

/// A request, who asks, and what for.
pub struct Classified {
    /// Who asks.
    pub identified: Identified,
    /// What was found out.
    pub class: Class,
}

/// What is asked for.
#[derive(Clone)]
pub struct Class {
    /// Position of the service: the core's `ServiceId`.
    pub service_position: usize,
    /// The service.
    pub service: Arc<Service>,
    /// Position of the route in the service, if one is declared for the path.
    pub route_position: Option<usize>,
    /// Importance of this request.
    pub criticality: Criticality,
    /// Standing of the client at this service, before its behaviour is looked at.
    pub standing: Standing,
    /// The session cookie's value, if the session was issued here.
    pub session: Option<Box<str>>,
    /// The pass, if one counts and nothing better is known.
    pub pass: Option<Token>,
}

impl Class {
    /// The declared route.
    #[must_use]
    pub fn route(&self) -> Option<&Route> {
        self.route_position.map(|position| &self.service.routes[position])
    }

    /// Who comes here: as the route says, or the service.
    #[must_use]
    pub fn client_kind(&self) -> ClientKind {
        self.route().map_or(self.service.client_kind, |route| route.client_kind)
    }

    /// Statuses that say that a sign-in failed, where a request is one: declared, or a POST at which the session is issued.
    #[must_use]
    pub fn sign_in_failed(&self, method: &Method, path: &str) -> Option<&[u16]> {
        if *method != Method::POST {
            return None;
        }
        if let Some(declared) = self.route().and_then(|route| route.sign_in_failed.as_deref()) {
            return Some(declared).filter(|statuses| !statuses.is_empty());
        }
        let issued_on = &self.service.session.as_ref()?.issued_on;
        issued_on.iter().any(|prefix| covers(prefix, path)).then_some(SIGN_IN_FAILED)
    }

    /// Bytes that the request's body may have.
    #[must_use]
    pub fn body_bytes_max(&self) -> u64 {
        self.route().map_or(self.service.body_bytes_max, |route| route.body_bytes_max)
    }
}

/// A request that is not acceptable whatever the load, with what is known of it for the record.
pub struct Rejected {
    /// Who asked.
    pub identified: Identified,
    /// What for, if that much was found out.
    pub class: Option<Class>,
    /// Why not.
    pub reason: Reason,
}

/// Finds out what is asked for. `now_s`: Unix seconds.
///
/// # Errors
/// A request for no service, or one that breaks a rule of its service or route.
pub fn classify(
    identified: Identified,
    hosts: &HostIndex,
    services: &[Arc<Service>],
    signer: &SessionSigner,
    passes: &Passes,
    now_s: u64,
) -> Result<Classified, Box<Rejected>> {
    let position = match service_of(&identified, hosts) {
        Ok(position) => position,
        Err(reason) => return Err(Box::new(Rejected { identified, class: None, reason })),
    };
    let class = class_of(&identified, position, &services[position], signer, passes, now_s);
    match acceptable(&identified, &class) {
        Ok(()) => Ok(Classified { identified, class }),
        Err(reason) => Err(Box::new(Rejected { identified, class: Some(class), reason })),
    }
}

fn service_of(identified: &Identified, hosts: &HostIndex) -> Result<usize, Reason> {
    let accepted = &identified.accepted;
    if let Some(reason) = accepted.connection.violation.get() {
        return Err(reason);
    }
    if accepted.head.method == Method::CONNECT && accepted.head.extensions.get::<hyper::ext::Protocol>().is_none() {
        return Err(Reason::ConnectRefused);
    }
    let in_target = accepted.head.uri.authority().map(http::uri::Authority::as_str);
    let in_field = accepted.head.headers.get(HOST).map(|value| value.to_str());
    let authority = match (in_target, in_field) {
        (Some(authority), None) => authority,
        (None, Some(Ok(field))) => field,
        // HTTP/2 clients may send both; parsers downstream could pick either, so they must agree.
        (Some(authority), Some(Ok(field))) if authority.eq_ignore_ascii_case(field) => authority,
        _ => return Err(Reason::BadHost),
    };
    if authority.contains('@') {
        return Err(Reason::BadHost);
    }
    hosts.find(host_of(authority).ok_or(Reason::BadHost)?).ok_or(Reason::UnknownHost)
}

fn class_of(
    identified: &Identified,
    position: usize,
    service: &Arc<Service>,
    signer: &SessionSigner,
    passes: &Passes,
    now_s: u64,
) -> Class {
    let head = &identified.accepted.head;
    let route_position = route_of(&service.routes, head.uri.path());
    let criticality = route_position.map_or(service.criticality, |r| service.routes[r].criticality);
    let session = session_of(identified, service, signer, now_s);
    let partner_counts =
        identified.partner.as_ref().is_some_and(|p| p.services.is_empty() || p.services.contains(&position));
    let better = partner_counts || session.is_some();
    let pass = if better || !service.passes {
        None
    } else {
        passes.shown(&holder(identified, &service.name), head_of(identified), now_s)
    };
    let standing = if partner_counts {
        Standing::Partner
    } else if session.is_some() {
        Standing::Session
    } else if pass.is_some() {
        Standing::Proven
    } else {
        Standing::Anonymous
    };
    Class { service_position: position, service: service.clone(), route_position, criticality, standing, session, pass }
}

/// Who asks, as far as a pass is bound to it.
fn holder<'a>(identified: &'a Identified, service: &'a str) -> Holder<'a> {
    Holder::of(service, identified.client, head_of(identified))
}

const fn head_of(identified: &Identified) -> &http::HeaderMap {
    &identified.accepted.head.headers
}

fn session_of(identified: &Identified, service: &Service, signer: &SessionSigner, now_s: u64) -> Option<Box<str>> {
    let rule = service.session.as_ref()?;
    let headers = &identified.accepted.head.headers;
    let proof = cookie(headers, PROOF_COOKIE)?;
    let value = cookie(headers, &rule.cookie)?;
    signer.verify(&service.name, value, proof, now_s).then(|| value.into())
}

fn acceptable(identified: &Identified, class: &Class) -> Result<(), Reason> {
    let head = &identified.accepted.head;
    if class.service.partner_only && class.standing != Standing::Partner {
        return Err(Reason::PartnerRequired);
    }
    // At the desk for passes the door itself answers, whatever the service takes at its own paths.
    if class.service.passes && head.uri.path().starts_with(PATH) {
        return Ok(());
    }
    if let Some(route) = class.route()
        && !route.methods.is_empty()
        && !route.methods.contains(&head.method)
        && !(head.method == Method::HEAD && route.methods.contains(&Method::GET))
    {
        return Err(Reason::MethodNotAllowed);
    }
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > class.body_bytes_max()) {
        return Err(Reason::BodyTooLarge);
    }
    Ok(())
}
