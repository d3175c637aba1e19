//! Good robots that are who they say: forward-confirmed reverse DNS.
//!
//! A crawler that the operator declares is believed when the name of its address ends in one of the declared domains, and
//! that name leads back to the address. Looking that up is none of the hot path's: it reads a verdict from a table of
//! fixed size, or asks for one and goes on.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use guichet_core::Moment;
use guichet_core::bounds::{CRAWLER_CELLS, CRAWLER_LOOKUPS_WAITING_MAX};
use tokio::sync::mpsc;

/// A crawler that the operator declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crawler {
    /// Family of its user agent, such as `Googlebot`.
    pub agent: String,
    /// Domains that its addresses' names end in, such as `googlebot.com`; lower case.
    pub domains: Vec<String>,
}

/// What is known of an address that claims to be a crawler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It makes no such claim, or a false one.
    None,
    /// It is being looked up.
    Unknown,
    /// It is who it says.
    Verified,
}

/// Asks the DNS. Behind a trait, so that tests answer as they like.
pub trait Resolver: Send + Sync {
    /// Names of an address, without a final dot; empty where there are none or nobody answers.
    fn names(&self, address: IpAddr) -> BoxFuture<'_, Vec<String>>;
    /// Addresses of a name.
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<IpAddr>>;
}

/// How long a verdict holds: a good one, and a bad one.
const VERIFIED_S: u64 = 6 * 3600;
const FALSE_S: u64 = 600;
/// How long an address counts as being looked up, at most.
const ASKED_S: u64 = 10;
/// Names of one address that are looked at.
const NAMES: usize = 4;
/// How long one lookup may take.
const PATIENCE: Duration = Duration::from_secs(5);

const ASKED: u64 = 0;
const FALSE: u64 = 1;
const VERIFIED: u64 = 2;

/// The verdicts, and the way to new ones.
#[derive(Debug)]
pub struct Crawlers {
    declared: ArcSwap<Vec<Crawler>>,
    /// Hash of address and crawler (upper 32 bits), second of its end (30 bits), verdict (2 bits).
    cells: Box<[AtomicU64]>,
    asks: mpsc::Sender<(IpAddr, Crawler)>,
    hash: u64,
}

impl Crawlers {
    /// None declared; what comes out is for [`look_up`]. `hash` is a secret of the node.
    #[must_use]
    pub fn new(hash: u64) -> (Self, mpsc::Receiver<(IpAddr, Crawler)>) {
        let (asks, asked) = mpsc::channel(CRAWLER_LOOKUPS_WAITING_MAX);
        let cells = (0..CRAWLER_CELLS).map(|_| AtomicU64::new(0)).collect();
        (Self { declared: ArcSwap::default(), cells, asks, hash }, asked)
    }

    /// Puts those of a configuration in place.
    pub fn declare(&self, crawlers: &[Crawler]) {
        self.declared.store(Arc::new(crawlers.to_vec()));
    }

    /// What is known of somebody with this user agent's family; asks where nothing is.
    #[must_use]
    pub fn claim(&self, agent: &str, address: IpAddr, now: Moment) -> Claim {
        let declared = self.declared.load();
        let Some(crawler) = declared.iter().find(|crawler| crawler.agent == agent) else { return Claim::None };
        let (cell, tag) = self.place(agent, address);
        let held = cell.load(Relaxed);
        let now_s = now.0 / 1_000_000;
        if held >> 32 == tag && held >> 2 & 0x3fff_ffff > now_s {
            return match held & 3 {
                VERIFIED => Claim::Verified,
                FALSE => Claim::None,
                _ => Claim::Unknown,
            };
        }
        // Where too many wait already, it is asked again with a later request.
        if self.asks.try_send((address, crawler.clone())).is_ok() {
            cell.store(value(tag, now_s + ASKED_S, ASKED), Relaxed);
        }
        Claim::Unknown
    }

