//! What people and programs are shown when they can earn their way in.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use guichet_core::Reason;
use guichet_core::bounds::{PAGE_SERVICE_NAME_BYTES_MAX, WORK_PARTS};
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::room::ROOM_COOKIE;
use super::{Offer, PATH, RoomStanding, earnable, room_url};
use crate::body::Body;
use crate::identify::set_own;
use crate::pages::{Kind, Language, STYLE, escaped, problem_type, title_and_text};
use crate::record::Reference;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const REFRESH: HeaderName = HeaderName::from_static("refresh");
/// On top of the style of all pages.
const OWN_STYLE: &str = "form{margin:1rem 0}progress{display:block;width:100%;height:.75rem;margin:.75rem 0}\
label{display:block;margin:.5rem 0 .25rem}input[type=text]{font:inherit;padding:.5rem;width:100%;max-width:20rem;border:1px solid var(--soft);border-radius:.25rem;background:var(--paper);color:var(--ink)}\
button{font:inherit;font-weight:600;margin-top:.5rem;padding:.5rem 1.25rem;border:0;border-radius:.375rem;background:var(--mark);color:var(--onmark);cursor:pointer}\
button:focus-visible,input:focus-visible{outline:.1875rem solid var(--ink);outline-offset:.1875rem}[hidden]{display:none}";

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = format!("{STYLE}{OWN_STYLE}");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    format!(
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    )
});

/// Words by language, English first.
struct Words {
    in_short: &'static str,
    scripts: &'static str,
    working: &'static str,
    done: &'static str,
    waiting: &'static str,
    without: &'static str,
    without_text: &'static str,
    wait: &'static str,
    code: &'static str,
    code_label: &'static str,
    code_send: &'static str,
    code_wrong: &'static str,
    sent: &'static str,
    place: &'static str,
    place_text: &'static str,
    place_keep: &'static str,
    place_now: &'static str,
    through: &'static str,
    through_text: &'static str,
    reference: &'static str,
}

const WORDS: [Words; 2] = [
    Words {
        in_short: "Let me in",
        scripts: "Your browser does a short calculation, once. You need not do anything.",
        working: "Calculating…",
        done: "Done. You are being let in.",
        waiting: "The calculation does not work in this browser. You are let in after a short wait instead.",
        without: "Rather wait",
        without_text: "Without the calculation you are let in after {s}. The page goes on by itself.",
        wait: "Wait instead",
        code: "I was given a code",
        code_label: "Code from the counter or the help desk",
        code_send: "Use the code",
        code_wrong: "This code is not valid, or was used up. Please check it.",
        sent: "What you had sent was not passed on. Once you are let in, go back and send it again.",
        place: "You are waiting, and keep your place",
        place_text: "You are let in within {s}. This page goes on by itself; you may close it and come back by the same address.",
        place_keep: "Everybody who waits is let in. Opening this page again elsewhere does not make it faster.",
        place_now: "Look now",
        through: "You may go on",
        through_text: "Please go back to the page before, and send your form again.",
        reference: "Reference:",
    },
    Words {
        in_short: "Laissez-moi entrer",
        scripts: "Votre navigateur fait un court calcul, une seule fois. Vous n'avez rien à faire.",
        working: "Calcul en cours…",
        done: "C'est fait. Vous entrez.",
        waiting: "Le calcul ne fonctionne pas dans ce navigateur. Vous entrerez après une courte attente.",
        without: "Plutôt attendre",
        without_text: "Sans ce calcul, vous entrez après {s}. La page continue d'elle-même.",
        wait: "Attendre",
        code: "On m'a donné un code",
        code_label: "Code donné au guichet ou par l'assistance",
        code_send: "Utiliser le code",
        code_wrong: "Ce code n'est pas valable, ou a déjà servi. Veuillez le vérifier.",
        sent: "Ce que vous aviez envoyé n'a pas été transmis. Une fois entré, revenez en arrière et envoyez-le à nouveau.",
        place: "Vous attendez, et gardez votre place",
        place_text: "Vous entrez dans {s}. Cette page continue d'elle-même\u{a0}; vous pouvez la fermer et revenir par la même adresse.",
        place_keep: "Toute personne qui attend entre. Ouvrir cette page ailleurs n'accélère rien.",
        place_now: "Regarder maintenant",
        through: "Vous pouvez continuer",
        through_text: "Revenez à la page précédente et envoyez à nouveau votre formulaire.",
        reference: "Référence\u{a0}:",
    },
];

/// Words of the waiting room, by language.
struct RoomWords {
    title: &'static str,
    ahead: &'static str,
    turn: &'static str,
    unknown: &'static str,
    later: &'static str,
    soon: &'static str,
    keep: &'static str,
    stay: &'static str,
    now: &'static str,
}

