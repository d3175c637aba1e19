//! The pages of contracts: what does not work and since when, what does, and which other ways there are now. Drawn when a
//! state changes, not when somebody asks: an answer then only takes its reference code.

use bytes::Bytes;
use guichet_core::Reason;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::state::{ServiceState, State};
use crate::body::Body;
use crate::config::{Channel, Config, Contract, Fallback, Service, Words};
use crate::pages::{
    Kind, Language, RefusalContext, STYLE, escaped, kind_for, language_for, page_policy, problem_type, proxy_status,
    title_and_text,
};
use crate::record::Reference;

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The service does not answer, or is shut.
    Away,
    /// It can be read only.
    ReadOnly,
    /// It has no room for this request.
    Full,
    /// A feature is off.
    Off,
}

/// One page or document, cut where the reference goes. What a document says of the reason stands before `before`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    before: Bytes,
    after: Bytes,
}

/// The pages of one service and topic, by language and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    pieces: [[Piece; 2]; 2],
    /// Where visitors with a browser are sent instead.
    redirect: Option<HeaderValue>,
    /// The operator's own page.
    own: Option<Bytes>,
}

/// What pages are drawn from.
pub(super) struct Scene<'a> {
    pub(super) config: &'a Config,
    pub(super) service: &'a Service,
    pub(super) contract: &'a Contract,
    /// All services, in the order of the configuration.
    pub(super) states: &'a [ServiceState],
    pub(super) own: &'a ServiceState,
    /// The feature that is off: what people call it, and when that began and ends.
    pub(super) feature: Option<(Words, u64, Option<u64>)>,
}

impl Pages {
    pub(super) fn draw(topic: Topic, scene: &Scene<'_>) -> Self {
        let piece = |language, kind| match kind {
            Kind::Html => html(topic, scene, language),
            Kind::Problem => problem(scene, language),
        };
        let (redirect, own) = match (topic, &scene.contract.fallback) {
            (Topic::Away, Fallback::Redirect(to)) => (HeaderValue::from_str(to).ok(), None),
            (Topic::Away, Fallback::File(_, bytes)) => (None, Some(bytes.clone())),
            // Whoever floods one way in must not be sent on to the other.
            (Topic::Away | Topic::ReadOnly | Topic::Full | Topic::Off, _) => (None, None),
        };
        Self { pieces: Language::ALL.map(|language| Kind::ALL.map(|kind| piece(language, kind))), redirect, own }
    }

    /// The answer for one request; `status` where it is another than the reason's.
    #[must_use]
    pub fn answer(
        &self,
        reason: Reason,
        context: &RefusalContext<'_>,
        may_redirect: bool,
        status: Option<StatusCode>,
    ) -> Response<Body> {
        let (language, kind) = (language_for(context.accept_language), kind_for(context.accept, context.kind));
        let mut response = Response::new(Body::Empty);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("proxy-status", proxy_status(reason));
        // What tells this answer, which names other ways, from a bare refusal: drills count by it.
        headers.insert("guichet-contract", HeaderValue::from_static("fallback"));
        if kind == Kind::Html
            && may_redirect
            && let Some(to) = &self.redirect
        {
            headers.insert(LOCATION, to.clone());
            *response.status_mut() = StatusCode::FOUND;
            return response;
        }
        fill_headers(headers, language, kind, reason, self.own.is_some());
        if status.is_some() {
            // What was sent may have been done: nobody is asked to send it again.
            headers.remove(RETRY_AFTER);
        }
        let own = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        *response.status_mut() = status.unwrap_or(own);
        let body = self.body(reason, response.status(), language, kind, context.reference);
        if context.head {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        } else {
            *response.body_mut() = Body::full(body);
        }
        response
    }

    fn body(&self, reason: Reason, status: StatusCode, language: Language, kind: Kind, reference: Reference) -> Bytes {
        if let (Kind::Html, Some(own)) = (kind, &self.own) {
            return own.clone();
        }
        let piece = &self.pieces[language as usize][kind as usize];
        let mut body = Vec::with_capacity(piece.before.len() + piece.after.len() + 256);
        if kind == Kind::Problem {
            let (title, text) = title_and_text(reason, language);
            let head = json!({
                "type": problem_type(reason), "title": title, "status": status.as_u16(), "detail": text,
            });
            let head = head.to_string();
            body.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
        }
        body.extend_from_slice(&piece.before);
        body.extend_from_slice(reference.as_bytes());
        body.extend_from_slice(&piece.after);
        body.into()
    }
}

