//! Every bound of the workspace, in one place, with assertions that relate them.
//!
//! A new table, queue, buffer or body gets its bound here and a test at the bound. Configuration may lower most of
//! these; none can be raised past the figure here without a change to this file.

mod continuity;
mod kernel;

pub use continuity::*;
pub use kernel::*;

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

const _: () = assert!(TRAILER_FIELDS_MAX <= HEADER_FIELDS_MAX);
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
/// Surges of newcomers that are remembered.
pub const SURGES_MAX: usize = 8;
/// Samples that a limiter looks back on for its correlations.
pub const LIMITER_HISTORY: usize = 32;
/// Ticks of the longest term of suspicion: ten times the first, about an hour.
pub const SUSPECT_TICKS_MAX: u32 = 37_500;
/// Broken rules kept for the report.
pub const SIM_BROKEN_KEPT_MAX: usize = 20;

const _: () = assert!((SOURCES_MAX / SOURCE_SHARDS).is_multiple_of(SOURCE_WAYS));
const _: () = assert!(DEMAND_BUCKETS <= u8::MAX as usize);
const _: () = assert!(QUEUE_PER_SERVICE_MAX <= u32::MAX as usize);

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
/// Bytes of the collector's answer that are read.
pub const TRACE_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// File descriptors counted; a process with more reports this many.
pub const FDS_COUNTED_MAX: usize = 2_000_000;

const _: () = assert!(LOG_BATCH_BYTES_MAX > 4 * (LOG_PATH_BYTES_MAX + LOG_TEXT_BYTES_MAX));
const _: () = assert!(TRACE_QUEUE_SPANS_MAX >= TRACE_BATCH_SPANS_MAX);

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

// Drills (crate drill): what one run of a scenario may do at most.

/// Seconds one front is drilled, all phases together.
pub const DRILL_TOTAL_S_MAX: u32 = 600;
/// Populations of one scenario.
pub const DRILL_POPULATIONS_MAX: usize = 64;
/// Variants an adapting attacker goes through.
pub const DRILL_VARIANTS_MAX: usize = 16;
/// Faults of one scenario.
pub const DRILL_FAULTS_MAX: usize = 16;
/// Milliseconds that a fault adds to each answer.
pub const DRILL_ADDED_MS_MAX: u32 = 60_000;
/// Source addresses of one population.
pub const DRILL_SOURCES_MAX: u32 = 20_000;
/// Requests of real clients in one run.
pub const DRILL_REAL_REQUESTS_MAX: usize = 500_000;
/// Persons of one run: each keeps its cookies.
pub const DRILL_PERSONS_MAX: usize = 100_000;
/// Attack requests a second, over all attackers.
pub const DRILL_ATTACK_RPS_MAX: f64 = 20_000.0;
/// Attack requests of one run.
pub const DRILL_ATTACK_REQUESTS_MAX: u64 = 5_000_000;
/// Connections the load generator holds at once; the open-file limit may lower it.
pub const DRILL_CONNECTIONS_MAX: usize = 60_000;
/// Bytes of a scenario or capacity file.
pub const DRILL_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of an answer's head that the load generator reads.
pub const DRILL_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer's body that the load generator reads and discards.
pub const DRILL_BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Cookies one person keeps.
pub const DRILL_COOKIES_MAX: usize = 16;
/// Bytes of one cookie's value.
pub const DRILL_COOKIE_BYTES_MAX: usize = 4096;
/// Bytes of a refusal's page that a real client reads.
pub const DRILL_PAGE_BYTES_MAX: usize = 16 * 1024;
/// Header fields of an answer that are read.
pub const DRILL_HEADER_FIELDS_MAX: usize = 64;
/// Interim (1xx) answers before the real one.
pub const DRILL_INTERIM_ANSWERS_MAX: u32 = 8;
/// Idle connections that a person keeps.
pub const DRILL_IDLE_PER_PERSON_MAX: usize = 4;
/// Arrivals sent in one look: what was missed by a stall beyond it is let go, so that a stall is not followed by a burst.
pub const DRILL_ATTACK_PER_TICK_MAX: u64 = 100;
/// Streams of one connection; a new one is opened after that (identifiers are 31 bits, half of them ours).
pub const DRILL_RESET_STREAMS_MAX: u32 = 1 << 20;

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
/// Fields of a trailer: the codec behind the guard reads only so many, and what it does not read must not pass.
pub const TRAILER_FIELDS_MAX: usize = 16;
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
/// Bytes of a TLS record, as RFC 8446 has it.
pub const TLS_RECORD_BYTES_MAX: usize = 1 << 14;
/// Streams reset by the client that may wait to be noticed, before hyper itself ends the connection.
pub const H2_PENDING_RESETS_MAX: usize = 20;

const _: () = assert!(CONNECTION_SHARDS.is_power_of_two());
const _: () = assert!(CONNECTION_SOURCES_MAX.is_multiple_of(CONNECTION_SHARDS));
const _: () = assert!(PROXY_V2_BYTES_MAX >= 16 + 216);
const _: () = assert!(CHUNK_SIZE_DIGITS_MAX < 16);

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
// Places in the metrics are 16-bit numbers, two of them with a meaning of their own.
const _: () = assert!(METRIC_SERVICES_MAX + 2 < u16::MAX as usize);
const _: () = assert!(METRIC_UPSTREAM_SERVERS_MAX + 2 < u16::MAX as usize);

// The bench of the drill crate.

