//! The filter by nftables, through its own program: one table with two sets whose elements end by themselves, and a chain
//! before connection tracking that drops what comes from them to our ports.

use std::fmt::Write as _;
use std::time::Duration;

use guichet_core::bounds::{HANDED_OVER_MAX, KERNEL_ANSWER_BYTES_MAX};
use ipnet::IpNet;
use serde_json::Value;

use super::{Entry, Filter};
use crate::program;

/// How long the program may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Elements of one statement: keeps what is written to the program small.
const ELEMENTS: usize = 512;

/// The kernel's filter by nftables.
#[derive(Debug)]
pub struct Nftables {
    command: Vec<String>,
    table: String,
    ports: Vec<u16>,
}

impl Nftables {
    /// By this command, in a table of this name, for packets to these TCP ports.
    #[must_use]
    pub fn new(command: Vec<String>, table: String, mut ports: Vec<u16>) -> Self {
        ports.sort_unstable();
        ports.dedup();
        Self { command, table, ports }
    }

    async fn run(&self, arguments: &[&str], script: Option<String>) -> Result<Vec<u8>, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let ran = program::run(&self.command, &arguments, script, WITHIN, KERNEL_ANSWER_BYTES_MAX);
        ran.await.map_err(|failed| failed.why)
    }

    /// All of it, or nothing.
    async fn carry_out(&self, script: String) -> Result<(), String> {
        self.run(&["-f", "-"], Some(script)).await.map(drop)
    }

    /// The whole table, empty of sources. Adding it before it is deleted makes the deletion succeed in any case.
    fn opening(&self) -> String {
        let (table, ports) = (&self.table, self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "));
        format!(
            "add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n\
             set v4 {{ type ipv4_addr; flags timeout; size {HANDED_OVER_MAX}; }}\n\
             set v6 {{ type ipv6_addr; flags interval, timeout; size {HANDED_OVER_MAX}; }}\n\
             chain dropped {{ type filter hook prerouting priority raw; policy accept;\n\
             tcp dport {{ {ports} }} ip saddr @v4 counter drop\n\
             tcp dport {{ {ports} }} ip6 saddr @v6 counter drop\n}}\n}}\n"
        )
    }

    fn statements(&self, lifted: &[IpNet], added: &[Entry]) -> String {
        let mut script = String::new();
        let mut all = |verb: &str, elements: Vec<(bool, String)>| {
            for v4 in [true, false] {
                let of_kind: Vec<_> = elements.iter().filter(|(is_v4, _)| *is_v4 == v4).map(|(_, text)| text).collect();
                for some in of_kind.chunks(ELEMENTS) {
                    let list = some.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(", ");
                    let set = if v4 { "v4" } else { "v6" };
                    let _ = writeln!(script, "{verb} element inet {} {set} {{ {list} }}", self.table);
                }
            }
        };
        let v4 = |network: &IpNet| network.addr().is_ipv4();
        let plain: Vec<_> = lifted.iter().map(|network| (v4(network), text(network))).collect();
        // One that ended just now would make the whole script fail: added, it can be deleted in any case.
        all("add", plain.iter().map(|(v4, text)| (*v4, format!("{text} timeout 1s"))).collect());
        all("delete", plain);
        // At least a second: 0 would mean for ever.
        let timed =
            |(network, left): &Entry| (v4(network), format!("{} timeout {}s", text(network), left.as_secs().max(1)));
        all("add", added.iter().map(timed).collect());
        script
    }
}

fn text(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

impl Filter for Nftables {
    async fn open(&mut self) -> Result<(), String> {
        self.carry_out(self.opening()).await
    }

    async fn change(&mut self, lifted: &[IpNet], added: &[Entry]) -> Result<(), String> {
        if lifted.is_empty() && added.is_empty() {
            return Ok(());
        }
        self.carry_out(self.statements(lifted, added)).await
    }

    async fn list(&mut self) -> Result<Vec<IpNet>, String> {
        let mut all = Vec::new();
        for set in ["v4", "v6"] {
            let out = self.run(&["-j", "list", "set", "inet", &self.table, set], None).await?;
            let told: Value = serde_json::from_slice(&out).map_err(|error| format!("nft's answer: {error}"))?;
            let sets = told["nftables"].as_array().into_iter().flatten();
            let elements = sets.filter_map(|part| part["set"]["elem"].as_array()).flatten();
            all.extend(elements.filter_map(element));
        }
        Ok(all)
    }

    async fn close(&mut self) -> Result<(), String> {
        let table = &self.table;
        self.carry_out(format!("add table inet {table}\ndelete table inet {table}\n")).await
    }
}

/// An element as `nft -j` writes it: a value, a prefix, or one of them beside its time.
fn element(told: &Value) -> Option<IpNet> {
    let value = told.get("elem").map_or(told, |elem| &elem["val"]);
    if let Some(prefix) = value.get("prefix") {
        let bits = u8::try_from(prefix["len"].as_u64()?).ok()?;
        return IpNet::new(prefix["addr"].as_str()?.parse().ok()?, bits).ok();
    }
    Some(IpNet::from(value.as_str()?.parse::<std::net::IpAddr>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Nftables {
        Nftables::new(vec!["nft".into()], "guichet".into(), vec![443, 80, 443])
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn scripts_name_each_source_with_its_end() {
        assert!(filter().opening().contains("tcp dport { 80, 443 } ip saddr @v4 counter drop"));
        let added = [(net("192.0.2.1/32"), Duration::from_secs(60)), (net("2001:db8::/64"), Duration::ZERO)];
        assert_eq!(
            filter().statements(&[net("192.0.2.9/32")], &added),
            "add element inet guichet v4 { 192.0.2.9 timeout 1s }\n\
             delete element inet guichet v4 { 192.0.2.9 }\n\
             add element inet guichet v4 { 192.0.2.1 timeout 60s }\n\
             add element inet guichet v6 { 2001:db8::/64 timeout 1s }\n"
        );
        let many: Vec<Entry> =
            (0..1000_u32).map(|n| (IpNet::from(std::net::IpAddr::from(n.to_be_bytes())), WITHIN)).collect();
        assert_eq!(filter().statements(&[], &many).lines().count(), 2, "no statement is long");
    }

    #[test]
    fn elements_are_read_as_nft_writes_them() {
        for (told, expected) in [
            (r#""10.0.0.1""#, Some("10.0.0.1/32")),
            (r#"{"elem":{"val":"10.0.0.1","timeout":60,"expires":59}}"#, Some("10.0.0.1/32")),
            (r#"{"elem":{"val":{"prefix":{"addr":"2001:db8::","len":64}},"timeout":60}}"#, Some("2001:db8::/64")),
            (r#"{"prefix":{"addr":"2001:db8::","len":64}}"#, Some("2001:db8::/64")),
            (r#"{"prefix":{"addr":"2001:db8::","len":640}}"#, None),
            (r#"{"elem":{}}"#, None),
            ("7", None),
        ] {
            assert_eq!(element(&serde_json::from_str(told).unwrap()), expected.map(net), "{told}");
        }
    }
}
