//! Good and bad messages, and that what is written is read as the same.

use super::*;
use proptest::prelude::*;

fn example() -> Transfer {
    Transfer {
        message: "MSG-1".into(),
        made_ms: 1_795_743_000_123,
        id: "TX-1".into(),
        end_to_end: "NOTPROVIDED".into(),
        amount_cents: 1250,
        accepted_ms: 1_795_743_000_000,
        payer_name: "Élise & <fils>".into(),
        payer_iban: "FR1420041010050500013M02606".into(),
        payer_bic: "OTHRFRPPXXX".into(),
        payee_name: "Bruno Martin".into(),
        payee_bic: "GUICFRPP".into(),
        payee: Payee::Iban("DE89370400440532013000".into()),
        text: "loyer".into(),
    }
}

fn xml() -> String {
    Message::Transfer(example()).write().unwrap()
}

/// The example with `from` replaced by `to`, which must be in it.
fn with(from: &str, to: &str) -> String {
    let xml = xml();
    assert!(xml.contains(from), "{from} is in {xml}");
    xml.replace(from, to)
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let by = |payee| Message::Transfer(Transfer { payee, text: String::new(), ..example() });
    let report = |status, reason: &str, words: &str| {
        Message::Report(Report {
            message: "R-1".into(),
            made_ms: 5,
            original_message: "MSG-1".into(),
            original: "TX-1".into(),
            end_to_end: String::new(),
            status,
            reason: reason.into(),
            words: words.into(),
        })
    };
    for message in [
        Message::Transfer(example()),
        by(Payee::Telephone("+33600000001".into())),
        by(Payee::Email("a.b@example.org".into())),
        report(Status::Settled, "", ""),
        report(Status::Accepted, "", ""),
        report(Status::Pending, "", ""),
        report(Status::Rejected, "AC01", "no such account"),
        Message::Request(Request {
            message: "Q-1".into(),
            made_ms: 7,
            original_message: "MSG-1".into(),
            original: "TX-1".into(),
        }),
    ] {
        let xml = message.write().unwrap();
        assert_eq!(Message::read(xml.as_bytes()), Ok(message), "{xml}");
    }
}

#[test]
fn prefixes_comments_and_what_else_the_schema_has_are_taken() {
    let xml = xml();
    let body = xml.split_once('\n').unwrap().1.replace("xmlns=", "xmlns:p=");
    let prefixed = body.replace("</", "\u{1}").replace('<', "<p:").replace('\u{1}', "</p:");
    for text in [
        prefixed,
        with("<PmtId>", "<!-- x --><PmtId><InstrId>I</InstrId>"),
        with("<Nm>Bruno Martin</Nm>", "<Nm>Bruno Martin</Nm><PstlAdr><Ctry>FR</Ctry></PstlAdr>"),
        with("<Nm>Bruno Martin</Nm>", "<Nm><![CDATA[Bruno Martin]]></Nm>"),
        with("12.50", " 12.5 "),
        with("12.50", "0012.5"),
    ] {
        assert_eq!(Message::read(text.as_bytes()), Ok(Message::Transfer(example())), "{text}");
    }
}

#[test]
fn a_transfer_with_something_wrong_is_refused_by_its_code() {
    for (from, to, reason) in [
        ("Ccy=\"EUR\"", "Ccy=\"USD\"", "AM03"),
        (" Ccy=\"EUR\"", "", "AM03"),
        ("12.50", "12.505", "AM12"),
        ("12.50", "-1", "AM12"),
        ("12.50", "1e3", "AM12"),
        ("12.50", "", "AM12"),
        ("12.50", "99999999999999999999", "AM12"),
        ("12.50", "999999999999999", "AM02"),
        ("12.50", "0.00", "AM01"),
        ("2606</IBAN>", "2607</IBAN>", "AC02"),
        ("3000</IBAN>", "3001</IBAN>", "AC01"),
        ("<IBAN>DE89370400440532013000</IBAN>", "", "BE06"),
        ("<IBAN>DE89370400440532013000</IBAN>", "<Othr><Id>123</Id></Othr>", "BE06"),
        ("OTHRFRPPXXX", "OTHRFRPPX", "RC01"),
        ("GUICFRPP", "guicfrpp", "RC01"),
        ("SLEV", "SHAR", "FF01"),
        ("<NbOfTxs>1</NbOfTxs>", "<NbOfTxs>2</NbOfTxs>", "FF01"),
        ("<SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>", "", "FF01"),
        ("NOTPROVIDED", "", "FF01"),
        ("Bruno Martin", "", "FF01"),
        ("loyer</Ustrd>", "loyer</Ustrd><Ustrd>2</Ustrd>", "FF01"),
        (".000Z</AccptncDtTm>", "</AccptncDtTm>", "DT01"),
    ] {
        match Message::read(with(from, to).as_bytes()) {
            Err(Fault::Refused(refusal)) => {
                assert_eq!((refusal.reason, refusal.transaction.as_str()), (reason, "TX-1"), "{from} {to}");
            }
            other => panic!("{from} -> {to}: {other:?}"),
        }
    }
    let long = with("Bruno Martin", &"x".repeat(141));
    assert!(matches!(Message::read(long.as_bytes()), Err(Fault::Refused(_))));
}