/// Rounds of a bench: each takes about two minutes.
pub const BENCH_ROUNDS_MAX: usize = 32;
/// Bytes of an answer that the bench's clients take, head and body.
pub const BENCH_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Processes of a front, and threads of each, whose CPU time and memory are read.
pub const BENCH_PROCESSES_MAX: usize = 1024;
/// Idle connections opened at the same time.
pub const BENCH_OPENING_MAX: usize = 64;

// --- Bodies read ahead ---
/// Bytes of a request's body that are read before it asks for a slot.
pub const REQUEST_AHEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer that are read from the service whether or not the client takes them.
pub const ANSWER_AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes that all workers together hold read ahead.
pub const AHEAD_BYTES_MAX: usize = 256 * 1024 * 1024;

// --- Signs: features, signatures, mitigations ---
/// Bytes that features, samples and memories take at most, over all services and workers: 64 MiB.
pub const SIGNS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a database of autonomous systems or countries.
pub const ADDRESS_DATABASE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Values in the conjunction of one signature.
pub const SIGNATURE_PARTS_MAX: usize = 4;
/// Mitigations of one service at one time.
pub const MITIGATIONS_PER_SERVICE_MAX: usize = 16;
/// Signatures that one search may find.
pub const SIGNATURES_PER_SEARCH_MAX: usize = 4;
/// Values that one search combines.
pub const SIGNATURE_CANDIDATES_MAX: usize = 48;
/// Signatures of former mitigations that one service remembers.
pub const SIGNATURES_REMEMBERED_MAX: usize = 32;
/// Signatures that the operator forbade at one service.
pub const SIGNATURES_FORBIDDEN_MAX: usize = 32;
/// Samples of one service that one tick takes in, over all workers.
pub const SAMPLES_PER_TICK_MAX: usize = 256;
/// Recent samples of one service.
pub const SAMPLES_RECENT_MAX: usize = 2048;
/// Remembered requests of calm times, by service.
pub const SAMPLES_CALM: usize = 2048;
/// Remembered requests of people of proven standing, by service.
pub const SAMPLES_PROVEN: usize = 1024;
/// The same over all services together.
pub const SAMPLES_EVERYWHERE: usize = 4096;
/// Recent sign-ins of one service.
pub const SIGN_INS_RECENT_MAX: usize = 1024;
/// Remembered sign-ins of calm times, by service: so many that failed, and as many that were right.
pub const SIGN_INS_CALM: usize = 512;
/// Samples that all workers together hold of one tick.
pub const WORKER_SAMPLES_MAX: usize = 1 << 16;
/// Events of mitigations kept until they are taken for the log.
pub const MITIGATION_EVENTS_MAX: usize = 1024;
/// Words kept for values of features, so that a mitigation can say what it is about.
pub const LEXICON_WORDS_MAX: usize = 8192;
/// Words that one report of a worker carries.
pub const WORDS_PER_REPORT_MAX: usize = 128;
/// Networks that the operator allows whatever they do.
pub const ALLOWED_NETWORKS_MAX: usize = 1024;
/// Refusals that are remembered for whoever asks about a reference code.
pub const REFUSALS_REMEMBERED_MAX: usize = 16_384;
/// Mitigations that ended and are still told of.
pub const MITIGATIONS_ENDED_MAX: usize = 256;
/// Bytes of an answer of the admin listener that a command reads.
pub const ADMIN_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a command to the admin listener.
pub const ADMIN_BODY_BYTES_MAX: usize = 16 * 1024;

// --- Passes ---
/// Rows and cells of the count of what was used of passes; two generations of them take 4 MiB.
pub const SPENT_ROWS: usize = 4;
/// See [`SPENT_ROWS`].
pub const SPENT_CELLS: usize = 1 << 18;
/// Networks whose grants by waiting and attempts at codes are counted.
pub const GRANT_CELLS: usize = 1 << 16;
/// Serial numbers of codes given out by people.
pub const CODE_SERIALS: usize = 1 << 16;
/// Parts of a puzzle.
pub const WORK_PARTS: usize = 8;
/// Zero bits asked for in each part: 32,768 hashes in all, a sixth of a second for a cheap telephone at 200,000 hashes a
/// second in plain JavaScript (an optimised browser on a fast machine does some millions).
pub const WORK_BITS_LEAST: u8 = 12;
/// The most that is ever asked for: 262,144 hashes, 1.3 s on such a telephone, and under 3 s in 99 of 100 cases, since
/// the sum of eight parts varies little.
pub const WORK_BITS_MOST: u8 = 15;
/// Bytes of a form or document that is sent to earn a pass.
pub const PASS_BODY_BYTES_MAX: usize = 8 * 1024;

const _: () = assert!(WORK_BITS_LEAST <= WORK_BITS_MOST && WORK_BITS_MOST < 24);
const _: () = assert!(2 * SPENT_ROWS * SPENT_CELLS * 2 <= 4 * 1024 * 1024);

// --- Waiting room ---
/// Seconds after the opening in which those who come are shuffled.
pub const ROOM_SHUFFLE_S: u64 = 5;
/// Seconds of the line of a waiting room that are told apart; whoever comes later stands in the last one.
pub const ROOM_SECONDS_MAX: usize = 3600;

const _: () = assert!(ROOM_SECONDS_MAX > ROOM_SHUFFLE_S as usize);

// --- Crawlers ---
/// Addresses whose claim to be a declared crawler was looked up and is remembered.
pub const CRAWLER_CELLS: usize = 1 << 14;
/// Lookups that may wait; more are asked again with a later request.
pub const CRAWLER_LOOKUPS_WAITING_MAX: usize = 256;
/// Crawlers that can be declared.
pub const CRAWLERS_MAX: usize = 64;
/// Domains of one crawler.
pub const CRAWLER_DOMAINS_MAX: usize = 16;
