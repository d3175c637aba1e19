//! The status page, after it was checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use guichet_notices::publish::Target;
use guichet_notices::webhook::Webhook;
use guichet_notices::{Settings, Site};

/// The status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notices {
    /// What it says of itself and of the services: a reload changes it.
    pub site: Site,
    /// Where it is kept, served and published: a restart changes it.
    pub place: NoticesPlace,
}

/// Where the status page is kept, served and published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticesPlace {
    /// Folder of the journal.
    pub directory: PathBuf,
    /// File of the key.
    pub key: PathBuf,
    /// Where Guichet serves it.
    pub listen: Option<SocketAddr>,
    /// Where it is published.
    pub targets: Vec<Target>,
    /// Who is told.
    pub webhooks: Vec<Webhook>,
    /// It is drawn at least this often.
    pub sign_of_life: Duration,
    /// For how long a service must do well until what was measured of it is over.
    pub settle_s: u32,
}

impl Notices {
    /// What the keeper of the page needs.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let NoticesPlace { directory, key, listen, targets, webhooks, sign_of_life, settle_s } = self.place.clone();
        Settings { site: self.site.clone(), directory, key, listen, targets, webhooks, sign_of_life, settle_s }
    }
}
