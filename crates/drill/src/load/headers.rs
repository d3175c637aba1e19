//! Header profiles and the bytes of a request.

use crate::ops::{Ask, Op};
use crate::scenario::Headers;
use std::io::Write as _;

/// Headers in the order in which a client sends them, after `Host`.
pub(crate) type Lines = &'static [(&'static str, &'static str)];

const FIREFOX: Lines = &[
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Priority", "u=0, i"),
];
const CHROMIUM: Lines = &[
    ("sec-ch-ua", "\"Chromium\";v=\"142\", \"Not=A?Brand\";v=\"24\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Windows\""),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "fr-FR,fr;q=0.9,en;q=0.8"),
];
const SAFARI: Lines = &[
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    (
        "User-Agent",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
    ),
    ("Accept-Language", "fr-FR,fr;q=0.9"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br"),
];
const APP: Lines = &[
    ("User-Agent", "PostalApp/8.4 (Android 15) okhttp/5.1.0"),
    ("Accept", "application/json"),
    ("Accept-Language", "fr-FR"),
    ("Accept-Encoding", "gzip"),
];
const PARTNER: Lines = &[
    ("User-Agent", "Partner-Gateway/3.2 Java-http-client/21"),
    ("Accept", "application/json"),
    ("Accept-Language", "fr"),
];
const GO: Lines = &[("User-Agent", "Go-http-client/1.1"), ("Accept-Encoding", "gzip")];
const PYTHON: Lines = &[
    ("User-Agent", "python-requests/2.32.3"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Accept", "*/*"),
    ("Connection", "keep-alive"),
];
const FAKE: Lines = &[
    ("Accept-Encoding", "gzip, deflate"),
    (
        "User-Agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36",
    ),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept", "text/html,*/*"),
    ("Cache-Control", "no-cache"),
];

/// The lines of a profile; `draw` chooses among browsers.
pub(crate) fn lines(profile: Headers, draw: u32) -> Lines {
    match profile {
        Headers::Browsers => [CHROMIUM, FIREFOX, SAFARI][draw as usize % 3],
        Headers::Firefox => FIREFOX,
        Headers::Chromium => CHROMIUM,
        Headers::Safari => SAFARI,
        Headers::App => APP,
        Headers::Partner => PARTNER,
        Headers::Go => GO,
        Headers::Python => PYTHON,
        Headers::FakeBrowser => FAKE,
        Headers::Bare => &[],
    }
}

/// A request, ready to be written in either version of HTTP.
pub(crate) struct Request<'a> {
    /// The operation.
    pub(crate) op: &'static Op,
    /// Method: the operation's, or POST to earn a pass.
    pub(crate) method: &'static str,
    /// Path, body.
    pub(crate) ask: Ask,
    /// Host name.
    pub(crate) host: &'a str,
    /// Header profile.
    pub(crate) lines: Lines,
    /// Further headers.
    pub(crate) extra: &'a [[String; 2]],
    /// Value of the `Cookie` header; empty without one.
    pub(crate) cookie: String,
}

impl Request<'_> {
    /// The bytes for HTTP/1.1.
    pub(crate) fn h1(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(768 + self.ask.body.len());
        self.h1_head(&mut out);
        if !self.ask.body.is_empty() {
            let (kind, len) = (self.ask.content_type, self.ask.body.len());
            let _ = write!(out, "Content-Type: {kind}\r\nContent-Length: {len}\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.ask.body.as_bytes());
        out
    }

    /// The head for HTTP/1.1, without the lines about a body and without its end.
    pub(crate) fn h1_head(&self, out: &mut Vec<u8>) {
        // Writing to a Vec can't fail.
        let _ = write!(out, "{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.ask.path, self.host);
        for (name, value) in self.lines {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        for [name, value] in self.extra {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        for (name, value) in &self.ask.headers {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if !self.cookie.is_empty() {
            let _ = write!(out, "Cookie: {}\r\n", self.cookie);
        }
    }

    /// The head for HTTP/2.
    pub(crate) fn h2(&self) -> Result<http::Request<()>, http::Error> {
        let uri = format!("https://{}{}", self.host, self.ask.path);
        let mut builder = http::Request::builder().method(self.method).uri(uri).version(http::Version::HTTP_2);
        for (name, value) in self.lines {
            if !name.eq_ignore_ascii_case("connection") {
                builder = builder.header(*name, *value);
            }
        }
        for [name, value] in self.extra {
            builder = builder.header(name, value);
        }
        for (name, value) in &self.ask.headers {
            builder = builder.header(*name, value);
        }
        if !self.ask.body.is_empty() {
            builder =
                builder.header("content-type", self.ask.content_type).header("content-length", self.ask.body.len());
        }
        if !self.cookie.is_empty() {
            builder = builder.header("cookie", &self.cookie);
        }
        builder.body(())
    }
}
