//! The connection of card terminals and their concentrators: ISO 8583 over TCP, each message after its length.
//!
//! Several messages of one connection are worked on at once, and answered as they are done: the trace number tells which
//! answer is whose. What can't be read ends the connection, since nothing after it could be trusted.

use super::{Cards, iso};
use crate::bounds::{CARD_CONNECTIONS_MAX, CARD_IDLE_MAX, CARD_MESSAGE_TIME_MAX, CARD_MESSAGES_AT_ONCE_MAX, DRAIN_MAX};
use guichet_iso8583::{MESSAGE_BYTES_MAX, Message, frame};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Serves until the estate stops; messages under way are answered first.
pub(crate) async fn serve(listener: TcpListener, cards: Cards, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CARD_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (cards, stop) = (cards.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, &cards, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                eprintln!("guichet-estate: rails: cards: accept: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(DRAIN_MAX, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, cards: &Cards, mut stop: watch::Receiver<bool>) {
    // An answer is one small packet that somebody stands at the till for.
    let _ = stream.set_nodelay(true);
    let (mut reads, writes) = stream.into_split();
    let writes = Arc::new(Mutex::new(writes));
    let places = Arc::new(Semaphore::new(CARD_MESSAGES_AT_ONCE_MAX as usize));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let read = tokio::select! {
            read = timeout(CARD_IDLE_MAX, message(&mut reads)) => read,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok(Some(request)) = read else { break };
        let (cards, writes) = (cards.clone(), Arc::clone(&writes));
        // Detached: what was asked is done to its end, though the terminal may have gone.
        tokio::spawn(async move {
            if let Some(answer) = iso::answer(&cards, &request).await {
                write(&writes, &answer).await;
            }
            drop(place);
        });
    }
    let _ = timeout(DRAIN_MAX, places.acquire_many(CARD_MESSAGES_AT_ONCE_MAX)).await;
}

/// The next message; `None` when the connection ended or what came is no message.
async fn message(reads: &mut OwnedReadHalf) -> Option<Message> {
    let mut length = 0;
    // Some networks send empty messages to see whether anybody is there.
    while length == 0 {
        length = usize::from(reads.read_u16().await.ok()?);
    }
    if length > MESSAGE_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; length];
    timeout(CARD_MESSAGE_TIME_MAX, reads.read_exact(&mut bytes)).await.ok()?.ok()?;
    Message::decode(&bytes).ok()
}

async fn write(writes: &Mutex<OwnedWriteHalf>, answer: &Message) {
    let bytes = match answer.encode() {
        Ok(bytes) => frame(&bytes),
        Err(fault) => return eprintln!("guichet-estate: rails: cards: an answer can't be written: {fault}"),
    };
    // Held while one answer is written, so that two never mix; who does not read loses the connection.
    let mut writes = writes.lock().await;
    if !matches!(timeout(CARD_MESSAGE_TIME_MAX, writes.write_all(&bytes)).await, Ok(Ok(()))) {
        let _ = writes.shutdown().await;
    }
}
