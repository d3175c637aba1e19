//! The name of a server: looked up, and remembered for when the name server is gone.
//!
//! A service that is up must not be lost with its name server: the addresses that were known last hold until there are
//! others. One lookup at a time is under way for a name; who would have to wait long takes what is known.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use guichet_core::Reason;
use guichet_core::bounds::UPSTREAM_ADDRESSES_MAX;
use parking_lot::Mutex;

use super::connect::ConnectFailure;

/// How long a new connection waits for a lookup where addresses are known from before.
const PATIENCE: Duration = Duration::from_millis(500);

type Found = Result<Vec<SocketAddr>, String>;
type LookUp = fn(String) -> Pin<Box<dyn Future<Output = Found> + Send>>;

/// A server's address as configured, `host:port`, and what is known of it. Shared by all workers.
pub(super) struct ServerName {
    address: String,
    look_up: LookUp,
    last: ArcSwapOption<Vec<SocketAddr>>,
    looking: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl std::fmt::Debug for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerName").field("address", &self.address).field("last", &self.last).finish_non_exhaustive()
    }
}

impl ServerName {
    pub(super) fn new(address: &str) -> Arc<Self> {
        Self::by(address, |address| Box::pin(by_system(address)))
    }

    fn by(address: &str, look_up: LookUp) -> Arc<Self> {
        Arc::new(Self {
            address: address.to_owned(),
            look_up,
            last: ArcSwapOption::empty(),
            looking: AtomicBool::new(false),
            trouble: Mutex::default(),
        })
    }

    /// The addresses: looked up, or those known last where that fails or takes long. A numeric address needs no lookup.
    ///
    /// # Errors
    /// Nothing was ever found, and nothing is found now.
    pub(super) async fn addresses(self: &Arc<Self>) -> Result<Vec<SocketAddr>, ConnectFailure> {
        if let Ok(numeric) = self.address.parse::<SocketAddr>() {
            return Ok(vec![numeric]);
        }
        let last = self.last.load_full();
        if self.looking.swap(true, Ordering::AcqRel) {
            return match last {
                Some(last) => Ok(last.to_vec()),
                // The first ones all look: whoever waits for somebody else's lookup could wait in vain.
                None => (self.look_up)(self.address.clone()).await.map_err(|error| self.failure(&error)),
            };
        }
        // It goes on where nobody waits for it any more.
        let name = self.clone();
        let look = tokio::spawn(async move { name.look().await });
        let found = match &last {
            None => look.await,
            Some(last) => match tokio::time::timeout(PATIENCE, look).await {
                Ok(found) => found,
                Err(_) => return Ok(last.to_vec()),
            },
        };
        match (found, last) {
            (Ok(Ok(found)), _) => Ok(found),
            (_, Some(last)) => Ok(last.to_vec()),
            (Ok(Err(error)), None) => Err(self.failure(&error)),
            (Err(error), None) => Err(self.failure(&error.to_string())),
        }
    }

    /// Takes over what was known of the same name before a reload.
    pub(super) fn inherit(&self, before: &Self) {
        self.last.store(before.last.load_full());
    }

    /// What does not work, in words; nothing where nothing is known of it that could still be used.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    async fn look(&self) -> Found {
        let found = (self.look_up)(self.address.clone()).await;
        match &found {
            Ok(addresses) => {
                self.last.store(Some(Arc::new(addresses.clone())));
                if self.trouble.lock().take().is_some() {
                    eprintln!("guichet: the name of {} is looked up again", self.address);
                }
            }
            Err(error) => {
                let what = if self.last.load().is_some() { "; its last addresses are used" } else { "" };
                let told = format!("the name of {} cannot be looked up: {error}{what}", self.address);
                let mut trouble = self.trouble.lock();
                if trouble.as_ref() != Some(&told) {
                    eprintln!("guichet: warning: {told}");
                }
                *trouble = Some(told);
            }
        }
        self.looking.store(false, Ordering::Release);
        found
    }

    fn failure(&self, error: &str) -> ConnectFailure {
        ConnectFailure { reason: Reason::UpstreamConnect, detail: format!("name lookup of {}: {error}", self.address) }
    }
}

async fn by_system(address: String) -> Found {
    let found = tokio::net::lookup_host(&address).await.map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = found.take(UPSTREAM_ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU8;

    use super::*;

    /// What the name server of the test does: 0 answers, 1 says that there is no such name, 2 is silent.
    static DOES: AtomicU8 = AtomicU8::new(0);

    fn test_look_up(_address: String) -> Pin<Box<dyn Future<Output = Found> + Send>> {
        Box::pin(async {
            match DOES.load(Ordering::SeqCst) {
                0 => Ok(vec!["127.0.0.1:80".parse().unwrap()]),
                1 => Err("no such name".to_owned()),
                _ => std::future::pending().await,
            }
        })
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_was_known_last_holds_while_the_name_server_is_gone() {
        let name = ServerName::by("service.example:80", test_look_up);
        DOES.store(1, Ordering::SeqCst);
        let failure = name.addresses().await.unwrap_err();
        assert!(failure.detail.contains("service.example:80: no such name"), "{failure:?}");
        assert!(name.trouble().is_some_and(|told| !told.contains("last addresses")));
        DOES.store(0, Ordering::SeqCst);
        let known = name.addresses().await.unwrap();
        assert_eq!((known.len(), name.trouble()), (1, None));
        DOES.store(1, Ordering::SeqCst);
        assert_eq!(name.addresses().await.unwrap(), known);
        assert!(name.trouble().unwrap().contains("its last addresses are used"));
        DOES.store(2, Ordering::SeqCst);
        assert_eq!(name.addresses().await.unwrap(), known, "the first waits a moment");
        assert_eq!(name.addresses().await.unwrap(), known, "the others do not");
        let next = ServerName::by("service.example:80", test_look_up);
        next.inherit(&name);
        assert_eq!(next.addresses().await.unwrap(), known, "a reload forgets nothing");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_number_needs_no_name_server() {
        let name = ServerName::by("[::1]:8080", |_| Box::pin(async { Err("asked".to_owned()) }));
        assert_eq!(name.addresses().await.unwrap(), ["[::1]:8080".parse().unwrap()]);
    }
}
