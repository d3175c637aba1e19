//! The service behind the proxies of the bench: it answers every request with the same KiB, as cheaply as it can.

use anyhow::Context;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the body of each answer.
pub(crate) const BODY_BYTES: usize = 1024;
/// Bytes of one read: more than the heads that proxies send us.
const READ_BYTES: usize = 8192;

/// Starts the origin on a thread of its own, which ends with the process.
///
/// # Errors
/// When no port can be had.
pub(crate) fn start() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("origin")?;
    listener.set_nonblocking(true)?;
    let at = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let serve = move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream));
            }
        });
    };
    std::thread::Builder::new().name("origin".to_owned()).spawn(serve)?;
    Ok(at)
}

async fn answer_all(mut stream: TcpStream) {
    let answer = answer();
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    // Proxies ask with GET and no body: a request ends with its head.
    while let Ok(count @ 1..) = stream.read(&mut buffer[filled..]).await {
        filled += count;
        let mut start = 0;
        while let Some(end) = memchr::memmem::find(&buffer[start..filled], b"\r\n\r\n") {
            start += end + 4;
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled == buffer.len() {
            return;
        }
    }
}

fn answer() -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY_BYTES}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY_BYTES, b'g');
    answer
}
