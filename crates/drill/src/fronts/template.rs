//! Fills in the peers' configuration templates (`drills/peers/*.in`).
//!
//! The templates are the peers' own formats, so that who knows the peer can read and judge them; what is added is as
//! little as possible: `@{name}` for a value, and lines `@each LIST`, `@if NAME` and `@end` around whole lines.
//! Everything unknown is an error: a value that silently became empty would make a weak peer.

use std::collections::BTreeMap;

/// Values and lists that a template may use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    values: BTreeMap<&'static str, String>,
    lists: BTreeMap<&'static str, Vec<Scope>>,
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("line {line}: no value `{name}`")]
    NoValue { line: usize, name: String },
    #[error("line {line}: no list `{name}`")]
    NoList { line: usize, name: String },
    #[error("line {line}: `@{{` without `}}`")]
    Unclosed { line: usize },
    #[error("line {line}: `@each` or `@if` without `@end`")]
    NoEnd { line: usize },
    #[error("line {line}: `@end` without `@each` or `@if`")]
    StrayEnd { line: usize },
}

impl Scope {
    /// Adds a value; an empty one counts as false for `@if`.
    pub(crate) fn set(&mut self, name: &'static str, value: impl ToString) -> &mut Self {
        self.values.insert(name, value.to_string());
        self
    }

    /// Adds a list for `@each`.
    pub(crate) fn list(&mut self, name: &'static str, items: Vec<Scope>) -> &mut Self {
        self.lists.insert(name, items);
        self
    }

    /// Fills a template in.
    pub(crate) fn render(&self, template: &str) -> Result<String, TemplateError> {
        let lines: Vec<&str> = template.lines().collect();
        let mut out = String::with_capacity(template.len() * 2);
        render_lines(&lines, 1, &[self], &mut out)?;
        Ok(out)
    }
}

/// `scopes`: innermost last.
fn render_lines(lines: &[&str], first_line: usize, scopes: &[&Scope], out: &mut String) -> Result<(), TemplateError> {
    let mut index = 0;
    while index < lines.len() {
        let line = first_line + index;
        let text = lines[index].trim();
        if text == "@end" {
            return Err(TemplateError::StrayEnd { line });
        }
        let (each, condition) = (text.strip_prefix("@each "), text.strip_prefix("@if "));
        if each.is_none() && condition.is_none() {
            substitute(lines[index], line, scopes, out)?;
            index += 1;
            continue;
        }
        let end = block_end(lines, index).ok_or(TemplateError::NoEnd { line })?;
        let body = &lines[index + 1..end];
        if let Some(name) = each {
            let list = scopes.iter().rev().find_map(|s| s.lists.get(name));
            for item in list.ok_or_else(|| TemplateError::NoList { line, name: name.to_owned() })? {
                let inner: Vec<&Scope> = scopes.iter().copied().chain([item]).collect();
                render_lines(body, line + 1, &inner, out)?;
            }
        } else if let Some(name) = condition
            && !value(name, line, scopes)?.is_empty()
        {
            render_lines(body, line + 1, scopes, out)?;
        }
        index = end + 1;
    }
    Ok(())
}

/// The index of the `@end` that closes the block opened at `open`.
fn block_end(lines: &[&str], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, line) in lines.iter().enumerate().skip(open) {
        let text = line.trim();
        if text.starts_with("@each ") || text.starts_with("@if ") {
            depth += 1;
        } else if text == "@end" {
            depth -= 1;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

fn value<'a>(name: &str, line: usize, scopes: &[&'a Scope]) -> Result<&'a str, TemplateError> {
    let found = scopes.iter().rev().find_map(|s| s.values.get(name));
    found.map(String::as_str).ok_or_else(|| TemplateError::NoValue { line, name: name.to_owned() })
}

fn substitute(text: &str, line: usize, scopes: &[&Scope], out: &mut String) -> Result<(), TemplateError> {
    let mut rest = text;
    // A comment that explains the templates may show the notation itself.
    let is_comment = text.trim_start().starts_with('#');
    while let Some(start) = rest.find("@{").filter(|_| !is_comment) {
        out.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let end = after.find('}').ok_or(TemplateError::Unclosed { line })?;
        out.push_str(value(&after[..end], line, scopes)?);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    out.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let service = |name: &str, cookie: &str| {
            let mut s = Scope::default();
            s.set("name", name).set("cookie", cookie);
            s
        };
        let mut scope = Scope::default();
        scope.set("port", 80).list("services", vec![service("a", "a_session"), service("b", "")]);
        scope
    }

    #[test]
    fn templates_are_filled_in_or_refused() {
        use TemplateError as E;
        for (template, expected) in [
            ("listen @{port};", Ok("listen 80;\n")),
            ("@each services\n@{name}:@{port}\n@end\nx", Ok("a:80\nb:80\nx\n")),
            ("@each services\n@if cookie\n@{cookie}\n@end\n@{name}\n@end", Ok("a_session\na\nb\n")),
            ("# @{not} a value", Ok("# @{not} a value\n")),
            ("x\n@{nothing}", Err(E::NoValue { line: 2, name: "nothing".to_owned() })),
            ("@each nothing\n@end", Err(E::NoList { line: 1, name: "nothing".to_owned() })),
            ("@if nothing\n@end", Err(E::NoValue { line: 1, name: "nothing".to_owned() })),
            ("@each services\nx", Err(E::NoEnd { line: 1 })),
            ("x\n@end", Err(E::StrayEnd { line: 2 })),
            ("@{port", Err(E::Unclosed { line: 1 })),
        ] {
            assert_eq!(scope().render(template), expected.map(str::to_owned), "{template}");
        }
    }
}
