//! Where the page goes: each place on its own, the newest edition only, tried again with patience.

pub mod bucket;
pub mod command;
pub mod folder;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::edition::Edition;
use crate::tally::Tally;

/// The first pause after a failure; it doubles up to [`PAUSE_LONGEST`].
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// Characters of what a place said that are told.
const SAID_CHARS: usize = 400;

/// A place where the page is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder: a link to the newest of some folders beside it.
    Folder(PathBuf),
    /// A bucket of a store that speaks S3.
    Bucket(bucket::Bucket),
    /// A command, which gets the path of a folder with the page as its last argument.
    Command(Vec<String>),
}

impl Target {
    /// How messages name it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Folder(path) => format!("the folder {}", path.display()),
            Self::Bucket(bucket) => format!("the bucket {}", bucket.bucket),
            Self::Command(words) => format!("the command {}", words.first().map_or("", String::as_str)),
        }
    }
}

/// What does not work, by what it is; shared with whoever tells it.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<String, String>>>);

impl Troubles {
    /// Tells of a trouble, once.
    pub fn begin(&self, what: &str, why: &str) {
        let former = self.0.lock().insert(what.to_owned(), why.to_owned());
        if former.as_deref() != Some(why) {
            eprintln!("guichet: notices: {what}: {why}");
        }
    }

    /// It works again, or always did.
    pub fn end(&self, what: &str) {
        if self.0.lock().remove(what).is_some() {
            eprintln!("guichet: notices: {what} works again");
        }
    }

    /// All there are.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.lock().iter().map(|(what, why)| format!("notices: {what}: {why}")).collect()
    }
}

/// Publishes every edition that comes to one place, until the sender is gone.
pub(crate) async fn keep(
    target: Target,
    mut editions: watch::Receiver<Arc<Edition>>,
    troubles: Troubles,
    tally: Tally,
) {
    let name = target.name();
    // It is shown before the first try has ended, too.
    tally.note(|counts| {
        counts.places.entry(name.clone()).or_default();
    });
    let mut pause = PAUSE_FIRST;
    loop {
        let edition = editions.borrow_and_update().clone();
        let published = match &target {
            Target::Folder(path) => folder::publish(path, &edition).map_err(|error| error.to_string()),
            Target::Bucket(bucket) => match bucket.open() {
                Ok(store) => bucket::publish(&store, &bucket.prefix, &edition).await,
                Err(why) => Err(why),
            },
            Target::Command(words) => command::publish(words, &edition).await,
        };
        tally.note(|counts| counts.places.entry(name.clone()).or_default().note(published.is_ok()));
        match published {
            Ok(()) => {
                troubles.end(&name);
                pause = PAUSE_FIRST;
                if editions.changed().await.is_err() {
                    return;
                }
            }
            Err(why) => {
                troubles.begin(&name, &line(&why));
                // The next try is with the newest edition, whatever came in the meantime.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_LONGEST);
                if editions.has_changed().is_err() {
                    return;
                }
            }
        }
    }
}

/// What somebody else said, on one line and not too long.
fn line(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SAID_CHARS).collect()
}
