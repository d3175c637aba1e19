//! Pages and problem documents, cut where the service's name and the reference code go.

use std::sync::LazyLock;

use base64::Engine as _;
use guichet_core::Reason;

use super::advice::{family, sentences};
use super::negotiate::{Kind, Language};

/// The pieces of one page or document: before the service's name, between, and after the reference. A document has no
/// service's name: its first piece is empty and no name is written.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) before_service: Box<[u8]>,
    pub(super) between: Box<[u8]>,
    pub(super) after_reference: Box<[u8]>,
}

/// The style of all pages.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The policy of the pages: nothing but the style in them, known by its hash, and the empty icon.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The policy of the pages, as a header.
pub(crate) fn page_policy() -> http::HeaderValue {
    http::HeaderValue::from_str(&CONTENT_SECURITY_POLICY)
        .unwrap_or(http::HeaderValue::from_static("default-src 'none'"))
}

/// Escapes text for HTML, in content and in quoted attributes.
pub(super) fn escape_html(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            // Control characters have no place in a page; line ends neither, in a name.
            0..=31 | 127 => out.push(b' '),
            other => out.push(other),
        }
    }
}

/// Text with what means something in HTML escaped.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape_html(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

pub(super) fn render(reason: Reason, language: Language, kind: Kind) -> Pieces {
    match kind {
        Kind::Html => page(reason, language),
        Kind::Problem => problem(reason, language),
    }
}

/// The status sent for a reason. Reasons that end a connection have none of their own; should one be answered after
/// all, it is by whose fault it was.
pub(super) fn status(reason: Reason) -> u16 {
    match (reason.status(), reason.fault()) {
        (0, guichet_core::Fault::Client) => 400,
        (0, _) => 503,
        (status, _) => status,
    }
}

/// Heading and text for the visitor.
pub(crate) fn title_and_text(reason: Reason, language: Language) -> (&'static str, &'static str) {
    let text = reason.visitor_text();
    match language {
        Language::English => (text.title_en, text.text_en),
        Language::French => (text.title_fr, text.text_fr),
    }
}

/// Words of the frame, by language.
struct Words {
    what_you_can_do: &'static str,
    again: &'static str,
    /// One of them; an `s` makes it several in both languages.
    second: &'static str,
    reference: &'static str,
    reference_use: &'static str,
}

const WORDS: [Words; 2] = [
    Words {
        what_you_can_do: "What you can do",
        again: "Try again",
        second: "second",
        reference: "Reference:",
        reference_use: "If you contact us about this page, please give this reference: it tells us what happened.",
    },
    Words {
        what_you_can_do: "Ce que vous pouvez faire",
        again: "Réessayer",
        second: "seconde",
        reference: "Référence\u{a0}:",
        reference_use: "Si vous nous contactez à propos de cette page, indiquez cette référence\u{a0}: elle nous dit ce qui s'est passé.",
    },
];

fn page(reason: Reason, language: Language) -> Pieces {
    let words = &WORDS[language as usize];
    let (title, text) = title_and_text(reason, language);
    let (title, text) = (escaped(title), escaped(text));
    let seconds = reason.retry_after_s();
    let wait = match seconds {
        // The no-break space keeps a number with its unit.
        Some(1) => format!("1\u{a0}{}", words.second),
        Some(seconds) => format!("{seconds}\u{a0}{}s", words.second),
        None => String::new(),
    };
    let mut advice = String::new();
    for sentence in sentences(family(reason))[language as usize] {
        // A sentence about a time stands only where there is a time.
        if sentence.contains("{s}") && seconds.is_none() {
            continue;
        }
        let sentence = sentence.replace("{s}", &wait);
        advice.push_str(&format!("<li>{}</li>\n", escaped(&sentence)));
    }
    let again = match seconds {
        Some(_) => format!("<p><a class=\"again\" href=\"\">{}</a></p>\n", words.again),
        None => String::new(),
    };
    let before_service = format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<header><p>",
        lang = language.tag(),
    );
    let between = format!(
        "</p></header>\n<main>\n<h1>{title}</h1>\n<p class=\"lead\">{text}</p>\n<h2>{}</h2>\n<ul>\n{advice}</ul>\n{again}\
         </main>\n<footer>\n<p>{} <strong>",
        words.what_you_can_do, words.reference,
    );
    let after_reference =
        format!("</strong></p>\n<p>{}</p>\n</footer>\n</body>\n</html>\n", escaped(words.reference_use));
    Pieces {
        before_service: before_service.into_bytes().into(),
        between: between.into_bytes().into(),
        after_reference: after_reference.into_bytes().into(),
    }
}

/// The `type` of a problem document. Three are those that the IETF draft on RateLimit fields registers with IANA; for
/// the rest, a tag URI (RFC 4151) that names and need not be fetched.
pub(crate) fn problem_type(reason: Reason) -> String {
    match reason.problem_type() {
        known @ ("quota-exceeded" | "temporary-reduced-capacity" | "abnormal-usage-detected") => {
            format!("https://iana.org/assignments/http-problem-types#{known}")
        }
        own => format!("tag:guichet.invalid,2026:problems/{own}"),
    }
}

fn problem(reason: Reason, language: Language) -> Pieces {
    let (title, text) = title_and_text(reason, language);
    let mut members = serde_json::Map::new();
    members.insert("type".into(), problem_type(reason).into());
    members.insert("title".into(), title.into());
    members.insert("status".into(), status(reason).into());
    members.insert("detail".into(), text.into());
    if let Some(seconds) = reason.retry_after_s() {
        members.insert("retry_after_s".into(), seconds.into());
    }
    let mut between = serde_json::Value::Object(members).to_string();
    between.truncate(between.len() - 1);
    between.push_str(",\"instance\":\"tag:guichet.invalid,2026:refusals/");
    Pieces { before_service: Box::default(), between: between.into_bytes().into(), after_reference: (*b"\"}\n").into() }
}
