//! A signed POST: `x-guichet-signature: t=UNIX,v1=HEX`, the HMAC-SHA-256 of `UNIX.BODY`.

use std::sync::Arc;

use bytes::Bytes;
use guichet_core::bounds::HAND_ON_ANSWER_BYTES_MAX;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::tell::Untold;
use crate::clock;

/// The header with time and signature.
const SIGNATURE: &str = "x-guichet-signature";

/// Posts; an answer of 2xx counts.
pub(super) async fn post(url: &Uri, secret: &[u8], body: String) -> Result<(), Untold> {
    let away = |why: String| Untold { why: format!("{url}: {why}"), maybe: false };
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let https = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(|error| away(error.to_string()))?;
    if !https {
        return exchange(stream, url, secret, body).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| away(error.to_string()))?;
    let stream = connector().map_err(away)?.connect(name, stream).await.map_err(|error| away(error.to_string()))?;
    exchange(stream, url, secret, body).await
}

fn connector() -> Result<tokio_rustls::TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system has no CA certificates; install them".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config).into())
}

/// The value of [`SIGNATURE`].
pub(super) fn signature(secret: &[u8], unix_s: u64, body: &str) -> String {
    use aws_lc_rs::hmac;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), format!("{unix_s}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix_s},v1={hex}")
}

async fn exchange<S>(stream: S, url: &Uri, secret: &[u8], body: String) -> Result<(), Untold>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let broken = |error: &dyn std::fmt::Display| Untold { why: format!("{url}: {error}"), maybe: true };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let driving = tokio::task::spawn_local(connection);
    let host = url.authority().map_or("", |authority| authority.as_str());
    let request = Request::builder()
        .method(Method::POST)
        .uri(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, host.rsplit('@').next().unwrap_or_default())
        .header(header::CONTENT_TYPE, "application/json")
        .header(SIGNATURE, signature(secret, clock::unix_s(), &body))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| broken(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = answer.status();
    // What it says is not looked at; it may finish saying it.
    let _ = Limited::new(answer.into_body(), HAND_ON_ANSWER_BYTES_MAX).collect().await;
    driving.abort();
    if status.is_success() { Ok(()) } else { Err(broken(&format!("it answered {status}"))) }
}
