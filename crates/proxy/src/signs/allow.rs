//! Networks that the operator allows: no mitigation ever touches them.

use std::net::IpAddr;

use arc_swap::ArcSwap;
use guichet_core::Moment;
use guichet_core::bounds::ALLOWED_NETWORKS_MAX;
use ipnet::IpNet;

/// One network that is allowed for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedNetwork {
    /// The network.
    pub network: IpNet,
    /// Until then.
    pub until: Moment,
    /// Why, in the operator's words.
    pub because: String,
}

/// Those of the configuration and those of commands. Read by requests without a lock.
#[derive(Debug, Default)]
pub struct Allowed {
    configured: ArcSwap<Vec<IpNet>>,
    commanded: ArcSwap<Vec<AllowedNetwork>>,
}

impl Allowed {
    /// Puts those of the configuration in place.
    pub fn configure(&self, networks: &[IpNet]) {
        self.configured.store(std::sync::Arc::new(networks.to_vec()));
    }

    /// Whether an address is allowed.
    #[must_use]
    pub fn allows(&self, address: IpAddr, now: Moment) -> bool {
        self.configured.load().iter().any(|network| network.contains(&address))
            || self.commanded.load().iter().any(|allowed| allowed.until > now && allowed.network.contains(&address))
    }

    /// Allows a network; one that is there already gets the new end and reason.
    ///
    /// # Errors
    /// There are [`ALLOWED_NETWORKS_MAX`] already.
    pub fn add(&self, allowed: AllowedNetwork, now: Moment) -> Result<(), String> {
        let mut all = self.in_force(now);
        all.retain(|other| other.network != allowed.network);
        if all.len() >= ALLOWED_NETWORKS_MAX {
            return Err(format!("{ALLOWED_NETWORKS_MAX} networks are allowed already; take one out first"));
        }
        all.push(allowed);
        self.commanded.store(std::sync::Arc::new(all));
        Ok(())
    }

    /// Takes one out; whether it was there.
    pub fn remove(&self, network: IpNet, now: Moment) -> bool {
        let before = self.in_force(now);
        let after: Vec<_> = before.iter().filter(|allowed| allowed.network != network).cloned().collect();
        let removed = after.len() < before.len();
        self.commanded.store(std::sync::Arc::new(after));
        removed
    }

    /// Those of commands that are not over.
    #[must_use]
    pub fn in_force(&self, now: Moment) -> Vec<AllowedNetwork> {
        self.commanded.load().iter().filter(|allowed| allowed.until > now).cloned().collect()
    }

    /// Those of the configuration.
    #[must_use]
    pub fn configured(&self) -> Vec<IpNet> {
        self.configured.load().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_allowed_until_their_end_and_within_the_bound() {
        let allowed = Allowed::default();
        let network =
            |text: &str, until| AllowedNetwork { network: text.parse().unwrap(), until, because: String::new() };
        let is = |address: &str, now| allowed.allows(address.parse().unwrap(), Moment(now));
        allowed.configure(&["198.51.100.0/24".parse().unwrap()]);
        allowed.add(network("192.0.2.0/24", Moment(10)), Moment(0)).unwrap();
        assert!(is("192.0.2.9", 9) && !is("192.0.2.9", 10) && !is("192.0.3.9", 9));
        assert!(is("198.51.100.1", 1_000));
        assert!(allowed.remove("192.0.2.0/24".parse().unwrap(), Moment(1)));
        assert!(!allowed.remove("192.0.2.0/24".parse().unwrap(), Moment(1)) && !is("192.0.2.9", 2));
        for n in 0..ALLOWED_NETWORKS_MAX {
            allowed.add(network(&format!("10.{}.{}.0/24", n / 256, n % 256), Moment(100)), Moment(1)).unwrap();
        }
        let error = allowed.add(network("192.0.2.0/24", Moment(100)), Moment(1)).unwrap_err();
        assert!(error.contains("1024"), "{error}");
        allowed.add(network("10.0.0.0/24", Moment(200)), Moment(1)).unwrap();
        allowed.add(network("192.0.2.0/24", Moment(200)), Moment(150)).unwrap();
    }
}
