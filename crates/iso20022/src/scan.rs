//! A first look at a document, before anything is made of it: its size, its depth, and that it brings no definitions of its own.

use crate::bounds::{DEPTH_MAX, ELEMENTS_MAX, MESSAGE_BYTES_MAX};
use crate::{REPORT, REQUEST, TRANSFER};
use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};

/// Before the name of a message kind in its namespace.
pub(crate) const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:";

/// The text of a document that may be read. Errors are words: the place and the mend.
pub(crate) fn scan(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(format!("a message has {MESSAGE_BYTES_MAX} bytes at most"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "a message is UTF-8".to_owned())?;
    let mut reader = NsReader::from_str(text);
    let (mut depth, mut elements, mut roots) = (0_usize, 0_usize, 0_usize);
    loop {
        let (namespace, event) =
            reader.read_resolved_event().map_err(|error| format!("this is no XML: {}", short(&error.to_string())))?;
        match event {
            Event::Start(_) | Event::Empty(_) => {
                elements += 1;
                roots += usize::from(depth == 0);
                depth += usize::from(matches!(event, Event::Start(_)));
                if depth > DEPTH_MAX || elements > ELEMENTS_MAX || roots > 1 {
                    return Err(format!(
                        "a message is one element, {DEPTH_MAX} deep and with {ELEMENTS_MAX} elements at most"
                    ));
                }
                known(&namespace)?;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::DocType(_) => return Err("a message brings no document type: leave <!DOCTYPE out".to_owned()),
            Event::PI(_) => return Err("a message has no processing instructions".to_owned()),
            Event::Eof if depth == 0 && roots == 1 => return Ok(text),
            Event::Eof => return Err("the document is not whole".to_owned()),
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::GeneralRef(_) => {}
        }
    }
}

fn known(namespace: &ResolveResult<'_>) -> Result<(), String> {
    let ResolveResult::Bound(Namespace(name)) = namespace else {
        return Err(format!("the elements are in no namespace: xmlns takes {NAMESPACE}{TRANSFER} for a transfer"));
    };
    let name = name.strip_prefix(NAMESPACE).unwrap_or_default();
    let known = [TRANSFER, REPORT, REQUEST].contains(&name);
    if known { Ok(()) } else { Err(format!("taken are {TRANSFER}, {REPORT} and {REQUEST}; this is another message")) }
}

fn short(words: &str) -> String {
    words.chars().take(200).collect()
}
