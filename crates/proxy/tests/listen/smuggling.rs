//! What parsers disagree on, over real sockets: each is refused and closed, and no second request reaches the desk.

use guichet_core::Reason::{self, *};

use crate::http1::exchange;
use crate::support::Setup;

/// What is put behind each vector: the request that a smuggler wants to be seen.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

fn head(lines: &str) -> String {
    format!("GET /first HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n")
}

fn post(lines: &str, body: &str) -> String {
    format!("POST /first HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

type Vectors = Vec<(&'static str, String, Reason)>;

fn heads() -> Vectors {
    [lines_and_names(), lengths(), codings(), hosts(), request_lines()].concat()
}

fn lines_and_names() -> Vectors {
    vec![
        // Lines.
        ("bare LF everywhere", "GET /first HTTP/1.1\nHost: h\n\n".into(), BareLineFeed),
        ("bare LF after the request line", "GET /first HTTP/1.1\nHost: h\r\n\r\n".into(), BareLineFeed),
        ("bare LF after a field", "GET /first HTTP/1.1\r\nHost: h\nX: y\r\n\r\n".into(), BareLineFeed),
        ("bare LF as the end of the head", "GET /first HTTP/1.1\r\nHost: h\r\n\n".into(), BareLineFeed),
        ("bare LF before the request", "\nGET /first HTTP/1.1\r\nHost: h\r\n\r\n".into(), BareLineFeed),
        ("CR within a value", head("X: a\rb"), BareLineFeed),
        ("CR as the end of a line", "GET /first HTTP/1.1\r\nHost: h\rX: y\r\n\r\n".into(), BareLineFeed),
        ("CR CR LF", head("X: a\r"), BareLineFeed),
        ("CR in the target", "GET /a\rb HTTP/1.1\r\nHost: h\r\n\r\n".into(), BareLineFeed),
        ("CR before the request", "\r\rGET /first HTTP/1.1\r\nHost: h\r\n\r\n".into(), BareLineFeed),
        (
            "many empty lines before the request",
            "\r\n\r\n\r\nGET /first HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            MalformedHead,
        ),
        ("fold with space", head("X: a\r\n b"), ObsoleteFold),
        ("fold with tab", head("X: a\r\n\tb"), ObsoleteFold),
        ("fold right after the request line", "GET /first HTTP/1.1\r\n Host: h\r\n\r\n".into(), ObsoleteFold),
        ("folded coding", post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), UnsupportedCoding),
        // Names.
        ("space before the colon", post("Content-Length : 5", "abcde"), MalformedHead),
        ("tab before the colon", head("X\t: y"), MalformedHead),
        ("space in a name", head("X Y: z"), MalformedHead),
        ("no colon", head("nonsense"), MalformedHead),
        ("empty name", head(": y"), MalformedHead),
        ("NUL in a name", head("X\0: y"), MalformedHead),
        ("NUL in a value", head("X: \0"), MalformedHead),
        ("vertical tab in a value", head("X: \x0b"), MalformedHead),
        ("delete in a value", head("X: \x7f"), MalformedHead),
        ("colon in a name", head("\"X\": y"), MalformedHead),
    ]
}

fn lengths() -> Vectors {
    vec![
        ("both lengths", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), AmbiguousLength),
        (
            "both lengths, the other way",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
            AmbiguousLength,
        ),
        ("both lengths, zero", post("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n"), AmbiguousLength),
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 0", "abcde"), AmbiguousLength),
        ("the same length twice", post("Content-Length: 5\r\nContent-Length: 5", "abcde"), AmbiguousLength),
        ("a list of lengths", post("Content-Length: 5, 5", "abcde"), AmbiguousLength),
        ("a signed length", post("Content-Length: +5", "abcde"), AmbiguousLength),
        ("a negative length", post("Content-Length: -1", ""), AmbiguousLength),
        ("a hexadecimal length", post("Content-Length: 0x5", "abcde"), AmbiguousLength),
        ("a fraction", post("Content-Length: 5.0", "abcde"), AmbiguousLength),
        ("an empty length", post("Content-Length: ", ""), AmbiguousLength),
        ("a length that overflows", post("Content-Length: 18446744073709551621", "abcde"), AmbiguousLength),
        ("a length with white space inside", post("Content-Length: 5 5", "abcde"), AmbiguousLength),
        ("a length with a vertical tab", post("Content-Length: \x0b5", "abcde"), MalformedHead),
        ("a length by another name", post("Content_Length: 5", "abcde"), AmbiguousLength),
    ]
}

fn codings() -> Vectors {
    vec![
        ("coding by another name", post("Transfer_Encoding: chunked", "0\r\n\r\n"), AmbiguousLength),
        (
            "coding in HTTP/1.0",
            "POST /first HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            AmbiguousLength,
        ),
        (
            "chunked twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            AmbiguousLength,
        ),
        (
            "chunked and identity",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
            AmbiguousLength,
        ),
        ("a list of codings", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), UnsupportedCoding),
        ("chunked in a list", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"), UnsupportedCoding),
        ("chunked not last", post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"), UnsupportedCoding),
        ("identity", post("Transfer-Encoding: identity", ""), UnsupportedCoding),
        ("xchunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n"), UnsupportedCoding),
        ("quoted chunked", post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), UnsupportedCoding),
        ("chunked with a parameter", post("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"), UnsupportedCoding),
        ("empty coding", post("Transfer-Encoding: ", "0\r\n\r\n"), UnsupportedCoding),
        ("coding after a vertical tab", post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"), MalformedHead),
        ("coding with NUL", post("Transfer-Encoding: chunked\0", "0\r\n\r\n"), MalformedHead),
    ]
}

fn hosts() -> Vectors {
    vec![
        ("no host", "GET /first HTTP/1.1\r\nX: y\r\n\r\n".into(), BadHost),
        ("two hosts", head("Host: other"), BadHost),
        ("the same host twice", head("host: h"), BadHost),
        ("empty host", "GET /first HTTP/1.1\r\nHost: \r\n\r\n".into(), BadHost),
        ("host with user", "GET /first HTTP/1.1\r\nHost: a@h\r\n\r\n".into(), BadHost),
        ("host with path", "GET /first HTTP/1.1\r\nHost: h/x\r\n\r\n".into(), BadHost),
        ("list of hosts", "GET /first HTTP/1.1\r\nHost: h, g\r\n\r\n".into(), BadHost),
        ("host with space", "GET /first HTTP/1.1\r\nHost: h g\r\n\r\n".into(), BadHost),
        ("host with a bad port", "GET /first HTTP/1.1\r\nHost: h:80x\r\n\r\n".into(), BadHost),
        ("host with a port too great", "GET /first HTTP/1.1\r\nHost: h:65536\r\n\r\n".into(), BadHost),
        ("host with half an address", "GET /first HTTP/1.1\r\nHost: [::1\r\n\r\n".into(), BadHost),
        ("absolute form against host", "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n".into(), BadHost),
        ("absolute form with user", "GET http://h@other/ HTTP/1.1\r\nHost: h\r\n\r\n".into(), BadHost),
        ("absolute form without host field", "GET http://h/ HTTP/1.1\r\n\r\n".into(), BadHost),
        ("absolute form without host", "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n".into(), BadHost),
    ]
}

fn request_lines() -> Vectors {
    vec![
        ("HTTP/0.9", "GET /first\r\n\r\n".into(), MalformedHead),
        ("HTTP/2.0", "GET /first HTTP/2.0\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("HTTP/1.2", "GET /first HTTP/1.2\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("lower case version", "GET /first http/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("version with a space behind", "GET /first HTTP/1.1 \r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("two spaces", "GET  /first HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("tabs for spaces", "GET\t/first\tHTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("space before the method", " GET /first HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("method of no token", "GE(T /first HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("no method", "/first HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("target without slash", "GET first HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("star for GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("other scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("NUL in the target", "GET /a\0 HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("raw bytes in the target", "GET /é HTTP/1.1\r\nHost: h\r\n\r\n".into(), MalformedHead),
        ("CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n".into(), ConnectRefused),
        ("HTTP/2 on a connection of HTTP/1", "X".repeat(40) + " / HTTP/1.1\r\nHost: h\r\n\r\n", MalformedHead),
        // Bounds.
        ("a long target", format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(8192)), UriTooLong),
        ("a request line without end", format!("GET /{}", "a".repeat(40_000)), UriTooLong),
        ("a long field", head(&format!("X: {}", "a".repeat(40_000))), HeadTooLarge),
        ("many fields", head(&"X: y\r\n".repeat(100)), HeadTooLarge),
    ]
}

#[test]
fn heads_are_refused() {
    let door = Setup::default().start();
    let vectors = heads();
    assert!(vectors.len() >= 60);
    for (what, bytes, reason) in vectors {
        door.log.seen.lock().unwrap().clear();
        let answer = exchange(&door, format!("{bytes}{SMUGGLED}").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {}", reason.status())), "{what}: {answer}");
        assert!(answer.ends_with(&format!("refused {}\n", reason.label())), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
        let seen = door.log.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 1, "{what}: {seen:?}");
        assert_eq!(seen[0].violation, Some(reason), "{what}");
    }
}

#[test]
fn chunked_bodies_are_refused() {
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(300));
    let many = format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(60));
    let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let vectors = [
        ("a sign", "+1\r\na\r\n0\r\n\r\n"),
        ("a minus", "-1\r\na\r\n0\r\n\r\n"),
        ("0x", "0x1\r\na\r\n0\r\n\r\n"),
        ("an empty size", "\r\na\r\n0\r\n\r\n"),
        ("no digits", ";x\r\n\r\n"),
        ("white space before the size", " 1\r\na\r\n0\r\n\r\n"),
        ("white space after the size", "1 \r\na\r\n0\r\n\r\n"),
        ("white space before an extension", "1 ;x\r\na\r\n0\r\n\r\n"),
        ("an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
        ("a size that overflows", "10000000000000001\r\na\r\n0\r\n\r\n"),
        ("LF after the size", "1\na\r\n0\r\n\r\n"),
        ("CR alone after the size", "1\ra\r\n0\r\n\r\n"),
        ("LF after an extension", "1;x\na\r\n0\r\n\r\n"),
        ("NUL in an extension", "1;\0\r\na\r\n0\r\n\r\n"),
        ("no CRLF after the data", "1\r\nab\r\n0\r\n\r\n"),
        ("LF after the data", "1\r\na\n0\r\n\r\n"),
        ("more data than the size", "1\r\nabc\r\n0\r\n\r\n"),
        ("LF after the last chunk", "0\n\r\n"),
        ("LF as the end", "0\r\n\n"),
        ("a length in the trailer", "0\r\nContent-Length: 5\r\n\r\n"),
        ("a coding in the trailer", "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a host in the trailer", "0\r\nHost: other\r\n\r\n"),
        ("a fold in the trailer", "0\r\nA: b\r\n c\r\n\r\n"),
        ("a bare LF in the trailer", "0\r\nA: b\nC: d\r\n\r\n"),
        ("a trailer without colon", "0\r\nGET /x HTTP/1.1\r\n\r\n"),
        ("a long extension", &long),
        ("many extensions", &many),
        ("long trailers", &trailers),
    ];
    let door = Setup::default().start();
    for (what, body) in vectors {
        door.log.seen.lock().unwrap().clear();
        let answer = exchange(&door, format!("{}{SMUGGLED}", chunked(body)).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
        assert!(answer.ends_with("refused bad_chunk\n"), "{what}: {answer}");
        let seen = door.log.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 1, "{what}: {seen:?}");
        // Told before the request is handled, or while its body is read, as the bytes happened to come.
        let told = seen[0].violation == Some(BadChunk) || seen[0].body == Some(Err(Some(BadChunk)));
        assert!(told, "{what}: {seen:?}");
    }
}

#[test]
fn what_is_unusual_but_clear_is_served() {
    let door = Setup::default().start();
    let bodies = |n: usize| vec![Some(Ok(Vec::new())); n];
    let vectors: Vec<(&str, String, _)> = vec![
        ("an empty line before", "\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".into(), bodies(1)),
        ("absolute form", "GET http://H:80/ HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n".into(), bodies(1)),
        ("an address", "GET /?a=[b]|c HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\n\r\n".into(), bodies(1)),
        ("HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n".into(), bodies(1)),
        ("options of all", "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".into(), bodies(1)),
        ("an unknown method", "BREW / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".into(), bodies(1)),
        ("raw bytes in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: é\t.\r\nConnection: close\r\n\r\n".into(), bodies(1)),
        (
            "chunks",
            post(
                "Transfer-Encoding: CHUNKED\r\nConnection: close",
                "0a;n=\"v\"\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n",
            ),
            vec![Some(Ok(b"0123456789x".to_vec()))],
        ),
    ];
    for (what, bytes, expected) in vectors {
        door.log.seen.lock().unwrap().clear();
        let answer = exchange(&door, bytes.as_bytes());
        let version = if what.contains("1.0") { "HTTP/1.0 200" } else { "HTTP/1.1 200" };
        assert!(answer.starts_with(version), "{what}: {answer}");
        let seen: Vec<_> = door.log.good().into_iter().map(|seen| seen.body).collect();
        assert_eq!(seen, expected, "{what}");
    }
}
