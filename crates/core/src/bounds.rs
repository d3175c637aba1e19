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

// Forwarding.
/// HTTP/2 connections one worker keeps to one server.
pub const UPSTREAM_H2_CONNECTIONS_MAX: usize = 4;
/// Streams one worker puts on one HTTP/2 connection before it opens another; a server may allow fewer.
pub const UPSTREAM_H2_STREAMS_MAX: usize = 100;
/// Bytes of an upstream's answer head, and of the read buffer of a connection to it.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields of an upstream's answer.
pub const UPSTREAM_HEADER_FIELDS_MAX: usize = 200;
/// Addresses kept of one resolved name.
pub const UPSTREAM_ADDRESSES_MAX: usize = 8;
/// Milliseconds for which a resolved name is believed.
pub const UPSTREAM_DNS_LIFE_MS: u64 = 5_000;
/// Attempts for one request, whatever the configuration says.
pub const UPSTREAM_ATTEMPTS_MAX: u32 = 8;
/// Requests whose share of retries can be saved up in a retry budget.
pub const RETRY_BANK_REQUESTS_MAX: u32 = 500;
/// Addresses of a trusted forwarding chain that are passed on.
pub const FORWARDED_HOPS_MAX: usize = 16;
/// Milliseconds that a body waits for an upstream's 100 (Continue) before it is sent regardless.
pub const EXPECT_WAIT_MS_MAX: u64 = 1_000;
/// Milliseconds for which the rest of a request body is still taken after its answer is complete.
pub const LINGER_MS_MAX: u64 = 2_000;
/// Bytes that a server may send ahead on one HTTP/2 stream, and that are held for it before they are sent.
pub const UPSTREAM_H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes that a server may send ahead on all streams of one HTTP/2 connection.
pub const UPSTREAM_H2_CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Milliseconds without a frame after which an HTTP/2 connection with streams is asked whether it lives, and for the
/// answer to that.
pub const UPSTREAM_H2_PING_MS: u64 = 10_000;
/// Milliseconds in which a connection must be ready again after its answer ended, to be kept.
pub const UPSTREAM_SETTLE_MS_MAX: u64 = 2_000;
/// Milliseconds in which both sides must hand over their connection after a switch of protocols was agreed.
pub const TUNNEL_HAND_OVER_MS_MAX: u64 = 10_000;
/// Doublings of an ejection.
pub const EJECTION_DOUBLINGS_MAX: u32 = 4;

const _: () = assert!(SERVERS_PER_POOL_MAX <= 64, "forward keeps the servers that were tried in a 64-bit set");
const _: () = assert!(UPSTREAM_HEAD_BYTES_MAX >= 8192, "hyper needs at least 8 KiB");
