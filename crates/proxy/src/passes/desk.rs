//! The desk at which passes are earned: what is answered under [`super::PATH`], at every service.

use std::time::Duration;

use bytes::Bytes;
use guichet_core::bounds::{LINGER_BYTES_MAX, PASS_BODY_BYTES_MAX};
use guichet_core::room::{Place, RoomRules};
use guichet_core::{Moment, Reason};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use serde_json::json;

use super::form::{Fields, place};
use super::page::Frame;
use super::{Holder, PASS_COOKIE, PATH, Passes, ROOM_COOKIE, RoomStanding, Token, wait_url};
use crate::ahead::ClientBody;
use crate::body::Body;
use crate::identify::{cookie, set_own};
use crate::pages::Kind;

const CHECK: &str = include_str!("check.js");
const WORKER: &str = include_str!("worker.js");
/// How long a form may take to arrive: it is small.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody at the desk.
pub(crate) struct Visit<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) holder: Holder<'a>,
    pub(crate) frame: Frame<'a>,
    pub(crate) over_tls: bool,
    /// Unix time.
    pub(crate) now_s: u64,
    /// Milliseconds of a clock that never goes back.
    pub(crate) now_ms: u64,
    /// Marks against it, for a new puzzle.
    pub(crate) marks: u8,
    /// The headers: for the place in the waiting room that it keeps, and the kind of what it sends.
    pub(crate) headers: &'a HeaderMap,
    /// The waiting room, while it is open.
    pub(crate) room: Option<&'a RoomRules>,
    /// Told of a place that was given out.
    pub(crate) note_place: &'a dyn Fn(Place),
}

/// Attends to somebody.
pub(crate) async fn attend(passes: &Passes, visit: &Visit<'_>, body: ClientBody) -> Response<Body> {
    let what = visit.uri.path().strip_prefix(PATH).unwrap_or_default();
    // Before any answer: one that comes while the client still sends may be lost to it.
    let sent = read(body).await;
    let wanted = match what {
        "check.js" | "worker.js" | "wait" | "room" => Method::GET,
        "work" | "code" => Method::POST,
        _ => return plain(StatusCode::NOT_FOUND, Bytes::new(), "text/plain"),
    };
    if *visit.method != wanted && !(wanted == Method::GET && *visit.method == Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, Bytes::new(), "text/plain");
        let allow = if wanted == Method::GET { "GET, HEAD" } else { "POST" };
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        return refused;
    }
    match what {
        "check.js" => script(CHECK, visit),
        "worker.js" => script(WORKER, visit),
        "wait" => wait(passes, visit),
        "room" => room(passes, visit),
        _ => match sent.and_then(|sent| fields(visit, &sent)) {
            Some(fields) if what == "work" => work(passes, visit, fields),
            Some(fields) => code(passes, visit, fields),
            None => again(passes, visit, String::new(), false),
        },
    }
}

/// The whole body, if it is small and comes soon. Of a longer one, what follows is thrown away.
async fn read(mut body: ClientBody) -> Option<Vec<u8>> {
    let (mut kept, mut taken) = (Vec::new(), 0);
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.ok()?.into_data() else { continue };
            taken += data.len();
            if taken <= PASS_BODY_BYTES_MAX {
                kept.extend_from_slice(&data);
            } else if taken > LINGER_BYTES_MAX {
                return None;
            }
        }
        Some(())
    };
    tokio::time::timeout(PATIENCE, reading).await.ok()??;
    (taken <= PASS_BODY_BYTES_MAX).then_some(kept)
}

fn fields(visit: &Visit<'_>, bytes: &[u8]) -> Option<Fields> {
    let json = visit.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if json { Fields::of_json(bytes) } else { Some(Fields::of_form(std::str::from_utf8(bytes).ok()?)) }
}

fn work(passes: &Passes, visit: &Visit<'_>, fields: Fields) -> Response<Body> {
    match passes.for_work(&visit.holder, &fields.puzzle, &fields.numbers, visit.now_s) {
        Some(pass) => enter(passes, visit, &pass, &fields.to),
        None => again(passes, visit, fields.to, false),
    }
}

