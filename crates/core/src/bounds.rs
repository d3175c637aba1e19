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

// ---- listen ----

/// Shards of the table of connection sources, each behind a short lock that only workers take.
pub const CONNECTION_SHARDS: usize = 64;

/// TLVs of one PROXY v2 header.
pub const PROXY_V2_TLVS_MAX: usize = 64;
/// Cipher suites, extensions, groups or signature algorithms of a ClientHello that are kept, each.
pub const CLIENT_HELLO_LIST_MAX: usize = 256;
/// ALPN protocols of a ClientHello that are kept.
pub const CLIENT_HELLO_ALPN_MAX: usize = 16;
/// Bytes of a server name.
pub const SERVER_NAME_BYTES_MAX: usize = 255;
/// TLS records over which a ClientHello may be spread: no honest client needs more than a few.
pub const CLIENT_HELLO_RECORDS_MAX: usize = 64;
/// TLS sessions kept for clients that resume by session id.
pub const TLS_SESSIONS_MAX: usize = 16 * 1024;
/// Bytes of one certificate, key or CA file.
pub const CERTIFICATE_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Idle connections looked at in one round of eviction.
pub const EVICTION_SAMPLE_MAX: usize = 4096;
/// Connections accepted from one listener before the worker's other tasks get their turn.
pub const ACCEPT_BATCH_MAX: usize = 64;
/// Connections of one worker between accept and the end of the TLS handshake.
pub const OPENING_PER_WORKER_MAX: usize = 16 * 1024;
/// Empty lines tolerated before a request line (old clients send one after a body).
pub const EMPTY_LINES_BEFORE_REQUEST_MAX: u8 = 2;
/// Bytes of a request method.
pub const METHOD_BYTES_MAX: usize = 32;
/// Bytes of the extensions of one chunk.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of the extensions of all chunks of one body.
pub const CHUNK_EXTENSIONS_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the trailers of one body.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Hexadecimal digits of a chunk size.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 15;
/// Bytes read and thrown away after a refusal, so that the refusal is not lost to a reset.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the first header block that are looked at for the HTTP/2 fingerprint.
pub const H2_FINGERPRINT_BLOCK_BYTES_MAX: usize = 4096;
/// Entries of the first SETTINGS, and PRIORITY frames, that enter the HTTP/2 fingerprint.
pub const H2_FINGERPRINT_ENTRIES_MAX: usize = 16;
/// What a WINDOW_UPDATE of 0 or 1 byte weighs against the bound on WINDOW_UPDATE frames.
pub const H2_TINY_WINDOW_WEIGHT: u32 = 100;
/// SETTINGS sent by the door itself that may await their acknowledgement.
pub const H2_SETTINGS_OUTSTANDING_MAX: usize = 4;
/// Bytes buffered of the answers of one HTTP/2 stream.
pub const H2_SEND_BUFFER_BYTES_MAX: usize = 128 * 1024;

const _: () = assert!(CONNECTION_SHARDS.is_power_of_two());
const _: () = assert!(CONNECTION_SOURCES_MAX.is_multiple_of(CONNECTION_SHARDS));
const _: () = assert!(PROXY_V2_BYTES_MAX >= 16 + 216);
const _: () = assert!(CHUNK_SIZE_DIGITS_MAX < 16);
