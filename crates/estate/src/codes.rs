//! Codes that are sent by text message.

use crate::problem::Problem;

/// Six digits, each as likely as another.
pub(crate) fn six_digits() -> Result<String, Problem> {
    // 2^32 mod 10^6 codes are likelier by one part in 4,294: drawn again, so that none is.
    const FAIR: u32 = u32::MAX - u32::MAX % 1_000_000;
    for _ in 0..64 {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
        let drawn = u32::from_le_bytes(bytes);
        if drawn < FAIR {
            return Ok(format!("{:06}", drawn % 1_000_000));
        }
    }
    Err(Problem::internal(&"the random source gives no fair code"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_six_digits_and_differ() {
        let codes: std::collections::HashSet<String> = (0..100).map(|_| six_digits().unwrap()).collect();
        assert!(
            codes.len() > 90 && codes.iter().all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))
        );
    }
}
