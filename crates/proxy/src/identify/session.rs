//! Sessions issued here: a cookie counts only if this door saw the service set it.
//!
//! When a service sets its session cookie, the door adds a cookie of its own that signs the value and an end. A bot can
//! invent a session cookie, but not the signature; a stolen pair is worth one session, with one session's share.
//! Stateless on purpose: no table that a flood of sign-ins could fill, and a restart forgets nobody (given a seed).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Name of the cookie that carries the signature. Never forwarded to a service.
pub const PROOF_COOKIE: &str = "guichet-session";
/// Bytes of the signature kept: 128 bits, far beyond guessing online.
const MAC_BYTES: usize = 16;
/// Longest session cookie value that is signed or verified; longer ones are ignored.
const VALUE_BYTES_CAP: usize = 4096;

/// Signs and verifies. One per node; cheap to clone per worker.
#[derive(Clone)]
pub struct SessionSigner {
    key: hmac::Key,
}

impl SessionSigner {
    /// A signer of this node or, with the same seed, of all nodes.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), b"guichet session proof 1");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    /// The proof for `value` of the session cookie of `service`, good until `ends_s` (Unix seconds).
    #[must_use]
    pub fn prove(&self, service: &str, value: &str, ends_s: u64) -> Option<String> {
        if value.is_empty() || value.len() > VALUE_BYTES_CAP {
            return None;
        }
        let tag = self.tag(service, value, ends_s);
        Some(format!("{ends_s:x}.{}", URL_SAFE_NO_PAD.encode(&tag.as_ref()[..MAC_BYTES])))
    }

    /// Whether `proof` is this door's for `value` and not over at `now_s` (Unix seconds).
    #[must_use]
    pub fn verify(&self, service: &str, value: &str, proof: &str, now_s: u64) -> bool {
        if value.is_empty() || value.len() > VALUE_BYTES_CAP || proof.len() > 64 {
            return false;
        }
        let Some((ends, mac)) = proof.split_once('.') else { return false };
        let Ok(ends_s) = u64::from_str_radix(ends, 16) else { return false };
        if ends_s <= now_s {
            return false;
        }
        let mut given = [0u8; MAC_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(mac, &mut given) != Ok(MAC_BYTES) {
            return false;
        }
        let tag = self.tag(service, value, ends_s);
        aws_lc_rs::constant_time::verify_slices_are_equal(&tag.as_ref()[..MAC_BYTES], &given).is_ok()
    }

    fn tag(&self, service: &str, value: &str, ends_s: u64) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&ends_s.to_be_bytes());
        context.update(&(service.len() as u32).to_be_bytes());
        context.update(service.as_bytes());
        context.update(value.as_bytes());
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_service_value_and_time_only() {
        let signer = SessionSigner::new(&[7; 32]);
        let proof = signer.prove("bank", "abc", 2_000).unwrap();
        let check = |service: &str, value: &str, proof: &str, now_s: u64| signer.verify(service, value, proof, now_s);
        assert!(check("bank", "abc", &proof, 1_999));
        assert!(!check("bank", "abc", &proof, 2_000), "over at its end");
        assert!(!check("bank", "abd", &proof, 1_000), "another session");
        assert!(!check("vault", "abc", &proof, 1_000), "another service");
        assert!(!check("ban", "kabc", &proof, 1_000), "no sliding of the boundary");
        let later = proof.replacen("7d0", "fd0", 1);
        assert!(!check("bank", "abc", &later, 1_000), "the end is signed");
        for forged in ["", ".", "7d0.", "7d0.AAAA", "zz.AAAAAAAAAAAAAAAAAAAAAA", &"9".repeat(4000)] {
            assert!(!check("bank", "abc", forged, 1_000), "{forged}");
        }
        assert!(!SessionSigner::new(&[8; 32]).verify("bank", "abc", &proof, 1_000), "another node's seed");
        assert_eq!(signer.prove("bank", "", 2_000), None);
        assert_eq!(signer.prove("bank", &"x".repeat(5000), 2_000), None);
    }
}
