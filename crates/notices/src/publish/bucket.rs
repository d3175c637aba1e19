//! A bucket of any store that speaks S3.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore as _, PutOptions, PutPayload, RetryConfig};

use crate::edition::Edition;

/// How long the whole of an edition may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Where the bucket is, and with which key it is written.
#[derive(Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Base URL of the store, such as `https://s3.example.org`.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// What comes before each name, without slashes around; may be empty.
    pub prefix: String,
    /// The key's id.
    pub key_id: String,
    /// The key.
    pub secret: String,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("endpoint", &self.endpoint).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl Bucket {
    /// The store.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub fn open(&self) -> Result<AmazonS3, String> {
        let retry = RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_region(&self.region)
            .with_bucket_name(&self.bucket)
            .with_access_key_id(&self.key_id)
            .with_secret_access_key(&self.secret)
            .with_allow_http(self.endpoint.starts_with("http://"))
            .with_retry(retry)
            .build()
            .map_err(|error| error.to_string())
    }
}

/// Puts all files of an edition into the bucket: each is exchanged whole, pages after what they show, and the signed
/// manifest last, so that whoever verifies during the exchange finds the former one not fitting, and asks again.
///
/// # Errors
/// What the store said.
pub async fn publish(store: &AmazonS3, prefix: &str, edition: &Edition) -> Result<(), String> {
    let put = async {
        for (path, page) in edition.in_order() {
            let key = if prefix.is_empty() { path.to_owned() } else { format!("{prefix}/{path}") };
            let attributes = Attributes::from_iter([
                (Attribute::ContentType, page.media_type),
                (Attribute::CacheControl, "no-cache"),
            ]);
            let options = PutOptions { attributes, ..PutOptions::default() };
            let payload = PutPayload::from(page.bytes.clone());
            store.put_opts(&Path::from(key), payload, options).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let within = format!("not all was put within {} s", WITHIN.as_secs());
    tokio::time::timeout(WITHIN, put).await.map_err(|_| within)?
}
