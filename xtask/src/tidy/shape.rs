//! Files and functions stay short enough to be read.

use super::text::{code, line_of, words};
use super::{Finding, Tree};

const FILE_LINES_HARD: usize = 500;
const FILE_LINES_SOFT: usize = 400;
const FUNCTION_LINES_HARD: usize = 90;
const FUNCTION_LINES_SOFT: usize = 70;

/// Long files and functions.
pub(crate) fn lengths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(".rs") {
        let lines = file.text.lines().count();
        findings.extend(judge(&file.path, 0, "the file", lines, FILE_LINES_SOFT, FILE_LINES_HARD));
        let code = code(&file.text);
        for (name, line, lines) in functions(&code) {
            let what = format!("the function {name}");
            findings.extend(judge(&file.path, line, &what, lines, FUNCTION_LINES_SOFT, FUNCTION_LINES_HARD));
        }
    }
    findings
}

fn judge(path: &str, line: usize, what: &str, lines: usize, soft: usize, hard: usize) -> Option<Finding> {
    if lines > hard {
        return Some(Finding::hard(path, line, format!("{what} has {lines} lines; at most {hard}: make it two")));
    }
    (lines > soft).then(|| Finding::soft(path, line, format!("{what} has {lines} lines; better at most {soft}")))
}

/// Functions with bodies: name, first line, number of lines.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for at in words(code, "fn") {
        let rest = &code[at + 2..];
        let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // `fn(u8)` is a type.
        if name.is_empty() {
            continue;
        }
        let Some(length) = body_end(rest) else { continue };
        let line = line_of(code, at);
        functions.push((name, line, rest[..length].matches('\n').count() + 1));
    }
    functions
}

/// Behind the body's closing brace; `None`: there is no body.
fn body_end(rest: &str) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (i, c) in rest.char_indices() {
        match c {
            ';' if braces == 0 && others == 0 => return None,
            '(' | '[' if braces == 0 => others += 1,
            ')' | ']' if braces == 0 => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces == 1 => return Some(i + 1),
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let source = "trait A { fn none(&self) -> [u8; 4]; }\nfn one() { a(); }\npub fn four(x: fn(u8) -> u8)\n{\n  if x { }\n}\n";
        assert_eq!(functions(source), [("one".into(), 2, 1), ("four".into(), 3, 4)]);
    }

    #[test]
    fn long_ones_are_told() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
        check(lengths, &[("a.rs", &body(70))], &[]);
        check(lengths, &[("a.rs", &body(91))], &["a.rs:1"]);
        let soft = lengths(&Tree::of(&[("a.rs", &body(71))]));
        assert!(!soft[0].hard, "{soft:?}");
        check(lengths, &[("a.rs", &"// x\n".repeat(500)), ("b.rs", &"// x\n".repeat(400))], &["a.rs:0"]);
        assert!(lengths(&Tree::of(&[("a.rs", &"// x\n".repeat(501))]))[0].hard);
    }
}
