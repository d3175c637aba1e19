//! HTTP/1.1 as a client: cheap, because the load shares its processors with what it measures.

use super::answer::Answer;
use super::wire::Wire;
use bytes::{Buf, BytesMut};
use guichet_core::bounds::{
    DRILL_BODY_BYTES_MAX, DRILL_HEAD_BYTES_MAX, DRILL_HEADER_FIELDS_MAX, DRILL_INTERIM_ANSWERS_MAX,
};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One connection, one request at a time.
pub(crate) struct H1 {
    wire: Wire,
    buf: BytesMut,
    /// Whether an answer came over it already: a failure of the next request may then be a mere race with its closing.
    pub(crate) used: bool,
}

/// How the body of an answer ends.
enum Body {
    Length(u64),
    Chunked,
    Close,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl H1 {
    /// Over a fresh connection.
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire, buf: BytesMut::with_capacity(4096), used: false }
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        // A front may refuse before it has read everything: its answer is then there in spite of the failed write.
        let written = self.wire.write_all(request).await;
        let answer = match (self.read_answer().await, written) {
            (Ok(answer), _) => answer,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        self.used = true;
        Ok(answer)
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        for _ in 0..DRILL_INTERIM_ANSWERS_MAX {
            let (mut answer, body) = self.read_head().await?;
            if answer.status < 200 {
                continue;
            }
            match body {
                Body::Length(left) => self.skip(left, &mut answer).await?,
                Body::Chunked => self.skip_chunks(&mut answer).await?,
                Body::Close => {
                    self.skip_all().await?;
                    answer.close = true;
                }
            }
            return Ok(answer);
        }
        Err(bad("too many interim answers"))
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buf.reserve(4096);
        match self.wire.read_buf(&mut self.buf).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn read_head(&mut self) -> io::Result<(Answer, Body)> {
        loop {
            if let Some((length, answer, body)) = parse_head(&self.buf)? {
                self.buf.advance(length);
                return Ok((answer, body));
            }
            if self.buf.len() > DRILL_HEAD_BYTES_MAX {
                return Err(bad("the answer's head is too long"));
            }
            self.fill().await?;
        }
    }

    async fn skip(&mut self, mut left: u64, answer: &mut Answer) -> io::Result<()> {
        if left > DRILL_BODY_BYTES_MAX {
            return Err(bad("the answer is too long"));
        }
        loop {
            let here = left.min(self.buf.len() as u64);
            answer.piece(&self.buf[..here as usize]);
            self.buf.advance(here as usize);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    async fn skip_all(&mut self) -> io::Result<()> {
        let mut total = 0;
        loop {
            total += self.buf.len() as u64;
            self.buf.clear();
            if total > DRILL_BODY_BYTES_MAX {
                return Err(bad("the answer is too long"));
            }
            match self.fill().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn line(&mut self) -> io::Result<BytesMut> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buf) {
                return Ok(self.buf.split_to(at + 1));
            }
            if self.buf.len() > 4096 {
                return Err(bad("a chunk's line is too long"));
            }
            self.fill().await?;
        }
    }

    async fn skip_chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let size = httparse::parse_chunk_size(&line).map_err(|_| bad("a bad chunk size"))?;
            let httparse::Status::Complete((_, size)) = size else { return Err(bad("a bad chunk size")) };
            if size == 0 {
                // Trailers, to the empty line.
                while self.line().await?.len() > 2 {
                    total += 1;
                    if total > DRILL_BODY_BYTES_MAX {
                        return Err(bad("too many trailers"));
                    }
                }
                return Ok(());
            }
            total += size;
            if total > DRILL_BODY_BYTES_MAX {
                return Err(bad("the answer is too long"));
            }
            self.skip(size + 2, answer).await?;
        }
    }
}

fn parse_head(buf: &[u8]) -> io::Result<Option<(usize, Answer, Body)>> {
    let mut fields = [httparse::EMPTY_HEADER; DRILL_HEADER_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(buf).map_err(|e| bad(&e.to_string()))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or(0);
    let mut answer = Answer { status, close: response.version == Some(0), ..Answer::default() };
    let mut body = if matches!(status, 100..=199 | 204 | 304) { Body::Length(0) } else { Body::Close };
    for field in response.headers.iter() {
        answer.header(field.name, field.value);
        if matches!(body, Body::Length(0)) {
            continue;
        }
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked;
        } else if field.name.eq_ignore_ascii_case("content-length") && !matches!(body, Body::Chunked) {
            let text = std::str::from_utf8(field.value).map_err(|_| bad("a bad content length"))?;
            body = Body::Length(text.trim().parse().map_err(|_| bad("a bad content length"))?);
        }
    }
    Ok(Some((length, answer, body)))
}

impl H1 {
    /// The connection itself, with whatever was read ahead let go.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }
}
