//! Whatever comes over the cards' connection: read or refused; what was read is written and read again as the same.
#![no_main]

use guichet_iso8583::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::decode(bytes) {
        let written = message.encode().expect("what was read can be written");
        assert_eq!(Message::decode(&written).as_ref(), Ok(&message));
    }
});