const ROOM_WORDS: [RoomWords; 2] = [
    RoomWords {
        title: "You are in the waiting room",
        ahead: "More people have come than the service can take at once. Before you: {n}.",
        turn: "It should be your turn in {t}.",
        unknown: "We cannot say yet how long it will take.",
        later: "Many people are waiting from your network. Please come again in half a minute.",
        soon: "More people have come than the service can take at once. In a moment everybody who is here gets a place, by lot.",
        stay: "Please stay: this page goes on by itself.",
        keep: "You keep your place: you may close this page and come back. It goes on by itself. Opening it again elsewhere does not make it faster.",
        now: "Look now",
    },
    RoomWords {
        title: "Vous êtes dans la salle d'attente",
        ahead: "Plus de personnes sont venues que le service ne peut en recevoir à la fois. Devant vous\u{a0}: {n}.",
        turn: "Votre tour devrait venir dans {t}.",
        unknown: "Nous ne pouvons pas encore dire combien de temps cela prendra.",
        later: "Beaucoup de personnes attendent depuis votre réseau. Revenez dans une demi-minute.",
        soon: "Plus de personnes sont venues que le service ne peut en recevoir à la fois. Dans un instant, chaque personne présente reçoit une place, tirée au sort.",
        stay: "Restez ici\u{a0}: cette page continue d'elle-même.",
        keep: "Vous gardez votre place\u{a0}: vous pouvez fermer cette page et revenir. Elle continue d'elle-même. L'ouvrir ailleurs n'accélère rien.",
        now: "Regarder maintenant",
    },
];

/// A time in words, no more exact than it is known.
fn about(language: Language, wait: Duration) -> String {
    let (s, english) = (wait.as_secs(), language == Language::English);
    match s {
        0..=89 => seconds(language, (s.div_ceil(10) * 10).max(10) as u32),
        90..=5399 if english => format!("about {}\u{a0}minutes", s.div_ceil(60)),
        90..=5399 => format!("environ {}\u{a0}minutes", s.div_ceil(60)),
        _ if english => format!("about {}\u{a0}hours", s.div_ceil(3600)),
        _ => format!("environ {}\u{a0}heures", s.div_ceil(3600)),
    }
}

/// What a page or document is made for.
pub(crate) struct Frame<'a> {
    pub(crate) language: Language,
    pub(crate) kind: Kind,
    pub(crate) service_name: &'a str,
    pub(crate) reference: Option<Reference>,
    pub(crate) head: bool,
}

fn seconds(language: Language, seconds: u32) -> String {
    match (language, seconds) {
        (Language::English, 1) => "1\u{a0}second".to_owned(),
        (Language::English, s) => format!("{s}\u{a0}seconds"),
        (Language::French, 0 | 1) => format!("{seconds}\u{a0}seconde"),
        (Language::French, s) => format!("{s}\u{a0}secondes"),
    }
}

/// How long a browser keeps a place.
const ROOM_COOKIE_S: u64 = 3600;
/// A room that is about to open has opened after this, or is not needed.
const SOON_S: u64 = 2;
/// Between two looks of a page whose turn is far off.
const LOOK_S: u64 = 20;

/// The page goes on by itself, with and without scripts, in every browser; a `meta` would say the same.
fn go_on(response: &mut Response<Body>, after_s: u32, to: &str) {
    if let Ok(refresh) = HeaderValue::from_str(&format!("{after_s};url={to}")) {
        response.headers_mut().insert(REFRESH, refresh);
    }
}

