//! What a connection looks like before anything is asked for, and what is noted when one fails or stalls.

use std::net::IpAddr;

use guichet_core::signs::{Dimension, FeatureHash, Features};

use super::atlas::Atlas;
use super::looks::{prefix, prefix_value};
use crate::listen::client_hello::ClientHelloInfo;
use crate::listen::ja4::ja4;

/// A connection, as far as it shows itself before any cryptography is paid for.
#[derive(Debug, Clone)]
pub struct ConnectionLooks {
    /// The client's address.
    pub client: IpAddr,
    /// JA4 of its ClientHello.
    pub ja4: Option<String>,
    /// Source prefixes, autonomous system, country, and JA4.
    pub features: Features,
    /// It asks for what is critical, or for partners: no mitigation of connections touches it.
    pub spared: bool,
    /// The client connects here itself: its address is not one that somebody else told.
    pub direct: bool,
}

impl ConnectionLooks {
    /// Of a client with its ClientHello, where there is one.
    #[must_use]
    pub fn new(hash: FeatureHash, atlas: &Atlas, hello: Option<&ClientHelloInfo>, client: IpAddr) -> Self {
        let mut features = source_features(hash, atlas, client);
        let ja4 = hello.map(ja4);
        if let Some(ja4) = &ja4 {
            features.set(Dimension::Tls, hash.of(Dimension::Tls, ja4.as_bytes()));
        }
        Self { client, ja4, features, spared: false, direct: false }
    }

    /// The words for a value of it, where those are not always the same.
    #[must_use]
    pub fn words(&self, dimension: Dimension) -> Option<String> {
        match dimension {
            Dimension::Narrow | Dimension::Middle | Dimension::Wide => {
                prefix(self.client, dimension.index()).map(|network| network.to_string())
            }
            Dimension::Tls => self.ja4.clone(),
            _ => None,
        }
    }
}

/// What an address tells.
#[must_use]
pub(super) fn source_features(hash: FeatureHash, atlas: &Atlas, client: IpAddr) -> Features {
    let mut features = Features::NONE;
    for (level, dimension) in [Dimension::Narrow, Dimension::Middle, Dimension::Wide].into_iter().enumerate() {
        if let Some(prefix) = prefix(client, level) {
            features.set(dimension, prefix_value(hash, dimension, prefix));
        }
    }
    features.set(Dimension::Network, atlas.network(client));
    features.set(Dimension::Country, atlas.country(client));
    features
}
