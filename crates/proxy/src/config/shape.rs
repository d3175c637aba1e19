//! Holds the files' tree against the schema: unknown keys, wrong kinds, bounds, choices, missing keys.
//!
//! serde would stop at the first of these. Here all are told, each with its place, and what is wrong is taken out, so
//! that what is right can still be checked for sense.

use serde_json::Value as Schema;

use super::findings::Findings;
use super::problem::{Severity, quoted};
use super::schema::{SCHEMA, choices, resolve};
use super::suggest;
use super::tree::{Node, Places, Table, Value, join};

/// Takes out of `table` what does not fit the schema, and tells why.
pub(super) fn conform(table: &mut Table, head: Places, found: &mut Findings) {
    Shape { found }.table(&SCHEMA, table, head, "");
}

struct Shape<'a> {
    found: &'a mut Findings,
}

impl Shape<'_> {
    /// Whether the node fits and stays.
    fn node(&mut self, schema: &Schema, node: &mut Node, path: &str) -> bool {
        // Bounds stand beside a `$ref`, not behind it.
        let target = resolve(&SCHEMA, schema);
        if let Some(options) = target.get("anyOf").and_then(Schema::as_array) {
            return self.any_of(options, node, path);
        }
        let choices = choices(target);
        let places = node.places;
        match &mut node.value {
            Value::Text(text) if !choices.is_empty() => self.choice(&choices, text, places, path),
            Value::Text(_) if is(target, "string") => true,
            Value::Boolean(_) if is(target, "boolean") => true,
            Value::Integer(i) if is(target, "integer") => self.integer(schema, *i, places, path),
            Value::Integer(i) if is(target, "number") => self.number(schema, *i as f64, places, path),
            Value::Float(f) if is(target, "number") => self.number(schema, *f, places, path),
            Value::HugeInteger if is(target, "integer") || is(target, "number") => {
                let cause = format!("'{}' does not fit into 64 bits", last(path));
                self.wrong(places, path, cause, format!("write {}", range(schema)))
            }
            Value::Array(items) if is(target, "array") => self.array(schema, target, items, places, path),
            Value::Table(table) if is(target, "object") => {
                self.table(target, table, places, path);
                true
            }
            value => {
                let cause = format!("'{}' must be {}, and is {}", last(path), wanted(target), value.kind());
                let mend = example(target, path, value);
                self.wrong(places, path, cause, mend)
            }
        }
    }

    fn table(&mut self, schema: &Schema, table: &mut Table, head: Places, path: &str) {
        let properties = schema.get("properties").and_then(Schema::as_object);
        let any = schema.get("additionalProperties").filter(|s| s.is_object());
        // Before anything is taken out: what is there and wrong is not missing too.
        for name in schema.get("required").and_then(Schema::as_array).into_iter().flatten().filter_map(Schema::as_str) {
            if !table.contains_key(name) {
                self.missing(schema, name, head, path);
            }
        }
        table.retain(|key, node| {
            let inner = join(path, key);
            match properties.and_then(|p| p.get(key)).or(any) {
                Some(schema) => self.node(schema, node, &inner),
                None => {
                    let known: Vec<&str> = properties.into_iter().flatten().map(|(k, _)| k.as_str()).collect();
                    self.unknown(key, &known, node.places, &inner)
                }
            }
        });
        if !self.count(schema, "Properties", table.len(), head, path) {
            // The later checks compare each with each: they are spared what is too much anyway.
            let most = schema.get("maxProperties").and_then(Schema::as_u64).and_then(|n| usize::try_from(n).ok());
            table.truncate(most.unwrap_or(usize::MAX));
        }
    }

    fn unknown(&mut self, key: &str, known: &[&str], places: Places, path: &str) -> bool {
        // Past the bound problems are only counted: no time is spent on advice that nobody sees.
        let mend = if self.found.is_full() { String::new() } else { suggest::mend(key, known, "the keys here are") };
        self.found.raise(Severity::Error, Some(places.key), path, format!("unknown key {}", quoted(key)), mend, None);
        false
    }

    fn missing(&mut self, schema: &Schema, name: &str, head: Places, path: &str) {
        let owner = if path.is_empty() { "the configuration".to_owned() } else { format!("'{path}'") };
        let property = &schema["properties"][name];
        let target = resolve(&SCHEMA, property);
        let what = property.get("description").or_else(|| target.get("description"));
        let what = what.and_then(Schema::as_str).unwrap_or_default().replace('\n', " ");
        let form = if is(target, "object") {
            format!("[{name}.NAME]")
        } else if target.get("items").is_some_and(|i| is(resolve(&SCHEMA, i), "object")) {
            format!("[[{name}]]")
        } else {
            format!("{name} = \u{2026}")
        };
        let mend = format!("add `{form}`: {what}");
        let place = (!path.is_empty()).then_some(head.key);
        self.found.raise(Severity::Error, place, &join(path, name), format!("{owner} lacks '{name}'"), mend, None);
    }

    fn array(&mut self, schema: &Schema, target: &Schema, items: &mut [Node], at: Places, path: &str) -> bool {
        let good = self.count(schema, "Items", items.len(), at, path);
        let Some(inner) = target.get("items") else { return true };
        let mut kept = Vec::with_capacity(items.len());
        for (i, item) in items.iter_mut().enumerate() {
            kept.push(self.node(inner, item, &format!("{path}[{i}]")));
        }
        // What is wrong stays in tables' arrays as an empty table: positions are part of every later message.
        if is(resolve(&SCHEMA, inner), "object") {
            for (item, _) in items.iter_mut().zip(&kept).filter(|(_, kept)| !**kept) {
                item.value = Value::Table(Table::default());
            }
            return good;
        }
        good && kept.into_iter().all(|kept| kept)
    }

    /// Whether the number of parts is within its bounds.
    fn count(&mut self, schema: &Schema, of: &str, count: usize, at: Places, path: &str) -> bool {
        let bound = |name: String| schema.get(name).and_then(Schema::as_u64);
        let (min, max) = (bound(format!("min{of}")).unwrap_or(0), bound(format!("max{of}")).unwrap_or(u64::MAX));
        if (min..=max).contains(&(count as u64)) {
            return true;
        }
        let mend =
            if (count as u64) < min { format!("give at least {min}") } else { format!("keep at most {max} of them") };
        self.wrong(at, path, format!("'{}' has {count} entries", last(path)), mend)
    }

    fn any_of(&mut self, options: &[Schema], node: &mut Node, path: &str) -> bool {
        let fits = |option: &&Schema| {
            let target = resolve(&SCHEMA, option);
            match &node.value {
                Value::Text(_) => is(target, "string"),
                Value::Table(_) => is(target, "object"),
                Value::Integer(_)
                | Value::HugeInteger
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Date
                | Value::Array(_) => false,
            }
        };
        if let Some(option) = options.iter().find(fits) {
            return self.node(option, node, path);
        }
        let kinds: Vec<_> = options.iter().map(|o| wanted(resolve(&SCHEMA, o))).collect();
        let cause = format!("'{}' must be {}, and is {}", last(path), kinds.join(" or "), node.value.kind());
        let key = options.iter().find_map(|o| resolve(&SCHEMA, o).get("required")?.as_array()?.first()?.as_str());
        let mend = match key {
            Some("address") => "write \"host:port\", or { address = \"host:port\", weight = 2 }".to_owned(),
            other => format!("write \"name\", or {{ {} = \"name\", \u{2026} }}", other.unwrap_or_default()),
        };
        self.wrong(node.places, path, cause, mend)
    }

    fn choice(&mut self, choices: &[(&str, &str)], given: &str, at: Places, path: &str) -> bool {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        if names.contains(&given) {
            return true;
        }
        let cause = format!("'{}' cannot be {}", last(path), quoted(given));
        self.wrong(at, path, cause, suggest::mend(given, &names, "choose one of"))
    }

    fn integer(&mut self, schema: &Schema, given: i64, at: Places, path: &str) -> bool {
        let low = schema.get("minimum").and_then(Schema::as_i64).unwrap_or(i64::MIN);
        // A bound above 63 bits is none: TOML has no such integer.
        let high = schema.get("maximum").and_then(Schema::as_i64).unwrap_or(i64::MAX);
        if (low..=high).contains(&given) {
            return true;
        }
        self.wrong(at, path, format!("'{}' cannot be {given}", last(path)), format!("write {}", range(schema)))
    }

    fn number(&mut self, schema: &Schema, given: f64, at: Places, path: &str) -> bool {
        let low = schema.get("minimum").and_then(Schema::as_f64).unwrap_or(f64::MIN);
        let high = schema.get("maximum").and_then(Schema::as_f64).unwrap_or(f64::MAX);
        if given >= low && given <= high {
            return true;
        }
        self.wrong(at, path, format!("'{}' cannot be {given}", last(path)), format!("write {}", range(schema)))
    }

    fn wrong(&mut self, at: Places, path: &str, cause: String, mend: String) -> bool {
        self.found.raise(Severity::Error, Some(at.value), path, cause, mend, None);
        false
    }
}