#[test]
fn what_can_not_be_answered_is_unreadable() {
    let (deep, wide) = ("<a>".repeat(40) + &"</a>".repeat(40), "<a/>".repeat(1001));
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    let xml = xml();
    let body = xml.split_once('\n').unwrap().1;
    for text in [
        String::new(),
        "{}".to_owned(),
        "<Document/>".to_owned(),
        xml[..xml.len() / 2].to_owned(),
        format!("{bomb}{body}"),
        format!("<?php x ?>{body}"),
        format!("{body}{body}"),
        with("pacs.008.001.08", "pacs.008.001.09"),
        with("urn:iso:std", "urn:other"),
        with("<MsgId>MSG-1</MsgId>", ""),
        with("MSG-1", &"M".repeat(36)),
        with("TX-1", ""),
        with("TX-1", "a\u{e9}"),
        with("loyer", "&undefined;"),
        with("<PmtId>", &format!("{deep}<PmtId>")),
        with("<PmtId>", &format!("{wide}<PmtId>")),
        with("loyer", &"x".repeat(MESSAGE_BYTES_MAX)),
        with("</CdtTrfTxInf>", "</CdtTrfTxInf><CdtTrfTxInf/>"),
        with("FIToFICstmrCdtTrf", "Other"),
    ] {
        let read = Message::read(text.as_bytes());
        assert!(matches!(read, Err(Fault::Unreadable(_))), "{}: {read:?}", text.chars().take(300).collect::<String>());
    }
    assert!(matches!(Message::read(&[0xff, 0xfe]), Err(Fault::Unreadable(_))));
}

#[test]
fn aliases_and_bics() {
    for (text, fits) in [
        ("a@b.fr", true),
        ("user0001@example.org", true),
        ("a+b@x-y.example", true),
        ("A@b.fr", false),
        ("a@b", false),
        ("a@@b.fr", false),
        ("@b.fr", false),
        ("a..b@c.fr", false),
        ("a b@c.fr", false),
        ("a@b.fr\r\nbcc: x@y.fr", false),
    ] {
        assert_eq!(email_fits(text), fits, "{text}");
    }
    for (text, fits) in [("+33600000001", true), ("0600000001", false), ("+1234567", false), ("+3360000000x", false)] {
        assert_eq!(telephone_fits(text), fits, "{text}");
    }
    for (text, fits) in [("GUICFRPP", true), ("GUICFRPPXXX", true), ("GUIC12PP", false), ("GUICFRPPX", false)] {
        assert_eq!(bic_fits(text), fits, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_in_any_place_breaks_it(text in ".{0,80}", place in 0_usize..3000, length in 0_usize..40) {
        let xml = xml();
        let floor = |n: usize| (0..=n.min(xml.len())).rev().find(|n| xml.is_char_boundary(*n)).unwrap_or(0);
        let (from, to) = (floor(place), floor(place + length));
        let changed = format!("{}{text}{}", &xml[..from], &xml[to..]);
        if let Ok(message) = Message::read(changed.as_bytes()) {
            let written = message.write().unwrap();
            prop_assert_eq!(Message::read(written.as_bytes()), Ok(message));
        }
    }
}
