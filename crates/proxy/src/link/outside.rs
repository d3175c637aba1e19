//! What balancers outside are told: whether traffic should come here, or by another ingress.
//!
//! Over HTTP (`/health`, `/weight`) and in one line for each connection, as HAProxy's agent checks read it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use guichet_core::bounds::{ADMIN_HEAD_BYTES_MAX, HEALTH_CONNECTIONS_MAX};
use guichet_core::link::Place;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Link;
use crate::admin::{AdminSource, NotReady};
use crate::config::OutsideHealth;

/// How long a connection may take.
const WITHIN: Duration = Duration::from_secs(5);
/// The pause after a failed accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listeners.
#[derive(Debug)]
pub(super) struct Outside {
    http: Option<std::net::TcpListener>,
    agent: Option<std::net::TcpListener>,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advice {
    /// Share of its usual traffic that this ingress should get, in hundredths.
    pub(super) weight: u8,
    /// `up`, `drain` (finish what there is, send new traffic elsewhere) or `down`.
    pub(super) state: &'static str,
    /// Why; empty where all is well.
    pub(super) reasons: Vec<String>,
}

impl Advice {
    /// What follows from the verdict and from whether the node is ready.
    pub(super) fn of(ready: Result<(), NotReady>, place: Place, line_in_full: bool, sentence: &str) -> Self {
        let because = |text: &str| vec![text.to_owned()];
        match ready {
            Err(NotReady::Draining) => {
                return Self { weight: 0, state: "drain", reasons: because(NotReady::Draining.text()) };
            }
            Err(why) => return Self { weight: 0, state: "down", reasons: because(why.text()) },
            Ok(()) => {}
        }
        match place {
            // Nothing here can help: whoever can come another way should.
            Place::Line if line_in_full => Self { weight: 0, state: "drain", reasons: because(sentence) },
            Place::Line | Place::Host => Self { weight: 50, state: "up", reasons: because(sentence) },
            // Another ingress has the same services behind it.
            Place::Service | Place::Elsewhere | Place::Unknown => {
                Self { weight: 100, state: "up", reasons: Vec::new() }
            }
        }
    }

    /// One line for agent checks: a weight, or that only what there is should be finished.
    pub(super) fn line(&self) -> String {
        match self.state {
            "up" => format!("up ready {}%\n", self.weight),
            // HAProxy keeps `drain` until `ready` is said.
            "drain" => "up drain\n".to_owned(),
            _ => format!("down#{}\n", self.reasons.first().map_or("", String::as_str)),
        }
    }
}

impl Outside {
    /// Binds what is configured.
    ///
    /// # Errors
    /// An address cannot be bound; the error names it.
    pub(super) fn bind(config: &OutsideHealth) -> anyhow::Result<Self> {
        let bind = |address: Option<SocketAddr>, what: &str| {
            let Some(address) = address else { return Ok(None) };
            let open = || {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                std::io::Result::Ok(Some(listener))
            };
            open().with_context(|| format!("open [health] {what} on {address}"))
        };
        Ok(Self { http: bind(config.listen, "listen")?, agent: bind(config.agent, "agent")? })
    }

    /// Answers for ever.
    pub(super) async fn answer(self, link: Arc<Link>, source: Arc<dyn AdminSource>) {
        let of = move || {
            let view = link.view();
            Advice::of(source.ready(), view.place, view.line_in_full, &view.sentence)
        };
        let of: Arc<dyn Fn() -> Advice> = Arc::new(of);
        tokio::join!(serve(self.http, of.clone(), false), serve(self.agent, of, true));
    }
}

async fn serve(listener: Option<std::net::TcpListener>, of: Arc<dyn Fn() -> Advice>, agent: bool) {
    let Some(Ok(listener)) = listener.map(TcpListener::from_std) else { return };
    let slots = Arc::new(Semaphore::new(HEALTH_CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let of = of.clone();
        tokio::task::spawn_local(async move {
            // A client that is late or breaks off has hurt only itself.
            let _ = tokio::time::timeout(WITHIN, exchange(stream, &*of, agent)).await;
            drop(slot);
        });
    }
}

async fn exchange(mut stream: TcpStream, of: &dyn Fn() -> Advice, agent: bool) -> std::io::Result<()> {
    let text = if agent {
        of().line()
    } else {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < ADMIN_HEAD_BYTES_MAX {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        http_answer(&head, &of())
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// The whole answer to the head of a request.
pub(super) fn http_answer(head: &[u8], advice: &Advice) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let (status, kind, body) = match words.as_slice() {
        [b"GET" | b"HEAD", b"/weight", _] => ("200 OK", "text/plain", format!("{}\n", advice.weight)),
        [b"GET" | b"HEAD", b"/" | b"/health", _] => {
            let status = if advice.state == "up" { "200 OK" } else { "503 Service Unavailable" };
            let prefer_other = advice.weight < 100;
            let document = json!({
                "state": advice.state,
                "weight": advice.weight,
                "prefer_other_ingress": prefer_other,
                "reasons": advice.reasons,
            });
            (status, "application/json", format!("{document}\n"))
        }
        [b"GET" | b"HEAD", ..] => ("404 Not Found", "text/plain", "there are /health and /weight\n".to_owned()),
        _ => ("400 Bad Request", "text/plain", "only GET and HEAD are answered\n".to_owned()),
    };
    let shown = if words.first() == Some(&b"HEAD".as_slice()) { "" } else { body.as_str() };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{shown}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_balancers_are_told() {
        let check = |ready, place, full, weight, state, line: &str, status: &str| {
            let advice = Advice::of(ready, place, full, "The line is full.");
            assert_eq!((advice.weight, advice.state), (weight, state), "{ready:?} {place:?}");
            assert_eq!(advice.line(), line, "{ready:?} {place:?}");
            let answer = http_answer(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", &advice);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains(&format!("\"prefer_other_ingress\":{}", weight < 100)), "{answer}");
            assert!(http_answer(b"GET /weight HTTP/1.0\r\n\r\n", &advice).ends_with(&format!("\r\n\r\n{weight}\n")));
        };
        check(Ok(()), Place::Elsewhere, false, 100, "up", "up ready 100%\n", "200");
        check(Ok(()), Place::Service, false, 100, "up", "up ready 100%\n", "200");
        check(Ok(()), Place::Host, false, 50, "up", "up ready 50%\n", "200");
        check(Ok(()), Place::Line, false, 50, "up", "up ready 50%\n", "200");
        check(Ok(()), Place::Line, true, 0, "drain", "up drain\n", "503");
        check(Err(NotReady::Draining), Place::Elsewhere, false, 0, "drain", "up drain\n", "503");
        let down = format!("down#{}\n", NotReady::Starting.text());
        check(Err(NotReady::Starting), Place::Elsewhere, false, 0, "down", &down, "503");
    }

    #[test]
    fn odd_requests_are_answered_too() {
        let advice = Advice::of(Ok(()), Place::Elsewhere, false, "");
        for (head, status) in [
            (b"".as_slice(), "400"),
            (b"\r\n\r\n", "400"),
            (b"POST /health HTTP/1.1\r\n\r\n", "400"),
            (b"GET /other HTTP/1.1\r\n\r\n", "404"),
            (b"\xff\xfe \xff \xff\r\n\r\n", "400"),
        ] {
            assert_eq!(http_answer(head, &advice).get(9..12), Some(status), "{head:?}");
        }
        let head = http_answer(b"HEAD /health HTTP/1.1\r\n\r\n", &advice);
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    }
}
