//! The clients that may ask for sign-ins: each with the places to which its answers go, and nowhere else.

use crate::estate_key::EstateKey;
use crate::service::Service;

/// The path under which services of the estate take answers.
pub(crate) const RETURN_PATH: &str = "/oidc/retour";

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: &'static str,
    place: Place,
}

/// Where a client takes its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A service of the estate, which keeps a secret.
    Web(Service),
    /// The application on a telephone, or a program on the user's own machine (RFC 8252): it can keep no secret.
    Native,
}

const CLIENTS: [Client; 4] = [
    Client { id: "portal", place: Place::Web(Service::Portal) },
    Client { id: "bank", place: Place::Web(Service::Bank) },
    Client { id: "vault", place: Place::Web(Service::Vault) },
    Client { id: "app", place: Place::Native },
];

/// The client of this name.
pub(super) fn find(id: &str) -> Option<Client> {
    CLIENTS.into_iter().find(|client| client.id == id)
}

impl Client {
    /// Whether answers may go there. Hosts and paths are fixed; ports are not, since drills and tests choose them.
    pub(super) fn allows(self, redirect_uri: &str) -> bool {
        match self.place {
            Place::Web(service) => {
                let host = format!("{}.localhost", service.name());
                let named = [("https", host.as_str()), ("http", host.as_str()), ("http", "127.0.0.1")];
                named.into_iter().any(|(scheme, host)| is_at(redirect_uri, scheme, host, RETURN_PATH))
            }
            Place::Native => {
                redirect_uri == "fr.guichet.app:/callback"
                    || is_at(redirect_uri, "http", "127.0.0.1", "/callback")
                    || is_at(redirect_uri, "http", "[::1]", "/callback")
            }
        }
    }

    /// Whether people may be sent there after they signed out: the home page of the client.
    pub(super) fn allows_end(self, uri: &str) -> bool {
        match self.place {
            Place::Web(service) => {
                let host = format!("{}.localhost", service.name());
                let named = [("https", host.as_str()), ("http", host.as_str()), ("http", "127.0.0.1")];
                named.into_iter().any(|(scheme, host)| is_at(uri, scheme, host, "/"))
            }
            Place::Native => false,
        }
    }

    /// Whether it must prove itself by a secret.
    pub(super) fn has_secret(self) -> bool {
        matches!(self.place, Place::Web(_))
    }
}

fn is_at(uri: &str, scheme: &str, host: &str, path: &str) -> bool {
    let rest =
        uri.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).and_then(|rest| rest.strip_prefix(host));
    let port = rest.and_then(|rest| rest.strip_suffix(path));
    port.is_some_and(|port| {
        port.is_empty()
            || port.strip_prefix(':').is_some_and(|port| {
                !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
            })
    })
}

/// The secret of a client: both sides draw it from the estate's key.
pub(crate) fn secret(key: &EstateKey, client: &str) -> String {
    key.derive(&format!("OpenID Connect client {client}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_where_a_client_is_and_nowhere_else() {
        let check = |client: &str, uri: &str, expected: bool| {
            assert_eq!(find(client).unwrap().allows(uri), expected, "{client} {uri}");
        };
        check("portal", "https://portal.localhost:8443/oidc/retour", true);
        check("portal", "https://portal.localhost/oidc/retour", true);
        check("portal", "http://127.0.0.1:9101/oidc/retour", true);
        for uri in [
            "https://bank.localhost:8443/oidc/retour",
            "https://portal.localhost:8443/oidc/retour/",
            "https://portal.localhost:8443/oidc/retour?x=1",
            "https://portal.localhost.evil.example/oidc/retour",
            "https://portal.localhost:8443@evil.example/oidc/retour",
            "https://portal.localhost:/oidc/retour",
            "https://portal.localhost:99999/oidc/retour",
            "https://portal.localhost:+80/oidc/retour",
            "//portal.localhost/oidc/retour",
            "fr.guichet.app:/callback",
            "",
        ] {
            check("portal", uri, false);
        }
        check("app", "fr.guichet.app:/callback", true);
        check("app", "http://127.0.0.1:51004/callback", true);
        check("app", "http://[::1]:51004/callback", true);
        check("app", "http://localhost:51004/callback", false);
        check("app", "https://127.0.0.1:51004/callback", false);
        assert!(find("nobody").is_none());
    }
}
