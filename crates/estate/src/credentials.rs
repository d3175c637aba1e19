//! Passwords of the test users: real Argon2id verifiers, with a cap on how many are computed at once.
//!
//! The parameters ([`MEMORY_KIB`], one pass, one lane) are far below what a production system must use (OWASP asks for
//! 19 MiB and two passes): they are for published test passwords only, so that a login in a drill costs about a
//! millisecond of processor and the drill measures protection. The verifiers come ready made in `seed/verifiers.bin`, with
//! salts that are a function of the user's name, since computing thousands would delay the start.

use crate::bounds::{PASSWORD_BYTES_MAX, PASSWORD_CHECKS_MAX, PASSWORD_WAITERS_MAX, USERS};
use crate::problem::Problem;
use crate::store::{Store, Tx};
use crate::{ids, seed};
use anyhow::Context;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::StatusCode;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Memory of one hash, KiB.
pub(crate) const MEMORY_KIB: u32 = 2048;
const HASH_BYTES: usize = 32;
static VERIFIERS: &[u8; USERS as usize * HASH_BYTES] = include_bytes!("../seed/verifiers.bin");

/// A user whose password was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Its number, from which test data derive.
    pub(crate) n: u32,
}

impl User {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        ids::user_number(name).map(|n| Self { name: name.to_owned(), n })
    }
}

/// Checks passwords, a few at once.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    store: Store,
    checks: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Passwords {
    pub(crate) fn new(store: &Store) -> Self {
        let checks = Arc::new(Semaphore::new(PASSWORD_CHECKS_MAX));
        Self { store: store.clone(), checks, waiting: Arc::default() }
    }

    /// As [`Passwords::check`], for pages, which say themselves that something is wrong.
    ///
    /// # Errors
    /// When too many wait, or the store fails.
    pub(crate) async fn find(&self, name: &str, password: &str) -> Result<Option<User>, Problem> {
        match self.check(name, password).await {
            Ok(user) => Ok(Some(user)),
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// The user, if name and password are right. Takes as long for a name that does not exist.
    ///
    /// # Errors
    /// 401 if either is wrong, 503 when too many wait to be checked.
    pub(crate) async fn check(&self, name: &str, password: &str) -> Result<User, Problem> {
        if password.len() > PASSWORD_BYTES_MAX || name.len() > PASSWORD_BYTES_MAX {
            return Err(Problem::wrong_credentials());
        }
        let _waiting = Waiting::join(&self.waiting)?;
        let closed = |_| Problem::busy("the service is closing");
        let permit = Arc::clone(&self.checks).acquire_owned().await.map_err(closed)?;
        let phc: Option<String> = sqlx::query_scalar("SELECT phc FROM credential WHERE \"user\" = $1")
            .bind(name)
            .fetch_optional(&self.store.reader)
            .await?;
        let user = phc.is_some().then(|| User::from_name(name)).flatten();
        // An unknown name is checked against a verifier that no password fits.
        let phc = phc.unwrap_or_else(|| phc_string("nobody", &[0; HASH_BYTES]));
        let password = password.to_owned();
        let checked = tokio::task::spawn_blocking(move || {
            let right = verify(&phc, &password);
            drop(permit);
            right
        });
        let right = checked.await.map_err(|error| Problem::internal(&error))?;
        user.filter(|_| right).ok_or_else(Problem::wrong_credentials)
    }
}

/// One request that waits for a check or is being checked.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Result<Self, Problem> {
        let next = |waiting| (waiting < PASSWORD_WAITERS_MAX).then_some(waiting + 1);
        match count.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(_) => Ok(Self(count)),
            Err(_) => Err(Problem::busy("too many passwords are being checked; come back in a moment")),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn verify(phc: &str, password: &str) -> bool {
    PasswordHash::new(phc).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

fn salt(name: &str) -> [u8; 16] {
    let mut salt = [0; 16];
    salt.copy_from_slice(&Sha256::digest(format!("guichet estate salt of {name}"))[..16]);
    salt
}

fn phc_string(name: &str, hash: &[u8]) -> String {
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt(name)), STANDARD_NO_PAD.encode(hash));
    format!("$argon2id$v=19$m={MEMORY_KIB},t=1,p=1${salt}${hash}")
}

/// Puts the verifiers of all test users in.
pub(crate) async fn seed(tx: &mut Tx) -> anyhow::Result<()> {
    let rows: Vec<_> = (0..USERS)
        .zip(VERIFIERS.chunks_exact(HASH_BYTES))
        .map(|(n, hash)| (ids::user(n), phc_string(&ids::user(n), hash)))
        .collect();
    seed::insert(tx, "INSERT INTO credential SELECT value->>0, value->>1 FROM json_each($1)", &rows).await
}

/// Computes the content of `seed/verifiers.bin`: a hash of 32 bytes a user.
///
/// # Errors
/// When Argon2 refuses the parameters.
pub(crate) fn make_verifiers() -> anyhow::Result<Vec<u8>> {
    let params = Params::new(MEMORY_KIB, 1, 1, Some(HASH_BYTES)).context("parameters")?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut all = vec![0; USERS as usize * HASH_BYTES];
    for (n, out) in (0..USERS).zip(all.chunks_exact_mut(HASH_BYTES)) {
        argon2.hash_password_into(ids::password(n).as_bytes(), &salt(&ids::user(n)), out).context("hash")?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_verifiers_are_those_of_the_published_passwords() {
        for n in [0, 1, 17, 500, 999] {
            let hash = &VERIFIERS[n as usize * HASH_BYTES..][..HASH_BYTES];
            let phc = phc_string(&ids::user(n), hash);
            assert!(verify(&phc, &ids::password(n)), "user {n}: run `guichet-estate make-verifiers`");
            assert!(!verify(&phc, &ids::password(n + 1)));
            assert!(!verify(&phc, ""));
        }
    }

    #[test]
    fn the_cap_on_those_who_wait_holds() {
        let count = AtomicUsize::new(0);
        let waiting: Vec<_> = (0..PASSWORD_WAITERS_MAX).map(|_| Waiting::join(&count).unwrap()).collect();
        let refused = Waiting::join(&count).err().unwrap();
        assert_eq!((refused.status.as_u16(), refused.retry_after_s), (503, Some(1)));
        drop(waiting);
        assert!(Waiting::join(&count).is_ok());
    }
}
