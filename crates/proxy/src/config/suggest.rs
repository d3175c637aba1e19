//! "Did you mean": the nearest of the names that would have been right.

/// Longest name that is compared, in characters: distance is quadratic.
const COMPARED_CHARS: usize = 48;

/// The candidate nearest to `given`, if it is near enough to be a slip of the pen.
pub(super) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.chars().nth(COMPARED_CHARS).is_some() {
        return None;
    }
    let given_low = given.to_lowercase().replace('-', "_");
    let far = (given.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .filter(|c| c.len() <= COMPARED_CHARS)
        .map(|c| (distance(&given_low, &c.to_lowercase().replace('-', "_")), c))
        .filter(|&(d, _)| d < far || d == 0)
        .min_by_key(|&(d, _)| d)
        .map(|(_, c)| c)
}

/// The mend for a name that is not among `candidates`.
pub(super) fn mend(given: &str, candidates: &[&str], what: &str) -> String {
    if let Some(near) = nearest(given, candidates.iter().copied()) {
        return format!("did you mean '{near}'?");
    }
    if candidates.is_empty() {
        return format!("no {what} is declared");
    }
    let shown: Vec<_> = candidates.iter().take(20).copied().collect();
    let more = if candidates.len() > shown.len() { ", \u{2026}" } else { "" };
    format!("{what}: {}{more}", shown.join(", "))
}

/// Edits (insert, delete, replace, swap of neighbours) from one to the other: optimal string alignment.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("queue", "queue", 0),
            ("queu", "queue", 1),
            ("qeuue", "queue", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let keys = ["queue", "hosts", "upstream"];
        assert_eq!(nearest("queu", keys), Some("queue"));
        assert_eq!(nearest("Hosts", keys), Some("hosts"));
        assert_eq!(nearest("host", keys), Some("hosts"));
        assert_eq!(nearest("zebra", keys), None);
        assert_eq!(nearest(&"q".repeat(10_000), keys), None);
        assert_eq!(mend("zebra", &keys, "known keys"), "known keys: queue, hosts, upstream");
    }
}
