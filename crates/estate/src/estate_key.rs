//! The key by which services of the estate know each other on interfaces that are for them alone.
//!
//! It stands in the data folder, since who can read that can read the stores too. Services that run apart need the same file.

use crate::bounds::{BODY_BYTES_MAX, HANDLER_MAX, INTERNAL_AT_ONCE_MAX};
use crate::key_file;
use crate::once::hash;
use crate::problem::Problem;
use anyhow::ensure;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::Sha256;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The header that bears it.
pub(crate) const HEADER: &str = "x-estate-key";
const FILE: &str = "estate.key";
const WHAT: &str = "the estate's key";

/// The key, as text for a header; never shown.
#[derive(Clone)]
pub(crate) struct EstateKey(String);

impl std::fmt::Debug for EstateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EstateKey(..)")
    }
}

impl EstateKey {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// A secret for one purpose, drawn from the key: who has it has not the key.
    pub(crate) fn derive(&self, purpose: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return String::new() };
        mac.update(purpose.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether a request bears the key and came from within: the front adds a header that tells whom it speaks for.
    pub(crate) fn opens(&self, headers: &HeaderMap) -> bool {
        let outside = ["x-forwarded-for", "forwarded", "via"].iter().any(|name| headers.contains_key(*name));
        // Hashes are compared, so that the time it takes tells nothing of the key.
        !outside && headers.get(HEADER).is_some_and(|told| hash(told.as_bytes()) == hash(self.0.as_bytes()))
    }

    /// Reads the key of a data folder, and makes it where there is none. Several services may do so at once.
    ///
    /// # Errors
    /// When the file can't be written, others may read it, or it is no key.
    pub(crate) fn load_or_make(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        if !path.exists() {
            key_file::make(&path, WHAT, &hex::encode(key_file::random()?))?;
        }
        let text = key_file::read(&path, WHAT, "")?;
        let whole = text.len() == 64 && hex::decode(&text).is_ok();
        ensure!(whole, "{}: a key is 64 hexadecimal digits; restore the file", path.display());
        Ok(Self(text))
    }
}

/// Who is let in to what is for services of the estate alone, and how many at once.
#[derive(Clone)]
pub(crate) struct Door {
    key: Option<EstateKey>,
    places: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(key: Option<EstateKey>) -> Self {
        Self { key, places: Arc::new(Semaphore::new(INTERNAL_AT_ONCE_MAX)) }
    }

    /// Puts the door before routes: bodies of the usual size, read within the usual time, and only from holders of the key.
    pub(crate) fn before(self, routes: Router) -> Router {
        routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(from_fn_with_state(self, enter))
    }
}

/// Whoever has no key is told that there is nothing here, before a byte of the body is read.
async fn enter(State(door): State<Door>, request: Request, next: Next) -> Response {
    if !door.key.is_some_and(|key| key.opens(request.headers())) {
        return Problem::not_found("page").into_response();
    }
    let Ok(_place) = door.places.try_acquire() else {
        return Problem::busy("too many operations of other services are under way").into_response();
    };
    let served = tokio::time::timeout(HANDLER_MAX, next.run(request)).await;
    served.unwrap_or_else(|_| Problem::busy("this took too long").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_key_whoever_asks_first_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let dir = dir.path().to_owned();
                std::thread::spawn(move || EstateKey::load_or_make(&dir).unwrap().0)
            })
            .collect();
        let keys: Vec<String> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "one key");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        let path = dir.path().join(FILE);
        for (mode, text, words) in [(0o640, keys[0].as_str(), "chmod 600"), (0o600, "abc", "64 hexadecimal")] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let told = EstateKey::load_or_make(dir.path()).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn opens_with_the_key_from_within_only() {
        let key = EstateKey("ab".repeat(32));
        let check = |headers: &[(&'static str, String)], expected: bool| {
            let headers: HeaderMap =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(key.opens(&headers), expected, "{headers:?}");
        };
        check(&[(HEADER, key.0.clone())], true);
        check(&[(HEADER, key.0.to_uppercase())], false);
        check(&[(HEADER, String::new())], false);
        check(&[], false);
        check(&[(HEADER, key.0.clone()), ("x-forwarded-for", "192.0.2.1".into())], false);
    }
}
