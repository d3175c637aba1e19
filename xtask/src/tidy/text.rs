//! Just enough of Rust's lexical rules to tell code from comments, strings and tests.

/// The text with comments, strings and characters turned into spaces; lines stay where they are.
pub(crate) fn code(source: &str) -> String {
    split(source).0
}

/// The text with everything but comments turned into spaces.
pub(crate) fn comments(source: &str) -> String {
    split(source).1
}

/// The code without what is compiled for tests only.
pub(crate) fn shipped_code(source: &str) -> String {
    let mut code = code(source);
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = item_end(&code, start + "#[cfg(test)]".len());
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}

/// Where the item after an attribute ends: behind its `;`, or behind its matching brace.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (i, c) in code[from..].char_indices() {
        match c {
            ';' | ',' if depth == 0 => return from + i + 1,
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 1 => return from + i + 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// Lines before an offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Offsets at which a word stands by itself.
pub(crate) fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    // A word that begins or ends with a sign, such as `println!(`, has no border there.
    let (open, shut) = (word.starts_with(part), word.ends_with(part));
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back().is_some_and(part) && open;
        let after = text[at + word.len()..].chars().next().is_some_and(part) && shut;
        !before && !after
    })
}

/// Code and comments, each with the other blanked.
fn split(source: &str) -> (String, String) {
    let chars: Vec<char> = source.chars().collect();
    let (mut code, mut comments) = (String::with_capacity(source.len()), String::with_capacity(source.len()));
    let mut i = 0;
    while i < chars.len() {
        let (end, kind) = token(&chars, i);
        for &c in &chars[i..end] {
            let blank = |keep: bool| if keep || c == '\n' { c } else { ' ' };
            code.push(blank(kind == Kind::Code));
            comments.push(blank(kind == Kind::Comment));
        }
        i = end;
    }
    (code, comments)
}

#[derive(PartialEq, Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// The token at `i`: where it ends, and what it is.
fn token(chars: &[char], i: usize) -> (usize, Kind) {
    let at = |k: usize| chars.get(k).copied().unwrap_or('\0');
    match (at(i), at(i + 1)) {
        ('/', '/') => ((i..chars.len()).find(|&k| at(k) == '\n').unwrap_or(chars.len()), Kind::Comment),
        ('/', '*') => (block_end(chars, i), Kind::Comment),
        ('"', _) => (string_end(chars, i + 1), Kind::Literal),
        ('r', '"' | '#') if !is_word(chars, i) => match raw_end(chars, i + 1) {
            Some(end) => (end, Kind::Literal),
            None => (i + 1, Kind::Code),
        },
        ('\'', '\\') => {
            let end = (i + 3..chars.len()).find(|&k| at(k) == '\'').map_or(chars.len(), |k| k + 1);
            (end, Kind::Literal)
        }
        ('\'', _) if at(i + 2) == '\'' => (i + 3, Kind::Literal),
        _ => (i + 1, Kind::Code),
    }
}

/// Whether the character before `i` makes it part of a word; `br"..."` is a literal all the same.
fn is_word(chars: &[char], i: usize) -> bool {
    let before = i.checked_sub(1).and_then(|k| chars.get(k)).copied().unwrap_or(' ');
    (before.is_alphanumeric() || before == '_') && before != 'b' && before != 'c'
}

fn block_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut k = start;
    while k + 1 < chars.len() {
        match (chars[k], chars[k + 1]) {
            ('/', '*') => (depth, k) = (depth + 1, k + 2),
            ('*', '/') if depth == 1 => return k + 2,
            ('*', '/') => (depth, k) = (depth - 1, k + 2),
            _ => k += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut k: usize) -> usize {
    while k < chars.len() {
        match chars[k] {
            '\\' => k += 2,
            '"' => return k + 1,
            _ => k += 1,
        }
    }
    chars.len()
}

/// The end of `#..#"..."#..#`, whose first sign is at `k`; `None`: it is no raw string.
fn raw_end(chars: &[char], k: usize) -> Option<usize> {
    let hashes = chars[k..].iter().take_while(|c| **c == '#').count();
    if chars.get(k + hashes) != Some(&'"') {
        return None;
    }
    let close =
        |at: usize| chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    let end = (k + hashes + 1..chars.len()).find(|&at| close(at));
    Some(end.map_or(chars.len(), |at| at + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_no_code() {
        for (source, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ */ d", "a                 d"),
            ("f(\"x // y\")", "f(        )"),
            ("f(\"\\\"x\")", "f(     )"),
            ("r#\"a\"b\"# c", "         c"),
            ("'a' 'b: &'a str", "    'b: &'a str"),
            ("'\\'' x", "     x"),
            ("br\"x\" y", "b     y"),
            ("for r in x", "for r in x"),
        ] {
            assert_eq!(code(source), expected, "{source}");
        }
        assert_eq!(comments("a // TODO\nb"), "  // TODO\n ");
    }

    #[test]
    fn tests_are_not_shipped() {
        let source =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}";
        let shipped = shipped_code(source);
        let left: Vec<_> = shipped.split_whitespace().collect();
        assert_eq!(left, ["fn", "a()", "{}", "fn", "c()", "{}", "fn", "d()", "{}"]);
        assert_eq!(line_of(&shipped, shipped.find("fn d").expect("d")), 9);
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("rand rand_x xrand rand::y", "rand").collect::<Vec<_>>(), [0, 18]);
        assert_eq!(words("println!(x)", "println!").collect::<Vec<_>>(), [0]);
        assert_eq!(words("eprintln!(x)", "println!").count(), 0);
    }
}
