//! Partners: who comes with a certificate or a key.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use http::HeaderMap;

use crate::config::{Credential, Partner};
use crate::connection::TlsInfo;

/// Header in which a partner without certificate sends its key; only believed over TLS or from loopback.
pub const KEY_HEADER: &str = "x-guichet-key";

/// Looks partners up by what they show. Built once per configuration.
#[derive(Debug, Default)]
pub struct PartnerIndex {
    by_certificate: HashMap<[u8; 32], Arc<Partner>>,
    by_name: HashMap<String, Arc<Partner>>,
    by_key: HashMap<[u8; 32], Arc<Partner>>,
}

impl PartnerIndex {
    /// An index of these partners.
    #[must_use]
    pub fn new(partners: &[Arc<Partner>]) -> Self {
        let mut index = Self::default();
        for partner in partners {
            for credential in &partner.credentials {
                match credential {
                    Credential::CertificateSha256(hash) => {
                        index.by_certificate.insert(*hash, partner.clone());
                    }
                    Credential::CommonName(name) => {
                        index.by_name.insert(name.clone(), partner.clone());
                    }
                    Credential::KeySha256(hash) => {
                        index.by_key.insert(*hash, partner.clone());
                    }
                }
            }
        }
        index
    }

    /// The partner that this connection and these headers prove, if any. A key in the clear is worth nothing, so
    /// it counts only over TLS.
    #[must_use]
    pub fn find(&self, tls: Option<&TlsInfo>, headers: &HeaderMap) -> Option<&Arc<Partner>> {
        let tls = tls?;
        if let Some(hash) = &tls.client_certificate_sha256 {
            if let Some(partner) = self.by_certificate.get(hash) {
                return Some(partner);
            }
            if let Some(partner) = tls.client_common_name.as_ref().and_then(|name| self.by_name.get(name)) {
                return Some(partner);
            }
        }
        if self.by_key.is_empty() {
            return None;
        }
        // Looking up the digest instead of the key leaves nothing to learn from timing.
        let key = headers.get(KEY_HEADER)?;
        let hash: [u8; 32] = digest::digest(&digest::SHA256, key.as_bytes()).as_ref().try_into().ok()?;
        self.by_key.get(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner(name: &str, credential: Credential) -> Arc<Partner> {
        Arc::new(Partner { name: name.into(), credentials: vec![credential], services: vec![] })
    }

    #[test]
    fn each_credential_finds_its_partner_and_only_over_tls() {
        let key_hash: [u8; 32] = digest::digest(&digest::SHA256, b"s3cret").as_ref().try_into().unwrap();
        let index = PartnerIndex::new(&[
            partner("cert", Credential::CertificateSha256([1; 32])),
            partner("cn", Credential::CommonName("cash".into())),
            partner("key", Credential::KeySha256(key_hash)),
        ]);
        let tls = |hash: Option<[u8; 32]>, name: Option<&str>| TlsInfo {
            client_certificate_sha256: hash,
            client_common_name: name.map(Into::into),
            ..TlsInfo::default()
        };
        let mut with_key = HeaderMap::new();
        with_key.insert(KEY_HEADER, "s3cret".parse().unwrap());
        let mut wrong_key = HeaderMap::new();
        wrong_key.insert(KEY_HEADER, "S3cret".parse().unwrap());
        let none = HeaderMap::new();
        for (tls, headers, expected) in [
            (Some(tls(Some([1; 32]), None)), &none, Some("cert")),
            (Some(tls(Some([2; 32]), Some("cash"))), &none, Some("cn")),
            (Some(tls(None, Some("cash"))), &none, None),
            (Some(tls(Some([2; 32]), Some("other"))), &none, None),
            (Some(tls(None, None)), &with_key, Some("key")),
            (Some(tls(None, None)), &wrong_key, None),
            (None, &with_key, None),
        ] {
            let found = index.find(tls.as_ref(), headers).map(|p| p.name.as_str());
            assert_eq!(found, expected);
        }
    }
}
