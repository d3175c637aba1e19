//! The status page of a front, read over and over while a drill runs, as a visitor's browser and a program would.

mod claims;
mod score;

pub use claims::{Claim, Claims};
pub(crate) use score::score;
pub use score::{StatusFault, StatusScore, StatusWrong};

use crate::target::LoopbackAddr;
use anyhow::{Context, bail};
use guichet_core::bounds::{DRILL_BODY_BYTES_MAX, DRILL_HEADER_FIELDS_MAX};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between the beginnings of two looks at the page.
const EVERY: Duration = Duration::from_millis(250);
/// Within this a file of the page must have come; a person on a telephone would wait longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The page for people: the usual language.
const PAGE: &str = "/";
/// The same for programs that know Statuspage.
const SUMMARY: &str = "/api/v2/summary.json";

/// One look at the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// When it ended, milliseconds from the start of the run.
    pub at_ms: u64,
    /// What the page said of the services; none where one of its files did not come whole.
    pub claims: Option<Claims>,
}

/// Looks at the page until `over`, from `origin` on.
pub(crate) fn watch(address: LoopbackAddr, origin: Instant, over: &AtomicBool) -> Vec<Poll> {
    let mut polls = Vec::new();
    let mut next = origin;
    loop {
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            if over.load(Ordering::Relaxed) {
                return polls;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        if over.load(Ordering::Relaxed) {
            return polls;
        }
        // Why it failed is not told: what counts is that a visitor would have seen nothing.
        let claims = look(address).ok();
        polls.push(Poll { at_ms: origin.elapsed().as_millis() as u64, claims });
        // A look that took long leaves out those that it was in the way of.
        next = (next + EVERY).max(Instant::now());
    }
}

/// Both files of the page, read and understood.
fn look(address: LoopbackAddr) -> anyhow::Result<Claims> {
    let summary = get(address, SUMMARY)?;
    let page = String::from_utf8(get(address, PAGE)?)?;
    Claims::read(&summary, &page)
}

/// The body of a file: status 200 and complete, or an error.
fn get(address: LoopbackAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address.get(), PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: a head that arrives in parts would count as slow.
    let head = format!("GET {path} HTTP/1.1\r\nhost: status.localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).context("too slow")?;
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return body(&bytes),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
        if bytes.len() as u64 > DRILL_BODY_BYTES_MAX {
            bail!("{path} has more than {DRILL_BODY_BYTES_MAX} bytes");
        }
    }
}

/// The body of a whole answer that says its length.
fn body(answer: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut fields = [httparse::EMPTY_HEADER; DRILL_HEADER_FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer)? else { bail!("the head is cut short") };
    if head.code != Some(200) {
        bail!("status {:?}", head.code);
    }
    let declared = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let declared: usize = std::str::from_utf8(declared.context("says no length")?.value)?.trim().parse()?;
    let body = &answer[length..];
    if body.len() != declared {
        bail!("{} of {declared} bytes", body.len());
    }
    Ok(body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each connection with the next of these, whatever it asks for.
    fn served(answers: Vec<String>) -> LoopbackAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        LoopbackAddr::new(address).unwrap()
    }

    fn answer(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_page_counts_only_where_both_files_come_whole() {
        let summary = r#"{"components":[{"id":"portal","name":"Web site","status":"operational"}]}"#;
        let page = "<article>\n<h3>Web site</h3>\n<p><span class=\"state none\">Works</span></p></article></html>";
        let claims = look(served(vec![answer(summary), answer(page)])).unwrap();
        assert_eq!(claims.of(0), Some(Claim::Works));
        let cut = answer(page).replace("</html>", "");
        for wrong in [cut, answer(page).replace("200 OK", "503 Busy"), "HTTP/1.1 200".to_owned(), String::new()] {
            assert!(look(served(vec![answer(summary), wrong.clone()])).is_err(), "{wrong}");
            assert!(look(served(vec![wrong.clone(), answer(page)])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_that_is_gone_is_a_look_in_vain() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = LoopbackAddr::new(listener.local_addr().unwrap()).unwrap();
        drop(listener);
        let over = AtomicBool::new(false);
        let polls = std::thread::scope(|scope| {
            let watched = scope.spawn(|| watch(address, Instant::now(), &over));
            std::thread::sleep(Duration::from_millis(400));
            over.store(true, Ordering::Relaxed);
            watched.join().unwrap()
        });
        assert!(!polls.is_empty() && polls.iter().all(|poll| poll.claims.is_none()), "{polls:?}");
    }
}