fn fill_headers(headers: &mut HeaderMap, language: Language, kind: Kind, reason: Reason, own: bool) {
    let content_type = match kind {
        Kind::Html => "text/html; charset=utf-8",
        Kind::Problem => "application/problem+json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(seconds) = reason.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if kind == Kind::Html && own {
        // A page of the operator's own has its own language and styles; scripts it does not need.
        let policy = "default-src 'self'; script-src 'none'; style-src 'unsafe-inline'; img-src data: 'self'; frame-ancestors 'none'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        return;
    }
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    if kind == Kind::Html {
        headers.insert(CONTENT_SECURITY_POLICY, page_policy());
    }
}

/// Words of the pages, by language.
struct Said {
    away: &'static str,
    shut: &'static str,
    read_only: &'static str,
    full: &'static str,
    off: &'static str,
    since: &'static str,
    until: &'static str,
    nothing_lost: &'static str,
    reading_works: &'static str,
    rest_works: &'static str,
    not_taken: &'static str,
    ways: &'static str,
    no_ways: &'static str,
    hours: &'static str,
    works: &'static str,
    also_away: &'static str,
    needs: &'static str,
    instead: &'static str,
    again: &'static str,
    reference: &'static str,
    reference_use: &'static str,
}

const SAID: [Said; 2] = [
    Said {
        away: "{} cannot be reached right now",
        shut: "{} is closed for now",
        read_only: "{}: for now you can read, not change anything",
        full: "{}: many people are here right now",
        off: "{} is switched off for now",
        since: "Since",
        until: "Expected until",
        nothing_lost: "We know about it and are working on it. If you were sending something, check whether it arrived before you send it again.",
        reading_works: "What you sent was not taken, and nothing was changed. Reading goes on as usual.",
        rest_works: "We have switched it off for a while, so that everything else here keeps working.",
        not_taken: "We could not serve this request at once. What you sent was not taken, and nothing was changed. Please try again in a moment.",
        ways: "Other ways, now",
        no_ways: "Please try again later.",
        hours: "Open:",
        works: "What works",
        also_away: "What does not work",
        needs: "{0} needs {1}, which cannot be reached right now.",
        instead: "Instead of {0}: {1}.",
        again: "Try again",
        reference: "Reference:",
        reference_use: "If you contact us about this page, please give this reference: it tells us what happened.",
    },
    Said {
        away: "{}\u{a0}: service injoignable en ce moment",
        shut: "{}\u{a0}: service fermé pour le moment",
        read_only: "{}\u{a0}: consultation seule pour le moment",
        full: "{}\u{a0}: beaucoup de monde en ce moment",
        off: "{}\u{a0}: fonction désactivée pour le moment",
        since: "Depuis",
        until: "Prévu jusqu'à",
        nothing_lost: "Nous en sommes informés et y travaillons. Si vous envoyiez quelque chose, vérifiez si cela est arrivé avant de recommencer.",
        reading_works: "Votre envoi n'a pas été pris en compte et rien n'a été modifié. La consultation reste possible.",
        rest_works: "Nous l'avons désactivée pour un temps, afin que tout le reste continue de fonctionner.",
        not_taken: "Nous n'avons pas pu traiter cette demande tout de suite. Votre envoi n'a pas été pris en compte et rien n'a été modifié. Veuillez réessayer dans un instant.",
        ways: "Autres moyens, dès maintenant",
        no_ways: "Veuillez réessayer plus tard.",
        hours: "Horaires\u{a0}:",
        works: "Ce qui fonctionne",
        also_away: "Ce qui ne fonctionne pas",
        needs: "Ce service dépend d'un autre, injoignable en ce moment\u{a0}: {1}.",
        instead: "À la place de {0}\u{a0}: {1}.",
        again: "Réessayer",
        reference: "Référence\u{a0}:",
        reference_use: "Si vous nous contactez à propos de cette page, indiquez cette référence\u{a0}: elle nous dit ce qui s'est passé.",
    },
];

