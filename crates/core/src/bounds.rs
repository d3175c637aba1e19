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

const _: () = assert!(SOURCES_MAX % SOURCE_SHARDS == 0);
const _: () = assert!(SOURCE_SHARDS.is_power_of_two());
const _: () = assert!(HEAD_BYTES_MAX > TARGET_BYTES_MAX);
const _: () = assert!(SERVICES_MAX <= u16::MAX as usize);

// Records, pages for people, admin listener.

/// Access log lines waiting for the writer; when full, lines are dropped and counted.
pub const LOG_QUEUE_LINES_MAX: usize = 8192;
/// Bytes of a path in a log line, after escaping.
pub const LOG_PATH_BYTES_MAX: usize = 1024;
/// Bytes of any other text of a client in a log line (user agent, fingerprint), after escaping.
pub const LOG_TEXT_BYTES_MAX: usize = 256;
/// Bytes written to the access log at once.
pub const LOG_BATCH_BYTES_MAX: usize = 64 * 1024;
/// Service names that ever had metrics of their own (reloads may rename); later ones count as `other`.
pub const METRIC_SERVICES_MAX: usize = 2 * SERVICES_MAX;
/// Listener names that ever had metrics of their own.
pub const METRIC_LISTENERS_MAX: usize = 2 * LISTENERS_MAX;
/// Upstream servers that ever had metrics of their own.
pub const METRIC_UPSTREAM_SERVERS_MAX: usize = 512;
/// Spans waiting for export; when full, spans are dropped and counted.
pub const TRACE_QUEUE_SPANS_MAX: usize = 2048;
/// Spans in one export request.
pub const TRACE_BATCH_SPANS_MAX: usize = 256;
/// Spans recorded a second, whatever callers ask for.
pub const TRACE_SPANS_PER_S_MAX: u64 = 500;
/// Bytes of `tracestate` that are passed on.
pub const TRACESTATE_BYTES_MAX: usize = 512;
/// Members of `tracestate`, as W3C Trace Context has it.
pub const TRACESTATE_MEMBERS_MAX: usize = 32;
/// Bytes of `Accept` or `Accept-Language` that are looked at.
pub const ACCEPT_BYTES_MAX: usize = 1024;
/// Members of `Accept` or `Accept-Language` that are looked at.
pub const ACCEPT_MEMBERS_MAX: usize = 32;
/// Bytes of a service name on a page.
pub const PAGE_SERVICE_NAME_BYTES_MAX: usize = 64;
/// Connections to the admin listener.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Bytes of a request head at the admin listener.
pub const ADMIN_HEAD_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(LOG_BATCH_BYTES_MAX > 4 * (LOG_PATH_BYTES_MAX + LOG_TEXT_BYTES_MAX));
const _: () = assert!(TRACE_QUEUE_SPANS_MAX >= TRACE_BATCH_SPANS_MAX);
// Places in the metrics are 16-bit numbers, two of them with a meaning of their own.
const _: () = assert!(METRIC_SERVICES_MAX + 2 < u16::MAX as usize);
const _: () = assert!(METRIC_UPSTREAM_SERVERS_MAX + 2 < u16::MAX as usize);
