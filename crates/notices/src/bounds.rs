//! Bounds of notices: nothing here grows with time or with the number of readers.

/// Bytes of one entry of the journal.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the journal; beyond, it goes on in a new file that begins with what still counts.
pub const JOURNAL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Notices that are shown and kept: older ones that are over are dropped from the history first.
pub const NOTICES_MAX: usize = 100;
/// Notices that can be open at once.
pub const NOTICES_OPEN_MAX: usize = 40;
/// Revisions of one notice.
pub const REVISIONS_MAX: usize = 50;
/// Revisions of one notice that are made by measurement: room is left for the operator's words.
pub const REVISIONS_MEASURED_MAX: usize = 30;
/// Characters of one text of the operator's.
pub const WORDS_CHARS_MAX: usize = 2000;
/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 160;
/// Services on the page.
pub const COMPONENTS_MAX: usize = 64;
/// Other ways on the page.
pub const CHANNELS_MAX: usize = 64;
/// Seconds over which goodput is shown.
pub const GOODPUT_S_MAX: usize = 300;
/// Connections of the page's own listener; beyond, the oldest gives its place.
pub const CONNECTIONS_MAX: usize = 512;
/// Connections of one source (an IPv4 address, an IPv6 /64) at that listener.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 24;
/// Bytes of the head of a request at that listener.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Orders that may wait.
pub const ORDERS_WAITING_MAX: usize = 16;
/// Messages to one subscriber that may wait; more are dropped, and it is told how many.
pub const MESSAGES_WAITING_MAX: usize = 100;
/// Subscribers by webhook.
pub const WEBHOOKS_MAX: usize = 16;
/// Bytes that are kept of what a command or a server said when it failed.
pub const SAID_BYTES_MAX: usize = 2000;
/// Bytes of a notice in the worst case: title, and for each revision two texts of four bytes a character in two languages.
const NOTICE_BYTES_MAX: usize = 2 * TITLE_CHARS_MAX * 4 + REVISIONS_MAX * 4 * WORDS_CHARS_MAX * 4;

const _: () = assert!(CONNECTIONS_PER_SOURCE_MAX * 8 < CONNECTIONS_MAX);
const _: () = assert!(REVISIONS_MEASURED_MAX < REVISIONS_MAX && NOTICES_OPEN_MAX < NOTICES_MAX);
// One revision with all its texts fits into an entry, escaped (two bytes for one at most, since control characters are
// not taken) or not.
const _: () = assert!(4 * WORDS_CHARS_MAX * 4 + 2 * TITLE_CHARS_MAX * 4 + 4096 < ENTRY_BYTES_MAX);
// Even if all that are open have been told at length, what still counts fits the journal twice.
const _: () = assert!(NOTICE_BYTES_MAX * 2 < JOURNAL_BYTES_MAX);