fn html(topic: Topic, scene: &Scene<'_>, language: Language) -> Piece {
    let said = &SAID[language as usize];
    let name = scene.contract.title.of(language);
    let (heading, lead) = match topic {
        Topic::Away if scene.own.state == State::Shut || scene.own.until_unix_s().is_some() => {
            (said.shut.replace("{}", name), said.nothing_lost)
        }
        Topic::Away => (said.away.replace("{}", name), said.nothing_lost),
        Topic::Full => (said.full.replace("{}", name), said.not_taken),
        Topic::ReadOnly => (said.read_only.replace("{}", name), said.reading_works),
        Topic::Off => {
            let feature = scene.feature.as_ref().map_or(name, |(words, ..)| words.of(language));
            (said.off.replace("{}", feature), said.rest_works)
        }
    };
    let heading = escaped(&heading);
    let mut main = format!("<h1>{heading}</h1>\n<p class=\"lead\">{}</p>\n", escaped(lead));
    main += &times(topic, scene, said, language);
    main += &format!("<h2>{}</h2>\n", said.ways);
    if scene.contract.ways.is_empty() {
        main += &format!("<p>{}</p>\n", escaped(said.no_ways));
    } else {
        let ways: String = scene.contract.ways.iter().map(|way| way_html(way, said, language)).collect();
        main += &format!("<ul>\n{ways}</ul>\n");
    }
    main += &needs_html(scene, said, language);
    main += &others_html(scene, said, language);
    main += &format!("<p><a class=\"again\" href=\"\">{}</a></p>\n", said.again);
    let before = format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{heading}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<header><p>{}</p></header>\n<main>\n{main}</main>\n<footer>\n<p>{} <strong>",
        escaped(name),
        said.reference,
        lang = language.tag(),
    );
    let after = format!("</strong></p>\n<p>{}</p>\n</footer>\n</body>\n</html>\n", escaped(said.reference_use));
    Piece { before: before.into(), after: after.into() }
}

/// Since when and until when, in the node's time zone.
fn times(topic: Topic, scene: &Scene<'_>, said: &Said, language: Language) -> String {
    let (since, until) = match (topic, &scene.feature) {
        (Topic::Off, Some((_, since, until))) => (Some(*since), *until),
        (Topic::Full, _) => (None, None),
        _ if scene.own.state == State::Open => (None, None),
        _ => (Some(scene.own.since_unix_s), scene.own.until_unix_s()),
    };
    let one = |words: &str, at: Option<u64>| match at.and_then(|at| time(at, language)) {
        Some(shown) => format!("{words} {shown}. "),
        None => String::new(),
    };
    let both = one(said.since, since) + &one(said.until, until);
    if both.is_empty() { both } else { format!("<p>{}</p>\n", both.trim_end()) }
}

fn time(unix_s: u64, language: Language) -> Option<String> {
    let zoned = Timestamp::from_second(i64::try_from(unix_s).ok()?).ok()?.to_zoned_datetime(TimeZone::system());
    let (day, hour) = match language {
        Language::English => ("%Y-%m-%d", "%H:%M"),
        Language::French => ("%d/%m/%Y", "%H h %M"),
    };
    let shown = format!("{} {} ({})", zoned.strftime(day), zoned.strftime(hour), zoned.strftime("%Z"));
    Some(format!("<time datetime=\"{}\">{}</time>", zoned.timestamp(), escaped(&shown)))
}

fn way_html(way: &Channel, said: &Said, language: Language) -> String {
    let mut text = format!("<li><strong>{}</strong>", escaped(way.title.of(language)));
    let words = |words: &Option<Words>| words.as_ref().map(|words| escaped(words.of(language)));
    if let Some(address) = words(&way.address) {
        text += &format!(", {address}");
    }
    if let Some(telephone) = &way.telephone {
        let digits: String = telephone.chars().filter(|ch| ch.is_ascii_digit() || *ch == '+').collect();
        text += &format!(", <a href=\"tel:{digits}\">{}</a>", escaped(telephone));
    }
    if let Some(url) = &way.url {
        text += &format!(", <a href=\"{0}\">{0}</a>", escaped(url));
    }
    text += ".";
    if let Some(hours) = words(&way.hours) {
        text += &format!("<br>{} {hours}.", said.hours);
    }
    if let Some(note) = words(&way.note) {
        text += &format!("<br>{note}");
    }
    text + "</li>\n"
}

