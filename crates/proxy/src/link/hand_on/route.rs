//! What can be asked of a target: a route, whether it may be asked for, and in whose words.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What traffic is meant, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Route {
    /// Own destination.
    pub(crate) to: IpNet,
    /// Source; `None`: any.
    pub(crate) from: Option<IpNet>,
    /// Protocol; `None`: any.
    pub(crate) protocol: Option<Protocol>,
    /// Destination port; `None`: any.
    pub(crate) port: Option<u16>,
    /// What becomes of it.
    pub(crate) then: Then,
}

/// What becomes of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Then {
    /// Sent nowhere, by the destination alone (RFC 7999).
    Blackhole {
        /// The provider's address for it.
        next_hop: IpAddr,
    },
    /// Dropped where it matches (RFC 8955).
    Discard,
    /// Cut to a rate where it matches.
    Limit {
        /// Bytes a second that are left.
        bytes_per_s: u64,
    },
}

/// A protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }

    /// By name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Icmp].into_iter().find(|protocol| protocol.name() == name)
    }
}

/// Whether one network lies in the other, either way.
fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

impl Route {
    /// Whether it may be announced: `own` are the declared prefixes, `spared` the networks that nothing may touch.
    ///
    /// # Errors
    /// Why it may not, and what would be allowed.
    pub(crate) fn check(&self, own: &[IpNet], spared: &[IpNet]) -> Result<(), String> {
        let to = self.to;
        if !own.iter().any(|mine| mine.contains(&to)) {
            return Err(format!("{to} is not in [link] own: only own addresses can be named as a destination"));
        }
        if let Some(from) = self.from {
            let least = if from.addr().is_ipv4() { 8 } else { 16 };
            if from.prefix_len() < least {
                return Err(format!("the source {from} is too much of the world: at most a /{least}"));
            }
            if from.addr().is_ipv4() != to.addr().is_ipv4() {
                return Err(format!("{from} and {to} are not of one kind: both IPv4, or both IPv6"));
            }
            if let Some(other) = spared.iter().find(|network| overlap(network, &from)) {
                return Err(format!("the source {from} meets {other}, which is allowed whatever it does"));
            }
            if let Some(mine) = own.iter().find(|network| overlap(network, &from)) {
                return Err(format!("the source {from} meets {mine}, which is our own"));
            }
        }
        if self.port.is_some() && !matches!(self.protocol, Some(Protocol::Tcp | Protocol::Udp)) {
            return Err("a port needs tcp or udp".to_owned());
        }
        let narrowed = self.from.is_some() || self.protocol.is_some();
        match self.then {
            Then::Blackhole { .. } if narrowed || self.port.is_some() => {
                Err("a blackhole knows only the destination: leave source, protocol and port out".to_owned())
            }
            Then::Blackhole { next_hop } if next_hop.is_ipv4() != to.addr().is_ipv4() => {
                Err(format!("the next hop {next_hop} and {to} are not of one kind: both IPv4, or both IPv6"))
            }
            Then::Discard | Then::Limit { .. } if !narrowed => {
                Err("name a source or a protocol too: otherwise nothing at all arrives, which a blackhole says more \
                     plainly"
                    .to_owned())
            }
            Then::Blackhole { .. } | Then::Discard | Then::Limit { .. } => Ok(()),
        }
    }

    /// Arguments for the command of GoBGP.
    pub(crate) fn gobgp(&self, announce: bool) -> Vec<String> {
        let verb = if announce { "add" } else { "del" };
        let v4 = self.to.addr().is_ipv4();
        let mut words = vec!["global".to_owned(), "rib".into(), verb.into(), "-a".into()];
        if let Then::Blackhole { next_hop } = self.then {
            words.extend([if v4 { "ipv4" } else { "ipv6" }.to_owned(), self.to.to_string()]);
            if announce {
                words.extend(["nexthop".to_owned(), next_hop.to_string(), "community".into(), "65535:666".into()]);
            }
            return words;
        }
        let family = if v4 { "ipv4-flowspec" } else { "ipv6-flowspec" };
        words.extend([family.to_owned(), "match".into(), "destination".into(), self.to.to_string()]);
        if let Some(from) = self.from {
            words.extend(["source".to_owned(), from.to_string()]);
        }
        if let Some(protocol) = self.protocol {
            words.extend(["protocol".to_owned(), self.protocol_name(protocol).to_owned()]);
        }
        if let Some(port) = self.port {
            words.extend(["destination-port".to_owned(), format!("=={port}")]);
        }
        words.push("then".to_owned());
        match self.then {
            Then::Limit { bytes_per_s } => words.extend(["rate-limit".to_owned(), bytes_per_s.to_string()]),
            Then::Blackhole { .. } | Then::Discard => words.push("discard".to_owned()),
        }
        words
    }

    /// A line for ExaBGP.
    pub(crate) fn exabgp(&self, announce: bool) -> String {
        let verb = if announce { "announce" } else { "withdraw" };
        let to = self.to;
        let then = match self.then {
            Then::Blackhole { next_hop } => {
                return format!("{verb} route {to} next-hop {next_hop} community [65535:666]");
            }
            Then::Discard => "discard".to_owned(),
            Then::Limit { bytes_per_s } => format!("rate-limit {bytes_per_s}"),
        };
        let mut matched = format!("destination {to};");
        if let Some(from) = self.from {
            matched += &format!(" source {from};");
        }
        if let Some(protocol) = self.protocol {
            let word = if to.addr().is_ipv4() { "protocol" } else { "next-header" };
            matched += &format!(" {word} ={};", self.protocol_name(protocol));
        }
        if let Some(port) = self.port {
            matched += &format!(" destination-port ={port};");
        }
        format!("{verb} flow route {{ match {{ {matched} }} then {{ {then}; }} }}")
    }

    /// What the daemons call a protocol. ICMPv6 by its number: ExaBGP knows no name for it, and GoBGP reads the six in `ipv6-icmp`
    /// and announces TCP.
    const fn protocol_name(&self, protocol: Protocol) -> &'static str {
        match (protocol, self.to) {
            (Protocol::Icmp, IpNet::V6(_)) => "58",
            _ => protocol.name(),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.then {
            Then::Blackhole { next_hop } => return write!(f, "blackhole {} by {next_hop}", self.to),
            Then::Discard => f.write_str("discard")?,
            Then::Limit { bytes_per_s } => write!(f, "leave {} kbit/s of", bytes_per_s * 8 / 1000)?,
        }
        write!(f, " {}", self.protocol.map_or("everything", Protocol::name))?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        write!(f, " to {}", self.to)?;
        self.port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}
