//! HTTP/2 as a client.

use super::answer::Answer;
use super::headers::Request;
use super::wire::Wire;
use bytes::Bytes;
use guichet_core::bounds::DRILL_BODY_BYTES_MAX;
use h2::client::SendRequest;
use std::io;

/// A connection that many requests share. Closed when the last clone is gone.
#[derive(Clone)]
pub(crate) struct H2 {
    send: SendRequest<Bytes>,
}

fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    } else {
        io::Error::other(error)
    }
}

impl H2 {
    /// Over a fresh connection; its driver runs beside on the same thread.
    pub(crate) async fn new(wire: Wire) -> io::Result<Self> {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 22)
            .enable_push(false)
            .handshake(wire)
            .await
            .map_err(broken)?;
        tokio::task::spawn_local(async move {
            // Its end is seen by the requests that it carries.
            let _ = connection.await;
        });
        Ok(Self { send })
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn exchange(&self, request: &Request<'_>) -> io::Result<Answer> {
        let head = request.h2().map_err(io::Error::other)?;
        let mut send = self.send.clone().ready().await.map_err(broken)?;
        let body = request.ask.body.as_bytes();
        let (answer, mut stream) = send.send_request(head, body.is_empty()).map_err(broken)?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true).map_err(broken)?;
        }
        let (parts, mut body) = answer.await.map_err(broken)?.into_parts();
        let mut result = Answer { status: parts.status.as_u16(), ..Answer::default() };
        for (name, value) in &parts.headers {
            result.header(name.as_str(), value.as_bytes());
        }
        let mut total = 0;
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(broken)?;
            let length = chunk.len();
            result.piece(&chunk);
            total += length as u64;
            if total > DRILL_BODY_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
            }
            body.flow_control().release_capacity(length).map_err(broken)?;
        }
        Ok(result)
    }
}
