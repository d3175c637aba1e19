//! TLS handshakes that are begun and left: the front has signed by then, the attacker has paid next to nothing.

use super::super::wire;
use super::{Force, Source};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout_at;

/// ClientHellos made for each target: attackers repeat themselves.
const HELLOS: usize = 32;
/// An attacker's patience with one handshake.
const PATIENCE: Duration = Duration::from_secs(2);

/// ClientHellos to send again and again.
pub(super) fn hellos(config: &Arc<ClientConfig>, name: &ServerName<'static>) -> anyhow::Result<Vec<Vec<u8>>> {
    (0..HELLOS)
        .map(|_| {
            let mut bytes = Vec::new();
            ClientConnection::new(Arc::clone(config), name.clone())?.write_tls(&mut bytes)?;
            Ok(bytes)
        })
        .collect()
}

/// One handshake, up to the front's certificate.
pub(super) async fn act(force: &Force, source: &Source) {
    force.sent(1);
    match timeout_at(force.at_most(PATIENCE), begin(force, source)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => force.failed(),
    }
}

async fn begin(force: &Force, source: &Source) -> io::Result<()> {
    let draw = force.draw();
    let op = force.wave.targets[(draw >> 40) as usize % force.wave.targets.len()];
    let route = force.route(source, op).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = wire::connect_tcp(&route).await?;
    force.connected();
    if let Some(hello) = force.front.hellos.get(draw as usize % force.front.hellos.len().max(1)) {
        stream.write_all(hello).await?;
    }
    let mut flight = [0_u8; 2048];
    match stream.read(&mut flight).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        // 22 is a handshake record (the front's flight), anything else an alert.
        _ if flight[0] == 22 => {
            force.answered(200, false);
            Ok(())
        }
        _ => {
            force.answered(400, false);
            Ok(())
        }
    }
}
