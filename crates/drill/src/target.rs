//! The guard of every drill: traffic goes to loopback, from loopback, and nowhere else.
//!
//! Nothing in this crate opens a socket towards an address that is not a [`LoopbackAddr`], and the only way to make one
//! is the checked constructor here (design, rule 9).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Why an address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a loopback address: drills send traffic to 127.0.0.0/8 and ::1 only")]
pub struct NotLoopback(pub IpAddr);

/// A socket address that is certainly on this machine: 127.0.0.0/8 or ::1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoopbackAddr(SocketAddr);

impl LoopbackAddr {
    /// Checks an address.
    ///
    /// # Errors
    /// [`NotLoopback`] for anything but 127.0.0.0/8 and ::1; a v4 address mapped into v6 is refused as well, because
    /// different layers disagree on what it means.
    pub fn new(addr: SocketAddr) -> Result<Self, NotLoopback> {
        if is_loopback(addr.ip()) { Ok(Self(addr)) } else { Err(NotLoopback(addr.ip())) }
    }

    /// The address, to connect to.
    #[must_use]
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

/// An address that clients of a drill come from: 127.0.0.0/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceAddr(Ipv4Addr);

impl SourceAddr {
    /// Checks an address.
    ///
    /// # Errors
    /// [`NotLoopback`] for anything outside 127.0.0.0/8.
    pub fn new(ip: Ipv4Addr) -> Result<Self, NotLoopback> {
        if ip.is_loopback() { Ok(Self(ip)) } else { Err(NotLoopback(IpAddr::V4(ip))) }
    }

    /// The address, to bind to.
    #[must_use]
    pub const fn get(self) -> Ipv4Addr {
        self.0
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_a_target() {
        for (text, allowed) in [
            ("127.0.0.1:80", true),
            ("127.255.255.254:80", true),
            ("127.9.8.7:1", true),
            ("[::1]:443", true),
            ("10.0.0.1:80", false),
            ("192.168.1.1:80", false),
            ("172.16.0.1:80", false),
            ("169.254.1.1:80", false),
            ("128.0.0.1:80", false),
            ("126.255.255.255:80", false),
            ("198.51.100.7:80", false),
            ("0.0.0.0:80", false),
            ("255.255.255.255:80", false),
            ("[::]:80", false),
            ("[::2]:80", false),
            ("[::ffff:127.0.0.1]:80", false),
            ("[::ffff:198.51.100.7]:80", false),
            ("[2001:db8::1]:80", false),
            ("[fe80::1]:80", false),
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(LoopbackAddr::new(addr).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn only_loopback_is_a_source() {
        for (text, allowed) in [
            ("127.3.2.1", true),
            ("0.0.0.0", false),
            ("10.1.1.1", false),
            ("126.255.255.255", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(SourceAddr::new(text.parse().unwrap()).is_ok(), allowed, "{text}");
        }
    }
}
