//! What operators ordered: which service stands how, which feature is off; each with its end.

use std::collections::BTreeMap;

use guichet_core::bounds::{BECAUSE_BYTES_MAX, CONTRACT_ORDERS_MAX};

use serde::{Deserialize, Serialize};

use super::state::{By, Ordered};

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order<T> {
    what: T,
    since_unix_s: u64,
    until_unix_s: u64,
    because: String,
}

impl<T> Order<T> {
    fn by(&self) -> By {
        By::Operator { because: self.because.clone(), until_unix_s: self.until_unix_s }
    }
}

/// The orders in force. They outlive a reload, and a restart where there is a file for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Orders {
    #[serde(with = "listed")]
    services: BTreeMap<String, Order<Ordered>>,
    /// By service and path of the route.
    #[serde(with = "listed")]
    routes: BTreeMap<(String, String), Order<()>>,
}

/// As a list of pairs: JSON has no other keys than texts.
mod listed {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

impl Orders {
    /// Takes an order for a service; it replaces the one before. False: there are too many.
    pub(super) fn set(&mut self, service: &str, what: Ordered, now_s: u64, until_s: u64, because: &str) -> bool {
        let order = Order { what, since_unix_s: now_s, until_unix_s: until_s, because: clean(because) };
        let room = self.has_room() || self.services.contains_key(service);
        room && {
            self.services.insert(service.to_owned(), order);
            true
        }
    }

    /// Takes the order for a service back; false if there was none.
    pub(super) fn end(&mut self, service: &str) -> bool {
        self.services.remove(service).is_some()
    }

    /// Switches a route off. False: there are too many.
    pub(super) fn switch_off(&mut self, service: &str, route: &str, now_s: u64, until_s: u64, because: &str) -> bool {
        let key = (service.to_owned(), route.to_owned());
        let room = self.has_room() || self.routes.contains_key(&key);
        room && {
            let order = Order { what: (), since_unix_s: now_s, until_unix_s: until_s, because: clean(because) };
            self.routes.insert(key, order);
            true
        }
    }

    /// Switches a route on again; false if it was not off by order.
    pub(super) fn switch_on(&mut self, service: &str, route: &str) -> bool {
        self.routes.remove(&(service.to_owned(), route.to_owned())).is_some()
    }

    /// Whether there are no more than there may be, in a file that anybody may have written.
    pub(super) fn is_within_bounds(&self) -> bool {
        self.services.len() + self.routes.len() <= CONTRACT_ORDERS_MAX
    }

    fn has_room(&self) -> bool {
        self.services.len() + self.routes.len() < CONTRACT_ORDERS_MAX
    }

    /// Ends those whose time is over.
    pub(super) fn expire(&mut self, now_s: u64) {
        self.services.retain(|_, order| order.until_unix_s > now_s);
        self.routes.retain(|_, order| order.until_unix_s > now_s);
    }

    /// The order for a service.
    pub(super) fn of(&self, service: &str) -> Option<(Ordered, By)> {
        self.services.get(service).map(|order| (order.what, order.by()))
    }

    /// Whether a route is off by order: by what, since when.
    pub(super) fn off(&self, service: &str, route: &str) -> Option<(By, u64)> {
        let order = self.routes.get(&(service.to_owned(), route.to_owned()))?;
        Some((order.by(), order.since_unix_s))
    }
}

fn clean(because: &str) -> String {
    let text: String = because.chars().filter(|ch| !ch.is_control()).collect();
    text[..text.floor_char_boundary(BECAUSE_BYTES_MAX)].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_end_by_themselves_and_are_bounded() {
        let mut orders = Orders::default();
        assert!(orders.set("portal", Ordered::ReadOnly, 100, 160, "works\n at the database"));
        assert!(orders.switch_off("portal", "/search", 100, 130, ""));
        orders.expire(130);
        assert_eq!(orders.off("portal", "/search"), None);
        let (what, by) = orders.of("portal").expect("until 160");
        assert_eq!(what, Ordered::ReadOnly);
        assert_eq!(by, By::Operator { because: "works at the database".into(), until_unix_s: 160 });
        orders.expire(160);
        assert_eq!(orders.of("portal"), None);
        for n in 0..CONTRACT_ORDERS_MAX {
            assert!(orders.switch_off("portal", &format!("/{n}"), 0, 10, ""));
        }
        assert!(!orders.set("portal", Ordered::Shut, 0, 10, ""), "no room");
        assert!(orders.switch_off("portal", "/0", 0, 20, ""), "one that is there may change");
        assert!(orders.switch_on("portal", "/0") && !orders.switch_on("portal", "/0"));
        assert!(orders.set("portal", Ordered::Shut, 0, 10, &"é".repeat(BECAUSE_BYTES_MAX)));
    }
}
