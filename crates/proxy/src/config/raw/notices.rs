//! The status page: what it says, where it is served, and where it is published.

use guichet_notices::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Words;

/// The status page.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Notices {
    /// Folder of the journal (what was said, which outlives everything) and of the key; empty: there is no status page.
    pub(in crate::config) directory: String,
    /// Address at which Guichet itself serves the page, over http, on a thread of its own that outlives the other listeners and all services; empty: it is only published.
    pub(in crate::config) listen: String,
    /// What the page is called; absent: "État des services" and "State of the services".
    pub(in crate::config) title: Option<Words>,
    /// Where people read it, such as `https://status.example.org`, without a slash at the end: for links in feeds and alerts.
    pub(in crate::config) url: String,
    /// Who speaks in alerts (CAP), such as an address of mail: no spaces and no commas.
    pub(in crate::config) sender: String,
    /// The area that alerts are about; absent: the title.
    pub(in crate::config) area: Option<Words>,
    /// Languages of the page, the usual one first.
    #[schemars(length(min = 1, max = 2))]
    pub(in crate::config) languages: Vec<NoticeLanguage>,
    /// Services on the page; empty: those with a contract, in the order of the files.
    #[schemars(length(max = bounds::COMPONENTS_MAX))]
    pub(in crate::config) components: Vec<String>,
    /// File of the key with which the page is signed; it is made where there is none. Empty: `notices.key` in the folder.
    pub(in crate::config) key_file: String,
    /// The page is drawn at least this often, as a sign of life.
    #[schemars(range(min = 5, max = 600))]
    pub(in crate::config) sign_of_life_s: u64,
    /// A page that was not drawn again after this long says that its source is silent.
    #[schemars(range(min = 15, max = 3600))]
    pub(in crate::config) valid_s: u32,
    /// For how long a service must do well until what was measured of it is over.
    #[schemars(range(min = 1, max = 3600))]
    pub(in crate::config) settle_s: u32,
    /// A path that becomes a link to the newest edition, for a web server to serve; empty: none.
    pub(in crate::config) folder: String,
    /// A program and its arguments, run for each edition with the path of a folder as last argument; empty: none.
    #[schemars(length(max = 32))]
    pub(in crate::config) command: Vec<String>,
    /// A bucket of a store that speaks S3.
    pub(in crate::config) bucket: Option<NoticeBucket>,
    /// Who is told of each revision.
    #[schemars(length(max = bounds::WEBHOOKS_MAX))]
    pub(in crate::config) webhook: Vec<NoticeWebhook>,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            directory: String::new(),
            listen: String::new(),
            title: None,
            url: String::new(),
            sender: "guichet".into(),
            area: None,
            languages: vec![NoticeLanguage::Fr, NoticeLanguage::En],
            components: Vec::new(),
            key_file: String::new(),
            sign_of_life_s: 30,
            valid_s: 120,
            settle_s: 30,
            folder: String::new(),
            command: Vec::new(),
            bucket: None,
            webhook: Vec::new(),
        }
    }
}

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum NoticeLanguage {
    /// French.
    Fr,
    /// English.
    En,
}

/// A bucket of a store that speaks S3.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["endpoint", "bucket", "key_id", "secret_file"]))]
pub(in crate::config) struct NoticeBucket {
    /// Base URL of the store, such as `https://s3.example.org`.
    pub(in crate::config) endpoint: String,
    /// Its region.
    pub(in crate::config) region: String,
    /// The bucket.
    pub(in crate::config) bucket: String,
    /// What comes before the name of each file, such as `status`; empty: nothing.
    pub(in crate::config) prefix: String,
    /// Id of the access key.
    pub(in crate::config) key_id: String,
    /// File with the secret of the access key; only its owner should be able to read it.
    pub(in crate::config) secret_file: String,
}

impl Default for NoticeBucket {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: "us-east-1".into(),
            bucket: String::new(),
            prefix: String::new(),
            key_id: String::new(),
            secret_file: String::new(),
        }
    }
}

/// Who is told of each revision, by POST.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url", "secret_file"]))]
pub(in crate::config) struct NoticeWebhook {
    /// Where messages are posted, on https or http.
    pub(in crate::config) url: String,
    /// File with the secret that messages are signed with (HMAC-SHA-256); at least 16 bytes.
    pub(in crate::config) secret_file: String,
}
