//! HTTP/2 clients of the bench.

use super::client::{Progress, Target, source};
use super::origin::BODY_BYTES;
use anyhow::{Context, bail};
use bytes::Bytes;
use h2::client::SendRequest;
use std::rc::Rc;

/// Keeps so many streams of one connection busy until told to stop.
///
/// # Errors
/// When the connection ends or an answer is not the right one.
pub(crate) async fn ask_on(
    target: Rc<Target>,
    connection: usize,
    streams: usize,
    progress: Rc<Progress>,
) -> anyhow::Result<()> {
    let stream = {
        let config = target.tls.as_ref().context("HTTP/2 is measured over TLS")?;
        let stream = super::client::connect(source(connection), target.to).await?;
        target.handshake(config, stream).await?
    };
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        bail!("the front does not speak HTTP/2");
    }
    // Windows as browsers have them: updates are rare.
    let (sender, driver) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(15 << 20)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn_local(async move { driver.await.context("connection") });
    for _ in 0..streams {
        tasks.spawn_local(stream_of(Rc::clone(&target), sender.clone(), connection, Rc::clone(&progress)));
    }
    // The first to end says why; the others end with it.
    tasks.join_next().await.context("no stream")??
}

async fn stream_of(
    target: Rc<Target>,
    mut sender: SendRequest<Bytes>,
    connection: usize,
    progress: Rc<Progress>,
) -> anyhow::Result<()> {
    let uri = format!("https://{}{}", target.host, target.path);
    while !progress.stopped() {
        sender = sender.ready().await?;
        let request = http::Request::get(&uri).header("user-agent", "guichet-bench").body(())?;
        let (answer, _) = sender.send_request(request, true)?;
        let answer = answer.await?;
        if answer.status().as_u16() != target.status {
            bail!("status {} instead of {}", answer.status(), target.status);
        }
        let mut body = answer.into_body();
        let mut length = 0;
        while let Some(data) = body.data().await {
            let data = data?;
            length += data.len();
            body.flow_control().release_capacity(data.len())?;
        }
        if length != BODY_BYTES {
            bail!("{length} bytes of body instead of {BODY_BYTES}");
        }
        progress.count(connection);
    }
    Ok(())
}
