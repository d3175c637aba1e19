//! Subscribers by webhook: each revision is sent to them once it is on the disk, signed, and tried again a few times.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use sha2::Sha256;
use tokio::sync::mpsc;

use crate::bounds::MESSAGES_WAITING_MAX;
use crate::model::{Notice, Site};
use crate::publish::Troubles;
use crate::tally::Tally;

/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(10);
/// The pauses between tries; after the last, the message is given up.
const PAUSES_S: [u64; 5] = [1, 4, 15, 60, 240];

/// A subscriber.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where messages are posted.
    pub url: String,
    /// What they are signed with.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A message: its id, by which a receiver knows that it came twice, and its body.
#[derive(Debug)]
struct Message {
    id: String,
    body: String,
}

/// The way to all subscribers.
#[derive(Debug)]
pub(crate) struct Subscribers {
    hooks: Vec<(String, mpsc::Sender<Arc<Message>>)>,
    troubles: Troubles,
    tally: Tally,
}

impl Subscribers {
    /// Starts the thread from which messages go.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(hooks: Vec<Webhook>, troubles: &Troubles, tally: &Tally) -> std::io::Result<Self> {
        let mut ways = Vec::new();
        let mut ends = Vec::new();
        for hook in hooks {
            let (way, end) = mpsc::channel(MESSAGES_WAITING_MAX);
            tally.note(|counts| {
                counts.webhooks.entry(host(&hook).to_owned()).or_default();
            });
            ways.push((host(&hook).to_owned(), way));
            ends.push((hook, end));
        }
        if !ends.is_empty() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (troubles, tally) = (troubles.clone(), tally.clone());
            std::thread::Builder::new().name("guichet-webhooks".into()).spawn(move || {
                let local = tokio::task::LocalSet::new();
                for (hook, end) in ends {
                    local.spawn_local(deliver(hook, end, troubles.clone(), tally.clone()));
                }
                runtime.block_on(local);
            })?;
        }
        Ok(Self { hooks: ways, troubles: troubles.clone(), tally: tally.clone() })
    }

    /// Tells everybody of the last revision of a notice. Never waits.
    pub(crate) fn tell(&self, site: &Site, notice: &Notice, chain: &str) {
        if self.hooks.is_empty() {
            return;
        }
        let id = format!("{}-{}", notice.id, notice.revisions.len());
        let body = json!({
            "id": id, "event": "notice", "page": site.url, "journal": chain, "notice": {
                "id": notice.id, "title": notice.title, "components": notice.components, "planned": notice.planned,
                "resolved": notice.is_resolved(), "revision": notice.last(),
            },
        });
        let message = Arc::new(Message { id, body: body.to_string() });
        for (host, way) in &self.hooks {
            if way.try_send(message.clone()).is_err() {
                let why = format!("more than {MESSAGES_WAITING_MAX} messages wait; message {} was dropped", message.id);
                self.tally.note(|counts| counts.webhooks.entry(host.clone()).or_default().lost += 1);
                self.troubles.begin(&name(host), &why);
            }
        }
    }
}

/// How messages name it: without what may be secret in the path.
fn name(host: &str) -> String {
    format!("the webhook at {host}")
}

fn host(hook: &Webhook) -> &str {
    hook.url.split('/').nth(2).unwrap_or_default()
}

/// What a subscriber verifies: `t=SECONDS,v1=HEX`, where HEX is HMAC-SHA-256 of the seconds, a full stop and the body.
#[must_use]
pub fn signature(secret: &[u8], second: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)
        .unwrap_or_else(|error| unreachable!("HMAC takes keys of any length: {error}"));
    mac.update(format!("{second}.{body}").as_bytes());
    format!("t={second},v1={}", hex::encode(mac.finalize().into_bytes()))
}

async fn deliver(hook: Webhook, mut messages: mpsc::Receiver<Arc<Message>>, troubles: Troubles, tally: Tally) {
    let (host, name) = (host(&hook).to_owned(), name(host(&hook)));
    let client = reqwest::Client::builder().timeout(TRY_WITHIN).redirect(reqwest::redirect::Policy::none()).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return troubles.begin(&name, &error.to_string()),
    };
    while let Some(message) = messages.recv().await {
        let mut pauses = PAUSES_S.iter();
        loop {
            let posted = post(&client, &hook, &message).await;
            tally.note(|counts| counts.webhooks.entry(host.clone()).or_default().note(posted.is_ok()));
            match posted {
                Ok(()) => {
                    troubles.end(&name);
                    break;
                }
                Err(why) => {
                    let Some(pause) = pauses.next() else {
                        tally.note(|counts| counts.webhooks.entry(host.clone()).or_default().lost += 1);
                        troubles.begin(&name, &format!("message {} was given up: {why}", message.id));
                        break;
                    };
                    troubles.begin(&name, &why);
                    tokio::time::sleep(Duration::from_secs(*pause)).await;
                }
            }
        }
    }
}

async fn post(client: &reqwest::Client, hook: &Webhook, message: &Message) -> Result<(), String> {
    let signed = signature(&hook.secret, Timestamp::now().as_second(), &message.body);
    let request = client
        .post(&hook.url)
        .header(CONTENT_TYPE, "application/json")
        .header("guichet-delivery", &message.id)
        .header("guichet-signature", signed)
        .body(message.body.clone());
    // The address may hold a secret, and errors go into the log.
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status().as_u16())) }
}
