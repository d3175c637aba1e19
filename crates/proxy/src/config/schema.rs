//! The JSON schema of the configuration, and the reference page drawn from it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::Value;

use super::raw;

/// The schema, made once.
pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = schemars::schema_for!(raw::Config).to_value();
    tidy(&mut schema);
    schema
});

/// The JSON schema (2020-12) of `guichet.toml`: for editors, and for whoever generates configuration.
#[must_use]
pub fn schema() -> Value {
    SCHEMA.clone()
}

/// Takes out what means nothing in TOML: null, and defaults of required keys and of whole tables.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = object.get_mut("anyOf") {
                options.retain(|option| option.get("type") != Some(&"null".into()));
                if let [Value::Object(only)] = options.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            object.retain(|key, value| key != "default" || !(value.is_null() || value.is_object()));
            let required: Vec<String> = object
                .get("required")
                .and_then(Value::as_array)
                .map(|names| names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect())
                .unwrap_or_default();
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                for name in required {
                    if let Some(Value::Object(property)) = properties.get_mut(&name) {
                        property.remove("default");
                    }
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema behind a `$ref`, with nothing else changed.
pub(super) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    match schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).unwrap_or(schema),
        None => schema,
    }
}

/// Every value that a choice allows, with what it means; empty where the schema is no choice.
pub(super) fn choices(schema: &Value) -> Vec<(&str, &str)> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let told = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    plain
        .filter_map(|value| value.as_str().map(|v| (v, "")))
        .chain(told.filter_map(|option| {
            let name = option.get("const")?.as_str()?;
            Some((name, option.get("description").and_then(Value::as_str).unwrap_or_default()))
        }))
        .collect()
}

/// The reference page: every table and key with its kind, default, bounds and meaning.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = String::new();
    table(&SCHEMA, "", &mut out);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn table(schema: &Value, path: &str, out: &mut String) {
    let mut inner = Vec::new();
    let mut rows = String::new();
    for (key, property) in properties(schema) {
        let place = Place::of(path, key, property);
        match place {
            Some(place) => inner.push((place, property)),
            None => row(schema, key, property, &mut rows),
        }
    }
    if !rows.is_empty() {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "| key | value | default | meaning |\n|---|---|---|---|\n{rows}");
    }
    for (place, property) in inner {
        let target = place.schema(property);
        let depth = "#".repeat(if path.is_empty() { 2 } else { 3 });
        let _ = writeln!(out, "{depth} `{}`\n", place.heading());
        let _ = writeln!(out, "{}\n", said(property, target));
        table(target, &place.path, out);
    }
}

/// A table inside the configuration.
struct Place {
    path: String,
    kind: Kind,
}

#[derive(PartialEq)]
enum Kind {
    One,
    Named,
    Many,
}

impl Place {
    /// `None` where the property is a single value.
    fn of(path: &str, key: &str, property: &Value) -> Option<Self> {
        let join =
            |suffix: &str| if path.is_empty() { format!("{key}{suffix}") } else { format!("{path}.{key}{suffix}") };
        let target = resolve(&SCHEMA, property);
        if target.get("properties").is_some() {
            return Some(Self { path: join(""), kind: Kind::One });
        }
        if target.get("additionalProperties").is_some_and(Value::is_object) {
            return Some(Self { path: join(".NAME"), kind: Kind::Named });
        }
        let items = resolve(&SCHEMA, target.get("items")?);
        items.get("properties").is_some().then(|| Self { path: join(""), kind: Kind::Many })
    }

    fn heading(&self) -> String {
        if self.kind == Kind::Many { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }

    fn schema<'s>(&self, property: &'s Value) -> &'s Value {
        let target = resolve(&SCHEMA, property);
        let inner = match self.kind {
            Kind::One => Some(target),
            Kind::Named => target.get("additionalProperties"),
            Kind::Many => target.get("items"),
        };
        inner.map_or(target, |inner| resolve(&SCHEMA, inner))
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// What a key means: its own comment, or else that of its type.
fn said(property: &Value, target: &Value) -> String {
    let own = property.get("description").or_else(|| target.get("description"));
    own.and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

fn row(owner: &Value, key: &str, property: &Value, rows: &mut String) {
    let target = resolve(&SCHEMA, property);
    let required = owner["required"].as_array().is_some_and(|names| names.iter().any(|n| n == key));
    let default = match property.get("default") {
        _ if required => "**required**".to_owned(),
        Some(value) => format!("`{value}`"),
        None => "none".to_owned(),
    };
    let mut meaning = said(property, target);
    for (choice, what) in choices(target) {
        let _ = write!(meaning, "<br>`{choice}`: {what}");
    }
    for (inner, property) in inner_keys(target) {
        let default = property.get("default").map_or_else(String::new, |value| format!(", default `{value}`"));
        let kind = kind(property, resolve(&SCHEMA, property));
        let _ = write!(meaning, "<br>`{inner}` ({kind}{default}): {}", said(property, property));
    }
    let _ = writeln!(rows, "| `{key}` | {} | {default} | {} |", kind(property, target), meaning.replace('|', "\\|"));
}

/// The keys of inline tables that an array takes besides single values.
fn inner_keys(target: &Value) -> Vec<(&String, &Value)> {
    let items = target.get("items").map(|items| resolve(&SCHEMA, items));
    let options = items.and_then(|items| items.get("anyOf")).and_then(Value::as_array);
    options.into_iter().flatten().flat_map(|option| properties(resolve(&SCHEMA, option))).collect()
}

/// The kind of a value, with its bounds.
fn kind(property: &Value, target: &Value) -> String {
    if !choices(target).is_empty() {
        return "choice".into();
    }
    let base = match target.get("type").and_then(Value::as_str) {
        Some("string") => "string",
        Some("integer") => "integer",
        Some("number") => "number",
        Some("boolean") => "true or false",
        Some("array") => "array",
        _ => "see right",
    };
    let bound = |name: &str| property.get(name).filter(|v| v.is_number()).map(Value::to_string);
    let (low, high) = match base {
        "array" => (bound("minItems"), bound("maxItems")),
        _ => (bound("minimum"), bound("maximum")),
    };
    match (low, high) {
        (Some(low), Some(high)) => format!("{base}, {low} to {high}"),
        (None, Some(high)) => format!("{base}, at most {high}"),
        (Some(low), None) if low != "0" => format!("{base}, at least {low}"),
        (_, None) => base.to_owned(),
    }
}
