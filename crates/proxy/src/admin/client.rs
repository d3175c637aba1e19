//! Asks a running node's admin listener: what the commands of the operator are made of.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use guichet_core::bounds::ADMIN_ANSWER_BYTES_MAX;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::orders::ORDER_HEADER;

/// How long the whole exchange may take.
const WITHIN: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no Guichet answers on {0} ({1}); is it running, and is this the address of [admin] listen?")]
    NotThere(SocketAddr, String),
    /// It answered, and said no.
    #[error("{0}")]
    Refused(String),
    /// What answered is not Guichet.
    #[error("what answers on {0} does not speak like Guichet's admin listener: {1}")]
    Strange(SocketAddr, String),
}

/// Asks with GET, or orders with POST where there is a body.
///
/// # Errors
/// Nobody answers, or the answer is no.
pub fn ask(admin: SocketAddr, path: &str, order: Option<&Value>) -> Result<Value, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AskError::NotThere(admin, error.to_string()))?;
    runtime.block_on(async {
        match tokio::time::timeout(WITHIN, exchange(admin, path, order)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::NotThere(admin, format!("no answer within {} s", WITHIN.as_secs()))),
        }
    })
}

async fn exchange(admin: SocketAddr, path: &str, order: Option<&Value>) -> Result<Value, AskError> {
    let away = |error: &dyn std::fmt::Display| AskError::NotThere(admin, error.to_string());
    let strange = |error: &dyn std::fmt::Display| AskError::Strange(admin, error.to_string());
    let stream = TcpStream::connect(admin).await.map_err(|error| away(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| strange(&error))?;
    let driving = tokio::spawn(connection);
    let mut request = Request::builder().uri(path).header(header::HOST, admin.to_string());
    if order.is_some() {
        request = request.method(Method::POST).header(ORDER_HEADER, "1");
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = order.map_or_else(Bytes::new, |order| order.to_string().into());
    let request = request.body(Full::new(body)).map_err(|error| strange(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| strange(&error))?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), ADMIN_ANSWER_BYTES_MAX).collect().await;
    let bytes = bytes.map_err(|error| strange(&error))?.to_bytes();
    driving.abort();
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| strange(&error))?;
    if status.is_success() {
        return Ok(value);
    }
    let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or("no reason given");
    Err(AskError::Refused(detail.to_owned()))
}