fn is(schema: &Schema, kind: &str) -> bool {
    schema.get("type").and_then(Schema::as_str) == Some(kind)
}

/// The last key of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn wanted(schema: &Schema) -> &'static str {
    if !choices(schema).is_empty() {
        return "a string";
    }
    match schema.get("type").and_then(Schema::as_str) {
        Some("string") => "a string",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "an array",
        Some("object") => "a table",
        _ => "something else",
    }
}

/// The range of a number, in words.
fn range(schema: &Schema) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(low), Some(high)) => format!("a number from {low} to {high}"),
        (Some(low), None) => format!("a number of at least {low}"),
        (None, Some(high)) => format!("a number of at most {high}"),
        (None, None) => "a number".to_owned(),
    }
}

/// How the right kind of value looks.
fn example(schema: &Schema, path: &str, given: &Value) -> String {
    let names: Vec<_> = choices(schema).into_iter().map(|(name, _)| format!("\"{name}\"")).collect();
    if !names.is_empty() {
        return format!("write one of {}", names.join(", "));
    }
    let key = last(path).split('[').next().unwrap_or_default();
    match (schema.get("type").and_then(Schema::as_str), given) {
        (Some("string"), Value::Array(_)) => format!("write a single one: {key} = \"\u{2026}\""),
        (Some("string"), _) => format!("put it in quotes: {key} = \"\u{2026}\""),
        (Some("integer" | "number"), Value::Text(_)) => format!("write the number without quotes: {key} = 10"),
        (Some("integer"), _) => format!("write a whole number: {key} = 10"),
        (Some("number"), _) => format!("write a number: {key} = 0.5"),
        (Some("boolean"), _) => format!("write {key} = true or {key} = false, without quotes"),
        (Some("array"), Value::Text(_)) => format!("put it in brackets: {key} = [\"\u{2026}\"]"),
        (Some("array"), Value::Table(_)) => format!("double the brackets: [[{key}]]"),
        (Some("array"), _) => format!("write an array: {key} = [\u{2026}]"),
        (Some("object"), Value::Array(_)) if schema.get("properties").is_none() => {
            format!("use single brackets and a name: [{path}.NAME]")
        }
        (Some("object"), Value::Array(_)) => format!("use single brackets: [{path}]"),
        (Some("object"), _) => format!("write a table: {key} = {{ \u{2026} }}"),
        _ => "see the reference".to_owned(),
    }
}
