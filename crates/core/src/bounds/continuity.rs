//! Bounds of what goes on while something is away: the link verdict, what is handed on, contracts.

use super::{AHEAD_BYTES_MAX, TARGET_BYTES_MAX};

// --- The link verdict and what is handed on ---
/// Interfaces whose line is watched.
pub const LINK_INTERFACES_MAX: usize = 16;
/// Samples of the window over which rates are taken.
pub const LINK_SAMPLES_MAX: usize = 64;
/// Bytes of a file of the kernel's that are read.
pub const LINK_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Own prefixes that the configuration declares.
pub const OWN_PREFIXES_MAX: usize = 256;
/// Targets to hand on to.
pub const HAND_ON_TARGETS_MAX: usize = 8;
/// Routes of all targets that stand, wait for the operator, or are being withdrawn.
pub const HAND_ON_ROUTES_MAX: usize = 256;
/// Routes that ended and are still told of.
pub const HAND_ON_ENDED_MAX: usize = 64;
/// Parts of the command of a target.
pub const HAND_ON_ARGUMENTS_MAX: usize = 64;
/// Bytes of what a target's program or server answers that are read.
pub const HAND_ON_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the journal of routes that stand.
pub const HAND_ON_JOURNAL_BYTES_MAX: usize = 1024 * 1024;
/// Seconds that a route may stand at most before it must be asked for again: a day.
pub const HAND_ON_TTL_S_MAX: u64 = 86_400;
/// Connections of outside balancers that are answered at one time.
pub const HEALTH_CONNECTIONS_MAX: usize = 64;

const _: () = assert!(HAND_ON_ROUTES_MAX * 1024 <= HAND_ON_JOURNAL_BYTES_MAX, "a line of the journal is below 1 KiB");

// --- Contracts: channels, the store of answers, orders ---
/// Channels that can be declared.
pub const CHANNELS_MAX: usize = 64;
/// Bytes of a text for people in the configuration: a name, opening hours, an address.
pub const WORDS_BYTES_MAX: usize = 300;
/// Other ways that one contract names.
pub const CONTRACT_WAYS_MAX: usize = 16;
/// Services that one contract needs.
pub const CONTRACT_NEEDS_MAX: usize = 16;
/// Bytes of a fallback page of the operator's own.
pub const FALLBACK_FILE_BYTES_MAX: usize = 256 * 1024;
/// Seconds for which an answer may be served beyond its time: 30 days.
pub const STALE_S_MAX: u64 = 30 * 86_400;
/// Query parameters of one route that make another answer.
pub const CACHE_QUERY_PARAMETERS_MAX: usize = 16;
/// Request headers that answers of one route may vary by.
pub const CACHE_VARY_MAX: usize = 8;
/// Bytes of the key of a kept answer; a longer one is not kept.
pub const CACHE_KEY_BYTES_MAX: usize = 2048;
/// Bytes of one header's value in a key; a request with a longer one asks for itself.
pub const CACHE_VARY_VALUE_BYTES_MAX: usize = 128;
/// Bytes of what describes a kept answer in its file: it has the headers twice.
pub const CACHE_DESCRIPTION_BYTES_MAX: usize = 1024 * 1024;
/// Servers of a pool that are asked whether a service is back.
pub const UPSTREAM_PROBED_MAX: usize = 4;
/// Bytes of all answers that are kept in memory: 64 GiB.
pub const CACHE_BYTES_MAX: u64 = 64 << 30;
/// Answers that are kept.
pub const CACHE_ENTRIES_MAX: usize = 1 << 20;
/// Bytes of one answer that is kept.
pub const CACHE_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the folder of kept answers: 1 TiB.
pub const CACHE_DISK_BYTES_MAX: u64 = 1 << 40;
/// Fetches that others wait for at one time; beyond it each asks for itself.
pub const COLLAPSED_FETCHES_MAX: usize = 4096;
/// Requests that wait for one fetch; beyond it each asks for itself.
pub const COLLAPSED_WAITERS_MAX: usize = 8192;
/// Answers that wait to be written to the folder; beyond it they are kept in memory only.
pub const CACHE_WRITES_WAITING_MAX: usize = 256;
/// Files of the folder that are read back at a start.
pub const CACHE_FILES_MAX: usize = CACHE_ENTRIES_MAX;
/// Switches of services and routes that operators have ordered, in force at one time.
pub const CONTRACT_ORDERS_MAX: usize = 1024;
/// Bytes of the file in which they outlive a restart.
pub const ORDER_FILE_BYTES_MAX: usize = 2 << 20;
/// Requests to a failing service, which nobody waits for any more, that go on so that its answers are seen.
pub const SCOUTS_MAX: u32 = 4;
/// Bytes of why an operator ordered something.
pub const BECAUSE_BYTES_MAX: usize = 300;

// Answers are gathered within the budget of what is read ahead.
const _: () = assert!(CACHE_ANSWER_BYTES_MAX <= AHEAD_BYTES_MAX);
const _: () = assert!(CACHE_KEY_BYTES_MAX <= TARGET_BYTES_MAX);
