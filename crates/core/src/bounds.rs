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

/// Sources held in the shared source table, over all shards (about 128 bytes each: 16 MiB).
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

// --- The decision core ---

/// Ways of one set of the source table.
pub const SOURCE_WAYS: usize = 8;
/// Budgets that one request is checked against: its own and those of the wider prefixes.
pub const BUDGETS_PER_REQUEST_MAX: usize = 4;
/// Buckets of a demand histogram, a quarter of an octave each; the last is open.
pub const DEMAND_BUCKETS: usize = 48;
/// Buckets of a histogram of upstream times, an eighth of an octave each; the last is open.
pub const RTT_BUCKETS: usize = 160;
/// Samples that a limiter looks back on for its correlations.
pub const LIMITER_HISTORY: usize = 32;

const _: () = assert!((SOURCES_MAX / SOURCE_SHARDS).is_multiple_of(SOURCE_WAYS));
const _: () = assert!(DEMAND_BUCKETS <= u8::MAX as usize);
const _: () = assert!(QUEUE_PER_SERVICE_MAX <= u32::MAX as usize);