fn code(passes: &Passes, visit: &Visit<'_>, fields: Fields) -> Response<Body> {
    match passes.for_code(&visit.holder, &fields.code, visit.now_s, visit.now_ms) {
        Some(pass) => enter(passes, visit, &pass, &fields.to),
        None => again(passes, visit, fields.to, true),
    }
}

fn wait(passes: &Passes, visit: &Visit<'_>) -> Response<Body> {
    let fields = Fields::of_form(visit.uri.query().unwrap_or_default());
    match passes.for_waiting(&visit.holder, &fields.place, visit.now_s, visit.now_ms) {
        Ok(pass) => enter(passes, visit, &pass, &fields.to),
        Err(Some(left_s)) => visit.frame.waiting(left_s, &wait_url(&fields.place, &fields.to)),
        // Its place has ended, or is somebody else's: a new one.
        Err(None) => {
            let offer = passes.offer(&visit.holder, visit.marks, fields.to, visit.now_s);
            visit.frame.waiting(offer.wait_s, &offer.wait_url())
        }
    }
}

/// Looks whether it is somebody's turn. Where the room has closed, everybody may go on.
fn room(passes: &Passes, visit: &Visit<'_>) -> Response<Body> {
    let fields = Fields::of_form(visit.uri.query().unwrap_or_default());
    let Some(rules) = visit.room else { return onwards(visit, &fields.to) };
    let now = Moment(visit.now_ms * 1000);
    let kept = cookie(visit.headers, ROOM_COOKIE).unwrap_or_default();
    let stands = passes.in_room(&visit.holder, &[&fields.place, kept], rules, (visit.now_s, now));
    match stands {
        RoomStanding::Enters(pass) => enter(passes, visit, &pass, &fields.to),
        RoomStanding::Waits(ref place, ..) => {
            if place.is_new {
                (visit.note_place)(place.place);
            }
            visit.frame.room(&stands, &fields.to, visit.over_tls)
        }
        RoomStanding::Later | RoomStanding::Soon => visit.frame.room(&stands, &fields.to, visit.over_tls),
    }
}

fn onwards(visit: &Visit<'_>, to: &str) -> Response<Body> {
    if to.is_empty() {
        return visit.frame.through();
    }
    let mut onwards = plain(StatusCode::SEE_OTHER, Bytes::new(), "text/plain");
    if let Ok(to) = HeaderValue::from_str(to) {
        onwards.headers_mut().insert(LOCATION, to);
    }
    onwards
}

/// Once more, from the beginning.
fn again(passes: &Passes, visit: &Visit<'_>, to: String, wrong_code: bool) -> Response<Body> {
    let offer = passes.offer(&visit.holder, visit.marks, place(to), visit.now_s);
    visit.frame.offer(Reason::ChallengeNeeded, &offer, wrong_code)
}

/// Lets somebody in, and on to where it wanted to go.
fn enter(passes: &Passes, visit: &Visit<'_>, pass: &Token, to: &str) -> Response<Body> {
    let text = passes.sign(pass);
    let life_s = u64::from(pass.ends_s).saturating_sub(visit.now_s);
    let mut response = match visit.frame.kind {
        Kind::Problem => {
            let told =
                json!({ "pass": text, "header": super::PASS_HEADER, "ends_in_s": life_s, "requests": pass.budget });
            plain(StatusCode::OK, format!("{told}\n").into(), "application/json")
        }
        Kind::Html => onwards(visit, to),
    };
    set_own(response.headers_mut(), PASS_COOKIE, &text, life_s, visit.over_tls);
    response
}

fn script(text: &'static str, visit: &Visit<'_>) -> Response<Body> {
    let bytes = if visit.frame.head { Bytes::new() } else { Bytes::from_static(text.as_bytes()) };
    let mut response = plain(StatusCode::OK, bytes, "text/javascript; charset=utf-8");
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

fn plain(status: StatusCode, bytes: Bytes, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(if bytes.is_empty() { Body::Empty } else { Body::full(bytes) });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
