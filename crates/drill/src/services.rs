//! The services of the estate that drills know: names, ports, criticality, cookies.

use guichet_core::Criticality;

/// One service of the estate.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// Its port is the estate's base port plus this.
    pub port_offset: u16,
    /// How much it matters.
    pub criticality: Criticality,
    /// Whether only partners with a client certificate may use it.
    pub partner_only: bool,
    /// Whether it has sessions (cookie `NAME_session`).
    pub has_sessions: bool,
}

const fn service(name: &'static str, port_offset: u16, criticality: Criticality, partner_only: bool) -> Service {
    Service { name, port_offset, criticality, partner_only, has_sessions: !partner_only && port_offset != 8 }
}

/// Every service, in the order of their ports.
pub const SERVICES: [Service; 9] = [
    service("portal", 1, Criticality::Ordinary, false),
    service("app", 2, Criticality::Ordinary, false),
    service("identity", 3, Criticality::Important, false),
    service("vault", 4, Criticality::Ordinary, false),
    service("bank", 5, Criticality::Important, false),
    service("rails", 6, Criticality::Critical, true),
    service("counter", 7, Criticality::Critical, true),
    service("parcels", 8, Criticality::Ordinary, false),
    service("staff", 9, Criticality::Important, false),
];

/// The position of a service in [`SERVICES`].
#[must_use]
pub fn index_of(name: &str) -> Option<usize> {
    SERVICES.iter().position(|s| s.name == name)
}

/// The host name that a service's clients use.
#[must_use]
pub fn host_of(name: &str) -> String {
    format!("{name}.localhost")
}
