//! Bounds of what comes over the wire.

/// Bytes of one message: a transfer has two thousand or so, with every optional element some ten thousand.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;
/// Elements within elements; the deepest of the schemas that are read has less than twenty.
pub(crate) const DEPTH_MAX: usize = 24;
/// Elements of one message.
pub(crate) const ELEMENTS_MAX: usize = 1000;
/// Cents of one transfer: the schema has 18 digits, the scheme's limit is far below.
pub const AMOUNT_CENTS_MAX: i64 = 99_999_999_999;

const _: () = assert!(DEPTH_MAX < ELEMENTS_MAX && ELEMENTS_MAX * "<a/>".len() < MESSAGE_BYTES_MAX);
