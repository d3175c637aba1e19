//! Whatever comes to the rails as a message of another bank: read or refused; what was read is written and read again as the same.
#![no_main]

use guichet_iso20022::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::read(bytes) {
        let written = message.write().expect("what was read can be written");
        assert_eq!(Message::read(written.as_bytes()).as_ref(), Ok(&message));
    }
});