/// What it needs and is away, and what takes its place.
fn needs_html(scene: &Scene<'_>, said: &Said, language: Language) -> String {
    let own = scene.contract.title.of(language);
    let mut text = String::new();
    for need in &scene.contract.needs {
        let away = scene.states.iter().any(|one| one.service == need.service && one.state.is_away());
        if !away {
            continue;
        }
        let needed = title(scene.config, &need.service, language);
        let mut sentence = escaped(&said.needs.replace("{0}", own).replace("{1}", needed));
        let channel = scene.config.channels.iter().find(|channel| Some(&channel.name) == need.instead.as_ref());
        if let Some(channel) = channel {
            let way = said.instead.replace("{0}", needed).replace("{1}", channel.title.of(language));
            sentence += &format!(" {}", escaped(&way));
        }
        text += &format!("<p>{sentence}</p>\n");
    }
    text
}

/// The other services with a contract: those that work, and those that do not.
fn others_html(scene: &Scene<'_>, said: &Said, language: Language) -> String {
    let list = |heading: &str, keep: &dyn Fn(State) -> bool| {
        let items: String = scene
            .states
            .iter()
            .filter(|one| one.service != scene.service.name && keep(one.state))
            .filter(|one| contract_of(scene.config, &one.service).is_some())
            .map(|one| format!("<li>{}</li>\n", escaped(title(scene.config, &one.service, language))))
            .collect();
        if items.is_empty() { items } else { format!("<h2>{heading}</h2>\n<ul>\n{items}</ul>\n") }
    };
    list(said.works, &|state| matches!(state, State::Open | State::Degraded)) + &list(said.also_away, &State::is_away)
}

fn contract_of<'c>(config: &'c Config, service: &str) -> Option<&'c Contract> {
    config.services.iter().find(|one| one.name == service)?.contract.as_ref()
}

fn title<'c>(config: &'c Config, service: &'c str, language: Language) -> &'c str {
    contract_of(config, service).map_or(service, |contract| contract.title.of(language))
}

/// What a program reads beside the reason: members of a problem document (RFC 9457, 3.2).
fn problem(scene: &Scene<'_>, language: Language) -> Piece {
    let words = |words: &Option<Words>| words.as_ref().map(|words| words.of(language).to_owned());
    let ways: Vec<Value> = scene
        .contract
        .ways
        .iter()
        .map(|way| {
            json!({
                "channel": way.name, "name": way.title.of(language), "hours": words(&way.hours),
                "address": words(&way.address), "telephone": way.telephone, "url": way.url, "note": words(&way.note),
            })
        })
        .collect();
    let stand = |one: &ServiceState| json!({ "service": one.service, "state": one.state });
    let needs: Vec<Value> = scene
        .contract
        .needs
        .iter()
        .filter_map(|need| {
            let one = scene.states.iter().find(|one| one.service == need.service)?;
            Some(json!({ "service": need.service, "state": one.state, "instead": need.instead }))
        })
        .collect();
    let others = scene.states.iter().filter(|one| contract_of(scene.config, &one.service).is_some());
    let members = json!({
        "service": { "name": scene.service.name, "title": scene.contract.title.of(language) },
        "state": scene.own.state,
        "since_unix_s": scene.own.since_unix_s,
        "until_unix_s": scene.feature.as_ref().map_or_else(|| scene.own.until_unix_s(), |(_, _, until)| *until),
        "ways": ways,
        "needs": needs,
        "services": others.map(stand).collect::<Vec<_>>(),
    });
    let mut before = members.to_string().replacen('{', ",", 1);
    before.truncate(before.len() - 1);
    before.push_str(",\"instance\":\"tag:guichet.invalid,2026:refusals/");
    Piece { before: before.into(), after: Bytes::from_static(b"\"}\n") }
}
