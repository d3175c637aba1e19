//! WebDAV locks: in memory, a table a user, bounded in number and in time. A restart frees all locks, as RFC 4918 (6.6)
//! allows.

use crate::bounds::{LOCK_LIFE_MAX, LOCKS_PER_USER_MAX, USERS};
use dav_server::davpath::DavPath;
use dav_server::ls::{DavLock, DavLockSystem, LsFuture};
use dav_server::memls::MemLs;
use futures_util::FutureExt as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use xmltree::Element;

/// The locks of all users; users are few and known, so the table is bounded by their number.
#[derive(Clone, Debug, Default)]
pub(super) struct AllLocks(Arc<Mutex<HashMap<String, UserLocks>>>);

impl AllLocks {
    pub(super) fn of(&self, owner: &str) -> Box<UserLocks> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(all.len() <= USERS as usize, "only users who signed in come here");
        Box::new(all.entry(owner.to_owned()).or_insert_with(UserLocks::new).clone())
    }
}

/// The locks of one user.
#[derive(Clone, Debug)]
pub(super) struct UserLocks {
    table: MemLs,
    held: Arc<Mutex<Vec<Held>>>,
}

/// One lock that was given.
#[derive(Clone, Debug)]
struct Held {
    path: DavPath,
    token: String,
    until: SystemTime,
}

impl UserLocks {
    fn new() -> Self {
        Self { table: *MemLs::new(), held: Arc::default() }
    }

    /// Ends the locks whose time is over: the table itself keeps them.
    fn expire(&self) {
        let now = SystemTime::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for over in held.iter().filter(|held| held.until <= now) {
            // The table answers at once; a lock that it no longer has is ended too.
            let _ = self.table.unlock(&over.path, &over.token).now_or_never();
        }
        held.retain(|held| held.until > now);
    }

    /// Changes the list of locks that are held.
    fn note<T>(&self, change: impl FnOnce(&mut Vec<Held>) -> T) -> T {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn bounded(timeout: Option<Duration>) -> Duration {
    timeout.unwrap_or(LOCK_LIFE_MAX).min(LOCK_LIFE_MAX)
}

impl DavLockSystem for UserLocks {
    fn lock(
        &'_ self,
        path: &DavPath,
        principal: Option<&str>,
        owner: Option<&Element>,
        timeout: Option<Duration>,
        shared: bool,
        deep: bool,
    ) -> LsFuture<'_, Result<DavLock, DavLock>> {
        self.expire();
        let timeout = bounded(timeout);
        if self.note(|held| held.len()) >= LOCKS_PER_USER_MAX {
            // What stands in the way are all the others.
            let refused = DavLock {
                token: String::new(),
                path: Box::new(path.clone()),
                principal: None,
                owner: None,
                timeout_at: None,
                timeout: None,
                shared,
                deep,
            };
            return std::future::ready(Err(refused)).boxed();
        }
        let taken = self.table.lock(path, principal, owner, Some(timeout), shared, deep);
        let path = path.clone();
        taken
            .map(move |taken| {
                if let Ok(lock) = &taken {
                    let held = Held { path, token: lock.token.clone(), until: SystemTime::now() + timeout };
                    self.note(|all| all.push(held));
                }
                taken
            })
            .boxed()
    }

    fn unlock(&'_ self, path: &DavPath, token: &str) -> LsFuture<'_, Result<(), ()>> {
        self.expire();
        self.note(|held| held.retain(|held| held.token != token));
        self.table.unlock(path, token)
    }

    fn refresh(&'_ self, path: &DavPath, token: &str, timeout: Option<Duration>) -> LsFuture<'_, Result<DavLock, ()>> {
        self.expire();
        let timeout = bounded(timeout);
        self.note(|held| {
            for held in held.iter_mut().filter(|held| held.token == token) {
                held.until = SystemTime::now() + timeout;
            }
        });
        self.table.refresh(path, token, Some(timeout))
    }

    fn check(
        &'_ self,
        path: &DavPath,
        principal: Option<&str>,
        ignore_principal: bool,
        deep: bool,
        submitted_tokens: &[String],
    ) -> LsFuture<'_, Result<(), DavLock>> {
        self.expire();
        self.table.check(path, principal, ignore_principal, deep, submitted_tokens)
    }

    fn discover(&'_ self, path: &DavPath) -> LsFuture<'_, Vec<DavLock>> {
        self.expire();
        self.table.discover(path)
    }

    fn delete(&'_ self, path: &DavPath) -> LsFuture<'_, Result<(), ()>> {
        let top = path.as_bytes().strip_suffix(b"/").unwrap_or(path.as_bytes()).to_vec();
        let inside = |path: &DavPath| {
            path.as_bytes().strip_prefix(&top[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        self.note(|held| held.retain(|held| !inside(&held.path)));
        self.table.delete(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn locks_end_by_themselves_and_are_bounded() {
        let locks = UserLocks::new();
        let path = |n: usize| DavPath::new(&format!("/{n}")).unwrap();
        for n in 0..LOCKS_PER_USER_MAX {
            assert!(locks.lock(&path(n), Some("a"), None, None, false, true).await.is_ok());
        }
        assert!(locks.lock(&path(9999), Some("a"), None, None, false, true).await.is_err(), "one too many");
        assert!(locks.check(&path(0), Some("b"), false, false, &[]).await.is_err());
        locks.note(|held| held[0].until = SystemTime::UNIX_EPOCH);
        assert!(locks.check(&path(0), Some("b"), false, false, &[]).await.is_ok(), "its time is over");
        locks.delete(&path(1)).await.unwrap();
        assert_eq!(locks.note(|held| held.len()), LOCKS_PER_USER_MAX - 2);
        assert!(locks.lock(&path(1), Some("b"), None, Some(Duration::from_secs(9_999_999)), false, true).await.is_ok());
        let latest = locks.note(|held| held.last().unwrap().until);
        assert!(latest <= SystemTime::now() + LOCK_LIFE_MAX);
    }
}
