//! Bounds of what is handed over to the kernel's filter.

/// Sources that the filter drops at one time.
pub const HANDED_OVER_MAX: usize = 8192;
/// Sources that are watched, because they were refused or dropped lately.
pub const HANDOVER_WATCHED_MAX: usize = 4 * HANDED_OVER_MAX;
/// Bits of one generation of the addresses that good requests came from: 128 KiB.
pub const HANDOVER_GOOD_BITS: usize = 1 << 20;
/// Sources refused, and addresses of good requests, that one worker tells of in one report. Beyond it the former are
/// forgotten, and of the latter it is told that there were more.
pub const HANDOVER_NOTES_MAX: usize = 1024;
/// Seconds for which a source may be dropped at most.
pub const HANDOVER_TTL_S_MAX: u64 = 3600;
/// Bytes of what the filter's program tells of what it drops.
pub const KERNEL_ANSWER_BYTES_MAX: usize = 256 * HANDED_OVER_MAX;

const _: () = assert!(HANDOVER_WATCHED_MAX > HANDED_OVER_MAX);
