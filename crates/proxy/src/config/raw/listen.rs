//! Listeners, certificates and the limits of connections, as the files have them.

use guichet_core::bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where clients come in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "address", "protocol"]))]
pub(in crate::config) struct Listener {
    /// Name in logs and metrics.
    pub(in crate::config) name: String,
    /// Address and port.
    pub(in crate::config) address: String,
    /// What is spoken.
    pub(in crate::config) protocol: ListenerProtocol,
    /// Answer every request with a redirect (308) to https; for `http` listeners.
    pub(in crate::config) redirect_to_https: bool,
    /// The port that the redirect names.
    #[schemars(range(min = 1, max = 65_535))]
    pub(in crate::config) https_port: u16,
    /// Whether the PROXY protocol (v1 and v2) is read, from trusted networks only.
    pub(in crate::config) proxy_protocol: ProxyProtocol,
    /// Networks whose PROXY header, Forwarded and X-Forwarded-For are believed.
    #[schemars(length(max = bounds::TRUSTED_NETWORKS_MAX))]
    pub(in crate::config) trusted_proxies: Vec<String>,
    /// How many entries of X-Forwarded-For, from the right, were written by trusted proxies; 0: decided by network.
    #[schemars(range(max = 16))]
    pub(in crate::config) trusted_hops: usize,
    /// PEM file of the authority behind the partners' certificates; for `https` listeners. Certificates stay optional for clients.
    pub(in crate::config) partner_ca: String,
    /// Whether HTTP/2 is offered.
    pub(in crate::config) http2: bool,
    /// Length of the kernel's accept queue.
    #[schemars(range(min = 1, max = 65_535))]
    pub(in crate::config) backlog: u32,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: String::new(),
            address: String::new(),
            protocol: ListenerProtocol::Http,
            redirect_to_https: false,
            https_port: 8443,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
            trusted_hops: 0,
            partner_ca: String::new(),
            http2: true,
            backlog: 1024,
        }
    }
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ListenerProtocol {
    /// Cleartext HTTP/1.1, and HTTP/2 by prior knowledge.
    Http,
    /// TLS 1.2 and 1.3, with HTTP/2 by ALPN.
    Https,
}

/// Whether the PROXY protocol is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ProxyProtocol {
    /// Never.
    Off,
    /// Where a trusted network sends it.
    Accept,
    /// A trusted network must send it; other connections are refused.
    Require,
}

/// A certificate chain with its key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["cert", "key"]))]
pub(in crate::config) struct Certificate {
    /// PEM file of the chain, the leaf first; relative to the folder of the main file.
    pub(in crate::config) cert: String,
    /// PEM file of the private key.
    pub(in crate::config) key: String,
}

/// Limits of connections and requests, before any service is known.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// Connections of one source (IPv4 /32, IPv6 /64).
    #[schemars(range(min = 1, max = bounds::CONNECTIONS_MAX))]
    pub(in crate::config) connections_per_source: u32,
    /// Connections of one network (IPv4 /24, IPv6 /48).
    #[schemars(range(min = 1, max = bounds::CONNECTIONS_MAX))]
    pub(in crate::config) connections_per_network: u32,
    /// TLS handshakes of one source under way at once.
    #[schemars(range(min = 1, max = bounds::CONNECTIONS_MAX))]
    pub(in crate::config) handshakes_per_source: u32,
    /// From accept to the end of the ClientHello.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) client_hello_ms: u64,
    /// From accept to the end of the TLS handshake.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) handshake_ms: u64,
    /// From the first byte of a request to the end of its head.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) header_ms: u64,
    /// How long a connection is kept without a request.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) idle_ms: u64,
    /// From accept, or the end of the handshake, to the first byte of the first request.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) first_request_ms: u64,
    /// Bytes a second at which a client must send a body, once `body_grace_ms` is over; 0: at any rate.
    pub(in crate::config) body_rate_bytes_s_min: u64,
    /// Grace before `body_rate_bytes_s_min` and `read_rate_bytes_s_min` count.
    #[schemars(range(min = 1, max = bounds::DEADLINE_MS_MAX))]
    pub(in crate::config) body_grace_ms: u64,
    /// Bytes a second at which a client must take an answer, once `body_grace_ms` is over; 0: at any rate.
    pub(in crate::config) read_rate_bytes_s_min: u64,
    /// Bytes of a request head.
    #[schemars(range(min = 1024, max = bounds::HEAD_BYTES_MAX))]
    pub(in crate::config) head_bytes_max: usize,
    /// Header fields of a request.
    #[schemars(range(min = 8, max = bounds::HEADER_FIELDS_MAX))]
    pub(in crate::config) header_fields_max: usize,
    /// Bytes of a request target.
    #[schemars(range(min = 64, max = bounds::TARGET_BYTES_MAX))]
    pub(in crate::config) target_bytes_max: usize,
    /// Requests of one connection, which is then closed in good order.
    #[schemars(range(min = 1))]
    pub(in crate::config) requests_per_connection_max: u64,
    /// HTTP/2: concurrent streams of one connection; fewer are granted under load.
    #[schemars(range(min = 1, max = bounds::H2_STREAMS_MAX))]
    pub(in crate::config) h2_streams_max: u32,
    /// HTTP/2: streams that a client may cancel in 10 seconds.
    pub(in crate::config) h2_resets_per_10s: u32,
    /// HTTP/2: empty frames in 10 seconds.
    pub(in crate::config) h2_empty_frames_per_10s: u32,
    /// HTTP/2: CONTINUATION frames of one header block.
    pub(in crate::config) h2_continuations_max: u32,
    /// HTTP/2: SETTINGS frames in 10 seconds.
    #[schemars(range(min = 1))]
    pub(in crate::config) h2_settings_per_10s: u32,
    /// HTTP/2: PING frames in 10 seconds.
    pub(in crate::config) h2_pings_per_10s: u32,
    /// HTTP/2: PRIORITY frames in 10 seconds.
    pub(in crate::config) h2_priorities_per_10s: u32,
    /// HTTP/2: WINDOW_UPDATE frames in 10 seconds.
    #[schemars(range(min = 1))]
    pub(in crate::config) h2_window_updates_per_10s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_source: 64,
            connections_per_network: 1024,
            handshakes_per_source: 16,
            client_hello_ms: 3000,
            handshake_ms: 8000,
            header_ms: 8000,
            idle_ms: 60_000,
            first_request_ms: 8000,
            body_rate_bytes_s_min: 500,
            body_grace_ms: 5000,
            read_rate_bytes_s_min: 500,
            head_bytes_max: 32 * 1024,
            header_fields_max: 100,
            target_bytes_max: 8 * 1024,
            requests_per_connection_max: 10_000,
            h2_streams_max: 100,
            h2_resets_per_10s: 50,
            h2_empty_frames_per_10s: 50,
            h2_continuations_max: 8,
            h2_settings_per_10s: 20,
            h2_pings_per_10s: 50,
            h2_priorities_per_10s: 200,
            h2_window_updates_per_10s: 20_000,
        }
    }
}
