//! Every bound of the workspace, in one place, with assertions that relate them.
//!
//! A new table, queue, buffer or body gets its bound here and a test at the bound. Configuration may lower most of
//! these; none can be raised past the figure here without a change to this file.

/// Services one node can hold.
pub const SERVICES_MAX: usize = 64;
/// Routes one service can declare.
pub const ROUTES_PER_SERVICE_MAX: usize = 64;
/// Servers in one upstream pool.
pub const SERVERS_PER_POOL_MAX: usize = 64;
/// Listeners of one node.
pub const LISTENERS_MAX: usize = 16;
/// Certificates of one node.
pub const CERTIFICATES_MAX: usize = 256;
/// Partners of one node.
pub const PARTNERS_MAX: usize = 1024;
/// Worker threads.
pub const WORKERS_MAX: usize = 256;

/// Sources held in the shared source table, over all shards (about 64 bytes each).
pub const SOURCES_MAX: usize = 1 << 17;
/// Shards of the source table, each behind a lock of its own that only workers take.
pub const SOURCE_SHARDS: usize = 64;
/// Requests waiting for a slot, per service.
pub const QUEUE_PER_SERVICE_MAX: usize = 1024;
/// Upper end of an adaptive concurrency limit.
pub const CONCURRENCY_LIMIT_MAX: u32 = 4096;

/// Bytes of a request head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields of a request.
pub const HEADER_FIELDS_MAX: usize = 128;
/// Bytes of a request target.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a ClientHello that is looked at, over all its records and fragments.
pub const CLIENT_HELLO_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a PROXY v1 line, as the specification has it.
pub const PROXY_V1_BYTES_MAX: usize = 107;
/// Bytes of a PROXY v2 header with its TLVs.
pub const PROXY_V2_BYTES_MAX: usize = 16 + 2048;
/// Connections one node holds.
pub const CONNECTIONS_MAX: usize = 200_000;
/// Source prefixes whose connections and handshakes are counted.
pub const CONNECTION_SOURCES_MAX: usize = 1 << 16;
/// Concurrent streams of one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 128;
/// Idle connections kept for one upstream server by one worker.
pub const POOL_IDLE_PER_SERVER_MAX: usize = 256;
/// Bytes of the configuration, over all its files.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;

const _: () = assert!(SOURCES_MAX.is_multiple_of(SOURCE_SHARDS));
const _: () = assert!(SOURCE_SHARDS.is_power_of_two());
const _: () = assert!(HEAD_BYTES_MAX > TARGET_BYTES_MAX);
const _: () = assert!(SERVICES_MAX <= u16::MAX as usize);

// Configuration files.

/// Files of the configuration: the main one and those in `conf.d`.
pub const CONFIG_FILES_MAX: usize = 256;
/// Problems that one report lists; further ones are counted.
pub const CONFIG_PROBLEMS_MAX: usize = 50;
/// Characters of a line that a report shows.
pub const CONFIG_EXCERPT_CHARS_MAX: usize = 160;
/// Characters of a wrong value that a message repeats.
pub const CONFIG_QUOTE_CHARS_MAX: usize = 80;
/// Bytes of a name: of a listener, service, upstream or partner.
pub const NAME_BYTES_MAX: usize = 64;
/// Host names of one service.
pub const HOSTS_PER_SERVICE_MAX: usize = 256;
/// Networks of one listener's trusted proxies.
pub const TRUSTED_NETWORKS_MAX: usize = 1024;
/// Credentials of one partner.
pub const CREDENTIALS_PER_PARTNER_MAX: usize = 32;
/// Path prefixes on which one service issues its session cookie.
pub const SESSION_PATHS_MAX: usize = 64;
/// Requests in flight on one node.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 1 << 17;
/// Bytes of a certificate, key, CA or seed file.
pub const PEM_BYTES_MAX: usize = 1024 * 1024;
/// Any deadline or interval, in milliseconds: an hour.
pub const DEADLINE_MS_MAX: u64 = 3_600_000;
/// Any long span, in seconds: 400 days, as long as browsers keep a cookie.
pub const SPAN_S_MAX: u64 = 400 * 86_400;
/// Bytes of a request body that configuration may allow: 64 GiB, streamed, never held.
pub const BODY_BYTES_MAX: u64 = 64 << 30;
/// Relative cost of a request.
pub const COST_MAX: f64 = 10_000.0;

const _: () = assert!(PEM_BYTES_MAX <= CONFIG_BYTES_MAX);
const _: () = assert!(REQUESTS_IN_FLIGHT_MAX >= QUEUE_PER_SERVICE_MAX);
