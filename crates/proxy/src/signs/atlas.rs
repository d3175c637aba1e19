//! Where an address is: its autonomous system and country, from databases that the operator brings (MaxMind DB format).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::{PathElement, Reader, path};

/// One database, held in memory. Lookups neither block nor allocate more than a record.
#[derive(Clone)]
pub struct Database(Arc<Reader<Vec<u8>>>);

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.0.metadata().database_type).finish()
    }
}

impl PartialEq for Database {
    /// The same database of the same day.
    fn eq(&self, other: &Self) -> bool {
        let of = |d: &Self| {
            let of = d.0.metadata();
            (of.database_type.clone(), of.build_epoch, of.node_count)
        };
        of(self) == of(other)
    }
}

impl Database {
    /// Reads a database from the bytes of its file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: Vec<u8>) -> Result<Self, String> {
        Reader::from_source(bytes).map(|reader| Self(Arc::new(reader))).map_err(|error| error.to_string())
    }

    /// What the file says it is, such as `GeoLite2-ASN`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.metadata().database_type
    }

    fn value<'a, T: serde::Deserialize<'a>>(&'a self, address: IpAddr, path: &[PathElement<'_>]) -> Option<T> {
        self.0.lookup(address).ok()?.decode_path(path).ok()?
    }
}

/// The databases there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Atlas {
    /// Autonomous systems.
    pub asn: Option<Database>,
    /// Countries.
    pub country: Option<Database>,
}

impl Atlas {
    /// Number of the autonomous system; 0: not known.
    #[must_use]
    pub fn network(&self, address: IpAddr) -> u32 {
        let number = |asn: &Database| asn.value(address, &path!["autonomous_system_number"]);
        self.asn.as_ref().and_then(number).unwrap_or(0)
    }

    /// Value of the country, as [`country_value`]; 0: not known.
    #[must_use]
    pub fn country(&self, address: IpAddr) -> u32 {
        let code = |country: &Database| -> Option<u32> {
            let code: &str = country.value(address, &path!["country", "iso_code"])?;
            country_value(code)
        };
        self.country.as_ref().and_then(code).unwrap_or(0)
    }
}

/// The value of a country's two letters.
#[must_use]
pub(super) fn country_value(code: &str) -> Option<u32> {
    match code.as_bytes() {
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            Some(u32::from(a.to_ascii_uppercase()) << 8 | u32::from(b.to_ascii_uppercase()))
        }
        _ => None,
    }
}

/// The letters of a value.
#[must_use]
pub(super) fn country_code(value: u32) -> Option<String> {
    let letters = [(value >> 8) as u8, value as u8];
    (value >> 16 == 0 && letters.iter().all(u8::is_ascii_uppercase))
        .then(|| letters.iter().map(|l| *l as char).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_there_and_back() {
        for code in ["FR", "DE", "AA", "ZZ"] {
            assert_eq!(country_value(code).and_then(country_code).as_deref(), Some(code));
        }
        assert_eq!(country_value("fr"), country_value("FR"));
        for wrong in ["", "F", "FRA", "F1", "É"] {
            assert_eq!(country_value(wrong), None, "{wrong}");
        }
        assert_eq!(country_code(0), None);
        assert_eq!(country_code(u32::MAX), None);
    }

    #[test]
    fn rubbish_is_no_database() {
        for bytes in [vec![], vec![0; 100], b"\xab\xcd\xefMaxMind.com".to_vec()] {
            assert!(Database::read(bytes).is_err());
        }
        let nowhere = Atlas::default();
        assert_eq!(nowhere.network("192.0.2.1".parse().unwrap()), 0);
        assert_eq!(nowhere.country("2001:db8::1".parse().unwrap()), 0);
    }
}