impl Frame<'_> {
    const fn words(&self) -> &'static Words {
        &WORDS[self.language as usize]
    }

    fn page(&self, title: &str, head: &str, main: &str) -> String {
        let name = self.service_name;
        let name = escaped(&name[..name.floor_char_boundary(PAGE_SERVICE_NAME_BYTES_MAX)]);
        let (lang, title) = (self.language.tag(), escaped(title));
        let reference = self.reference.map_or_else(String::new, |reference| {
            format!("<p>{} <strong>{reference}</strong></p>\n", self.words().reference)
        });
        format!(
            "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n{head}\
             <style>{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<header><p>{name}</p></header>\n<main>\n<h1>{title}</h1>\n{main}\
             </main>\n<footer>\n{reference}</footer>\n</body>\n</html>\n"
        )
    }

    fn answer(&self, status: StatusCode, body: String) -> Response<Body> {
        let length = body.len();
        let mut response = Response::new(if self.head { Body::Empty } else { Body::full(body) });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let content_type = match self.kind {
            Kind::Html => "text/html; charset=utf-8",
            Kind::Problem if status.is_success() => "application/json",
            Kind::Problem => "application/problem+json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(self.language.tag()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-language, cookie"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        if self.head {
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if self.kind == Kind::Html
            && let Ok(policy) = HeaderValue::from_str(&POLICY)
        {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// The refusal with ways to earn a pass.
    pub(crate) fn offer(&self, reason: Reason, offer: &Offer, wrong_code: bool) -> Response<Body> {
        let body = match self.kind {
            Kind::Html => self.offer_page(reason, offer, wrong_code),
            Kind::Problem => self.offer_problem(reason, offer),
        };
        let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::FORBIDDEN);
        let mut response = self.answer(status, body);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(offer.wait_s));
        response.headers_mut().insert(PROXY_STATUS, crate::pages::proxy_status(reason));
        response
    }

    fn offer_page(&self, reason: Reason, offer: &Offer, wrong_code: bool) -> String {
        let (words, (title, lead)) = (self.words(), title_and_text(reason, self.language));
        let mut main = format!("<p class=\"lead\">{}</p>\n", escaped(lead));
        if offer.to.is_empty() {
            let _ = writeln!(main, "<p>{}</p>", words.sent);
        }
        if wrong_code {
            let _ = writeln!(main, "<p class=\"lead\" role=\"alert\">{}</p>", words.code_wrong);
        }
        // Who is refused for what it looks like gets in with a code alone: a robot can calculate and wait.
        let mut head = String::new();
        if earnable(reason) {
            main += &self.work_form(offer);
            main += &self.wait_form(offer);
            // No automatic reload here: people who read slowly would lose the page (WCAG 2.2.1). Who waits has chosen to.
            head = format!("<script src=\"{PATH}check.js\" defer></script>\n");
        }
        main += &self.code_form(offer);
        self.page(title, &head, &main)
    }

    fn work_form(&self, offer: &Offer) -> String {
        let words = self.words();
        format!(
            "<form id=\"work\" method=\"post\" action=\"{PATH}work\" hidden data-bits=\"{bits}\" data-parts=\"{WORK_PARTS}\" \
             data-worker=\"{PATH}worker.js\" data-working=\"{working}\" data-done=\"{done}\" data-waiting=\"{waiting}\" \
             data-wait=\"{wait_url}\" data-seconds=\"{wait_s}\">\n<h2>{in_short}</h2>\n<p>{scripts}</p>\n\
             <progress id=\"bar\" value=\"0\" max=\"1\" aria-label=\"{working}\"></progress>\n<p id=\"says\" role=\"status\"></p>\n\
             <input type=\"hidden\" name=\"puzzle\" value=\"{puzzle}\"><input type=\"hidden\" name=\"numbers\" value=\"\">\
             <input type=\"hidden\" name=\"to\" value=\"{to}\">\n</form>\n",
            bits = offer.bits,
            working = words.working,
            done = words.done,
            waiting = words.waiting,
            wait_url = escaped(&offer.wait_url()),
            wait_s = offer.wait_s,
            in_short = words.in_short,
            scripts = words.scripts,
            puzzle = offer.puzzle,
            to = escaped(&offer.to),
        )
    }

    fn wait_form(&self, offer: &Offer) -> String {
        let words = self.words();
        format!(
            "<h2>{}</h2>\n<p>{}</p>\n<form method=\"get\" action=\"{PATH}wait\">\n\
             <input type=\"hidden\" name=\"place\" value=\"{}\"><input type=\"hidden\" name=\"to\" value=\"{}\">\n\
             <button>{}</button>\n</form>\n",
            words.without,
            words.without_text.replace("{s}", &seconds(self.language, offer.wait_s)),
            offer.place,
            escaped(&offer.to),
            words.wait,
        )
    }

    fn code_form(&self, offer: &Offer) -> String {
        let words = self.words();
        format!(
            "<h2>{}</h2>\n<form method=\"post\" action=\"{PATH}code\">\n\
             <label for=\"code\">{}</label>\n<input type=\"text\" id=\"code\" name=\"code\" autocomplete=\"off\" \
             autocapitalize=\"characters\" spellcheck=\"false\" required maxlength=\"40\">\n\
             <input type=\"hidden\" name=\"to\" value=\"{}\">\n<button>{}</button>\n</form>\n",
            words.code,
            words.code_label,
            escaped(&offer.to),
            words.code_send,
        )
    }

    /// For applications: how to earn a pass, as members of the problem document (docs/passes.md).
    fn offer_problem(&self, reason: Reason, offer: &Offer) -> String {
        let (title, detail) = title_and_text(reason, self.language);
        let instance = self.reference.map(|reference| format!("tag:guichet.invalid,2026:refusals/{reference}"));
        let mut document = json!({
            "type": problem_type(reason),
            "title": title,
            "status": reason.status(),
            "detail": detail,
            "instance": instance,
            "retry_after_s": offer.wait_s,
            "code": { "submit": format!("{PATH}code") },
        });
        if earnable(reason) {
            document["work"] = json!({
                "algorithm": "sha256-parts", "puzzle": offer.puzzle, "bits": offer.bits, "parts": WORK_PARTS,
                "submit": format!("{PATH}work"),
            });
            let (place, wait_s) = (&offer.place, offer.wait_s);
            document["waiting"] = json!({ "place": place, "wait_s": wait_s, "collect": offer.wait_url() });
        }
        format!("{document}\n")
    }

    /// Somebody waits: for how long still, and where the page goes on.
    pub(crate) fn waiting(&self, left_s: u32, again: &str) -> Response<Body> {
        let left_s = left_s.max(1);
        let mut response = if self.kind == Kind::Problem {
            self.answer(StatusCode::ACCEPTED, format!("{}\n", json!({ "wait_s": left_s, "collect": again })))
        } else {
            let words = self.words();
            let lead = words.place_text.replace("{s}", &seconds(self.language, left_s));
            let page = self.waiting_page([words.place, &lead, words.place_keep, words.place_now], again);
            let mut response = self.answer(StatusCode::OK, page);
            go_on(&mut response, left_s, again);
            response
        };
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(left_s));
        response
    }

    /// A page for somebody who waits: title, what is to be said, what else to know, and the words of the link onwards.
    fn waiting_page(&self, [title, lead, keep, now]: [&str; 4], again: &str) -> String {
        let main = format!(
            "<p class=\"lead\" role=\"status\">{}</p>\n<p>{keep}</p>\n<p><a class=\"again\" href=\"{}\">{now}</a></p>\n",
            escaped(lead),
            escaped(again),
        );
        self.page(title, "", &main)
    }

    /// Somebody stands in the waiting room: how long still, and where the page goes on. The place is kept in a cookie, so
    /// that a closed page does not lose it.
    pub(crate) fn room(&self, stands: &RoomStanding, to: &str, over_tls: bool) -> Response<Body> {
        let words = &ROOM_WORDS[self.language as usize];
        // A glance every so often; more often when it is soon.
        let (text, keep, place, look_s) = match stands {
            RoomStanding::Waits(place, ahead, wait) => {
                let time = wait.map_or_else(
                    || words.unknown.to_owned(),
                    |wait| words.turn.replace("{t}", &about(self.language, wait)),
                );
                let text = format!("{} {time}", words.ahead.replace("{n}", &ahead.to_string()));
                let look_s = wait.map_or(LOOK_S, |wait| wait.as_secs().clamp(5, LOOK_S));
                (text, words.keep, place.text.as_str(), look_s)
            }
            RoomStanding::Soon => (words.soon.to_owned(), words.stay, "", SOON_S),
            RoomStanding::Later | RoomStanding::Enters(_) => (words.later.to_owned(), words.keep, "", LOOK_S),
        };
        let look_s = look_s as u32;
        let again = room_url(to);
        let mut response = if self.kind == Kind::Problem {
            let (ahead, wait_s) = match stands {
                RoomStanding::Waits(_, ahead, wait) => (Some(*ahead), wait.map(|wait| wait.as_secs())),
                RoomStanding::Soon | RoomStanding::Later | RoomStanding::Enters(_) => (None, None),
            };
            let reason = Reason::WaitingRoom;
            let document = json!({
                "type": problem_type(reason),
                "title": reason.visitor_text().title_en,
                "status": reason.status(),
                "detail": text,
                "retry_after_s": look_s,
                "waiting": {
                    "place": place, "ahead": ahead, "wait_s": wait_s,
                    "collect": format!("{PATH}room?place={place}"),
                },
            });
            self.answer(StatusCode::SERVICE_UNAVAILABLE, format!("{document}\n"))
        } else {
            let page = self.waiting_page([words.title, &text, keep, words.now], &again);
            let mut response = self.answer(StatusCode::SERVICE_UNAVAILABLE, page);
            go_on(&mut response, look_s, &again);
            response
        };
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(look_s));
        response.headers_mut().insert(PROXY_STATUS, crate::pages::proxy_status(Reason::WaitingRoom));
        if !place.is_empty() {
            set_own(response.headers_mut(), ROOM_COOKIE, place, ROOM_COOKIE_S, over_tls);
        }
        response
    }

    /// Somebody was let in, and there is no page to go back to.
    pub(crate) fn through(&self) -> Response<Body> {
        let words = self.words();
        let main = format!("<p class=\"lead\">{}</p>\n", words.through_text);
        self.answer(StatusCode::OK, self.page(words.through, "", &main))
    }
}