    fn place(&self, agent: &str, address: IpAddr) -> (&AtomicU64, u64) {
        let hash = guichet_core::signs::FeatureHash::new(self.hash);
        let mut hasher = hash.begin(guichet_core::signs::Dimension::Agent);
        hasher.add(agent.as_bytes());
        match address {
            IpAddr::V4(v4) => hasher.add(&v4.octets()),
            IpAddr::V6(v6) => hasher.add(&v6.octets()),
        }
        let tag = u64::from(hasher.value());
        (&self.cells[tag as usize % self.cells.len()], tag)
    }

    fn settle(&self, agent: &str, address: IpAddr, verified: bool, now: Moment) {
        let (cell, tag) = self.place(agent, address);
        let (for_s, verdict) = if verified { (VERIFIED_S, VERIFIED) } else { (FALSE_S, FALSE) };
        cell.store(value(tag, now.0 / 1_000_000 + for_s, verdict), Relaxed);
    }
}

const fn value(tag: u64, ends_s: u64, verdict: u64) -> u64 {
    tag << 32 | (ends_s & 0x3fff_ffff) << 2 | verdict
}

/// Looks up those who were asked about, one after the other, until nobody can ask any more.
pub async fn look_up(crawlers: &Crawlers, mut asked: mpsc::Receiver<(IpAddr, Crawler)>, resolver: &dyn Resolver) {
    while let Some((address, crawler)) = asked.recv().await {
        let verified = tokio::time::timeout(PATIENCE, confirmed(address, &crawler, resolver)).await;
        crawlers.settle(&crawler.agent, address, verified.unwrap_or(false), crate::clock::now());
    }
}

/// Whether a name of the address lies in a declared domain and leads back to it.
async fn confirmed(address: IpAddr, crawler: &Crawler, resolver: &dyn Resolver) -> bool {
    for name in resolver.names(address).await.iter().take(NAMES) {
        let name = name.to_ascii_lowercase();
        let within = |domain: &String| name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
        if crawler.domains.iter().any(within) && resolver.addresses(&name).await.contains(&address) {
            return true;
        }
    }
    false
}

/// The system's resolver, or one server.
pub struct Dns(hickory_resolver::TokioResolver);

impl Dns {
    /// By what the system is configured with.
    ///
    /// # Errors
    /// The system has no readable configuration.
    pub fn of_system() -> std::io::Result<Self> {
        let builder = hickory_resolver::TokioResolver::builder_tokio().map_err(std::io::Error::other)?;
        Ok(Self(builder.build()))
    }

    /// By one server, over UDP.
    #[must_use]
    pub fn at(server: std::net::SocketAddr) -> Self {
        use hickory_resolver::config::{NameServerConfig, ResolverConfig};
        let mut config = ResolverConfig::new();
        config.add_name_server(NameServerConfig::new(server, hickory_resolver::proto::xfer::Protocol::Udp));
        let provider = hickory_resolver::name_server::TokioConnectionProvider::default();
        Self(hickory_resolver::TokioResolver::builder_with_config(config, provider).build())
    }
}

