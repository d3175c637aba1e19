//! Bounds of what comes over the connection.

/// Bytes of one message. The messages of a card payment are a few hundred bytes long; this leaves room for chip data.
pub const MESSAGE_BYTES_MAX: usize = 4096;

// A length before a message has two bytes.
const _: () = assert!(MESSAGE_BYTES_MAX <= u16::MAX as usize);
