//! What is sent to earn a pass: a form of a page, or a document of an application.

use std::borrow::Cow;

/// The fields that matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) puzzle: String,
    pub(super) numbers: String,
    pub(super) place: String,
    pub(super) code: String,
    pub(super) to: String,
}

impl Fields {
    /// From `a=b&c=d`, as queries and forms have it. What is not known is left out, what is broken is empty.
    pub(super) fn of_form(text: &str) -> Self {
        let mut fields = Self::default();
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            fields.set(name, decoded(value));
        }
        fields
    }

    /// From a JSON object; numbers may be a list.
    pub(super) fn of_json(bytes: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let mut fields = Self::default();
        for (name, value) in value.as_object()? {
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                _ => continue,
            };
            fields.set(name, text);
        }
        Some(fields)
    }

    fn set(&mut self, name: &str, value: String) {
        match name {
            "puzzle" => self.puzzle = value,
            "numbers" => self.numbers = value,
            "place" => self.place = value,
            "code" => self.code = value,
            "to" => self.to = place(value),
            _ => {}
        }
    }
}

/// Bytes of a path to go on at.
const TO_BYTES: usize = 2048;

/// A path of this service to go on at; empty where the text is none. Nothing leads elsewhere: no `//`, no scheme, no
/// backslash that browsers read as a slash, no character that could end the header.
pub(super) fn place(text: String) -> String {
    let fine = text.len() <= TO_BYTES
        && text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'"' && b != b'<' && b != b'>');
    if fine && !text.starts_with(super::PATH) { text } else { String::new() }
}

fn decoded(value: &str) -> String {
    let plus: Cow<'_, str> = if value.contains('+') { value.replace('+', " ").into() } else { value.into() };
    let mut out = Vec::with_capacity(plus.len());
    let bytes = plus.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| plus.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_documents() {
        let fields = Fields::of_form("puzzle=ab-_&numbers=1%2C2&to=%2Fsuivi%3Fid%3D6A&code=K7+Q&x=1&broken=%zz");
        assert_eq!((fields.puzzle.as_str(), fields.numbers.as_str()), ("ab-_", "1,2"));
        assert_eq!((fields.to.as_str(), fields.code.as_str()), ("/suivi?id=6A", "K7 Q"));
        let fields = Fields::of_json(br#"{"puzzle":"p","numbers":[1,22],"other":{"a":1}}"#).unwrap();
        assert_eq!((fields.puzzle.as_str(), fields.numbers.as_str()), ("p", "1,22"));
        assert_eq!(Fields::of_json(b"[1]"), None);
        assert_eq!(Fields::of_json(b"{"), None);
        assert_eq!(Fields::of_form(""), Fields::default());
    }

    #[test]
    fn one_goes_on_at_this_service_only() {
        let check = |to: &str, wanted: &str| assert_eq!(place(to.to_owned()), wanted, "{to}");
        check("/suivi?id=1&b=2", "/suivi?id=1&b=2");
        for wrong in [
            "",
            "suivi",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nSet-Cookie: x",
            "/é",
            "/a b",
        ] {
            check(wrong, "");
        }
        check("/.well-known/guichet/wait", "");
        check(&format!("/{}", "a".repeat(4000)), "");
    }
}