impl Resolver for Dns {
    fn names(&self, address: IpAddr) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let Ok(found) = self.0.reverse_lookup(address).await else { return Vec::new() };
            found.iter().map(|name| name.to_string().trim_end_matches('.').to_owned()).collect()
        })
    }

    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<IpAddr>> {
        Box::pin(async move {
            // With a final dot: no search list of the system's is tried.
            self.0.lookup_ip(format!("{name}.")).await.map(|found| found.iter().collect()).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::UdpSocket;

    use super::*;

    #[derive(Default)]
    struct Fake {
        names: HashMap<IpAddr, Vec<String>>,
        addresses: HashMap<String, Vec<IpAddr>>,
    }

    impl Resolver for Fake {
        fn names(&self, address: IpAddr) -> BoxFuture<'_, Vec<String>> {
            Box::pin(async move { self.names.get(&address).cloned().unwrap_or_default() })
        }

        fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<IpAddr>> {
            Box::pin(async move { self.addresses.get(name).cloned().unwrap_or_default() })
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn googlebot() -> Crawler {
        Crawler { agent: "Googlebot".into(), domains: vec!["googlebot.com".into(), "google.com".into()] }
    }

    async fn settled(resolver: &dyn Resolver, address: &str) -> Claim {
        let (crawlers, asked) = Crawlers::new(7);
        crawlers.declare(&[googlebot()]);
        let at = crate::clock::now();
        assert_eq!(crawlers.claim("Firefox", ip(address), at), Claim::None, "it claims nothing");
        assert_eq!(crawlers.claim("Googlebot", ip(address), at), Claim::Unknown, "nobody waits for the DNS");
        let looking = async {
            while crawlers.claim("Googlebot", ip(address), at) == Claim::Unknown {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            crawlers.claim("Googlebot", ip(address), at)
        };
        tokio::select! {
            () = look_up(&crawlers, asked, resolver) => unreachable!("somebody can still ask"),
            claim = looking => claim,
        }
    }

    #[tokio::test]
    async fn only_a_name_that_leads_back_is_believed() {
        let mut dns = Fake::default();
        let mut add = |address: &str, name: &str, leads_to: &str| {
            dns.names.entry(ip(address)).or_default().push(name.into());
            dns.addresses.insert(name.to_ascii_lowercase(), vec![ip(leads_to)]);
        };
        add("192.0.2.1", "crawl-1.Googlebot.com", "192.0.2.1");
        add("192.0.2.2", "crawl-2.googlebot.com", "192.0.2.99");
        add("192.0.2.3", "crawl.evilgooglebot.com", "192.0.2.3");
        add("192.0.2.4", "googlebot.com.evil.example", "192.0.2.4");
        add("192.0.2.5", "mail.example", "192.0.2.5");
        add("192.0.2.5", "crawl-5.google.com", "192.0.2.5");
        add("2001:db8::1", "crawl-6.googlebot.com", "2001:db8::1");
        for (address, wanted) in [
            ("192.0.2.1", Claim::Verified),
            ("192.0.2.2", Claim::None),
            ("192.0.2.3", Claim::None),
            ("192.0.2.4", Claim::None),
            ("192.0.2.5", Claim::Verified),
            ("2001:db8::1", Claim::Verified),
            ("192.0.2.6", Claim::None),
        ] {
            assert_eq!(settled(&dns, address).await, wanted, "{address}");
        }
    }

    #[test]
    fn many_who_claim_take_no_memory_and_do_not_wait() {
        let (crawlers, mut asked) = Crawlers::new(7);
        crawlers.declare(&[googlebot()]);
        for n in 0..200_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into();
            assert_eq!(crawlers.claim("Googlebot", address, Moment(1_000_000)), Claim::Unknown);
        }
        let waiting = std::iter::from_fn(|| asked.try_recv().ok()).count();
        assert_eq!(waiting, CRAWLER_LOOKUPS_WAITING_MAX);
        assert_eq!(crawlers.cells.len(), CRAWLER_CELLS);
    }

    /// A DNS server for one address and its name.
    fn serve(socket: UdpSocket) {
        use hickory_resolver::proto::op::{Message, MessageType};
        use hickory_resolver::proto::rr::rdata::{A, PTR};
        use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
        use hickory_resolver::proto::serialize::binary::BinDecodable as _;
        let name = || Name::from_ascii("crawl-1.googlebot.com.").unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let Ok(mut message) = Message::from_bytes(&bytes[..length]) else { continue };
                let Some(query) = message.queries().first().cloned() else { continue };
                message.set_message_type(MessageType::Response);
                let data = match query.query_type() {
                    RecordType::PTR if query.name().to_string() == "1.2.0.192.in-addr.arpa." => {
                        Some(RData::PTR(PTR(name())))
                    }
                    RecordType::A if *query.name() == name() => Some(RData::A(A::new(192, 0, 2, 1))),
                    _ => None,
                };
                if let Some(data) = data {
                    message.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                }
                let _ = socket.send_to(&message.to_vec().unwrap(), from);
            }
        });
    }

    #[tokio::test]
    async fn a_real_server_is_asked() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = socket.local_addr().unwrap();
        serve(socket);
        let dns = Dns::at(server);
        assert_eq!(settled(&dns, "192.0.2.1").await, Claim::Verified);
        assert_eq!(settled(&dns, "192.0.2.2").await, Claim::None);
    }
}
