//! Amounts as people write and read them.

/// Reads an amount in euros (`12`, `12.5`, `12,50`) as cents, more than nothing.
///
/// # Errors
/// Says what it takes.
pub(crate) fn cents(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is no amount: takes euros as 12 or 12.50");
    let (euros, cents) = text.split_once(['.', ',']).unwrap_or((text, "00"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(euros) || !digits(cents) || euros.len() > 7 || cents.len() > 2 {
        return Err(wrong());
    }
    let tens: i64 = if cents.len() == 1 { 10 } else { 1 };
    let euros: i64 = euros.parse().map_err(|_| wrong())?;
    let cents: i64 = cents.parse().map_err(|_| wrong())?;
    match euros * 100 + cents * tens {
        0 => Err("the amount is nothing".to_owned()),
        amount => Ok(amount),
    }
}

/// An amount for a reader: `1 234,50 €` in French, `€1,234.50` in English.
pub(crate) fn shown(cents: i64, fr: bool) -> String {
    let (euros, rest) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
    let digits = euros.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(if fr { '\u{202f}' } else { ',' });
        }
        grouped.push(digit);
    }
    let sign = if cents < 0 { "\u{2212}" } else { "" };
    if fr { format!("{sign}{grouped},{rest:02}\u{a0}€") } else { format!("{sign}€{grouped}.{rest:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, expected) in [
            ("12", Some(1200)),
            (" 12.5 ", Some(1250)),
            ("12,05", Some(1205)),
            ("0.01", Some(1)),
            ("9999999", Some(999_999_900)),
            ("0", None),
        ] {
            assert_eq!(cents(text).ok(), expected, "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "1.234", "1e3", "12345678", "+1", "1 000"] {
            assert!(cents(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_as_people_read_them() {
        for (cents, fr, en) in [
            (0, "0,00\u{a0}€", "€0.00"),
            (1_234_567, "12\u{202f}345,67\u{a0}€", "€12,345.67"),
            (-5, "\u{2212}0,05\u{a0}€", "\u{2212}€0.05"),
            (100_000_000, "1\u{202f}000\u{202f}000,00\u{a0}€", "€1,000,000.00"),
        ] {
            assert_eq!((shown(cents, true).as_str(), shown(cents, false).as_str()), (fr, en));
        }
    }
}
