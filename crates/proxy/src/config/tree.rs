//! The files' content as one tree that remembers where each part was written.

use std::collections::HashMap;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::Findings;
use super::problem::quoted;
use super::sources::Place;

/// A table: keys in the order of the files.
pub(super) type Table = IndexMap<String, Node>;

/// Where a key and its value stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) key: Place,
    pub(super) value: Place,
}

/// A value with its places.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) places: Places,
    pub(super) value: Value,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    /// An integer that 64 bits cannot hold.
    HugeInteger,
    Float(f64),
    Boolean(bool),
    Date,
    Array(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What it is, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) | Self::HugeInteger => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Date => "a date or time",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// The tree of one parsed file.
pub(super) fn from_toml(table: &DeTable<'_>, file: usize) -> Table {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), node(value, &key.span(), file))).collect()
}

fn node(value: &Spanned<DeValue<'_>>, key: &std::ops::Range<usize>, file: usize) -> Node {
    let place = |span: &std::ops::Range<usize>| Place { file, start: span.start, end: span.end };
    let places = Places { key: place(key), value: place(&value.span()) };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).map_or(Value::HugeInteger, Value::Integer),
        DeValue::Float(f) => Value::Float(f.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node(item, &item.span(), file)).collect()),
        DeValue::Table(table) => Value::Table(from_toml(table, file)),
    };
    Node { places, value }
}

/// Adds the tree of a further file: tables are joined, arrays of tables appended, anything said twice is an error.
pub(super) fn merge(into: &mut Table, from: Table, found: &mut Findings) {
    for (key, added) in from {
        let Some(present) = into.get_mut(&key) else {
            into.insert(key, added);
            continue;
        };
        match (&mut present.value, added.value) {
            (Value::Table(one), Value::Table(other)) => {
                for (inner, node) in other {
                    match one.get(&inner) {
                        Some(first) => twice(&join(&key, &inner), first.places.key, node.places.key, found),
                        None => drop(one.insert(inner, node)),
                    }
                }
            }
            (Value::Array(one), Value::Array(mut other)) => one.append(&mut other),
            _ => twice(&key, present.places.key, added.places.key, found),
        }
    }
}

/// Tables whose keys are names that the operator chose.
fn is_named(key: &str) -> bool {
    matches!(key, "channel" | "service" | "upstream")
}

fn twice(key: &str, first: Place, second: Place, found: &mut Findings) {
    let what = match key.split_once('.') {
        Some((kind, name)) if is_named(kind) => format!("{kind} {} is declared twice", quoted(name)),
        _ => format!("{} is set twice", quoted(key)),
    };
    found.said_twice(key, first, second, what);
}

/// The name of a key inside another.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Places by key, for all keys of the tree.
pub(super) fn index(table: &Table) -> HashMap<String, Places> {
    let mut places = HashMap::new();
    for (key, node) in table {
        note(&join("", key), node, &mut places);
    }
    places
}

fn note(path: &str, node: &Node, places: &mut HashMap<String, Places>) {
    places.insert(path.to_owned(), node.places);
    match &node.value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                note(&format!("{path}[{i}]"), item, places);
            }
        }
        Value::Table(table) => {
            for (key, inner) in table {
                note(&join(path, key), inner, places);
            }
        }
        Value::Text(_) | Value::Integer(_) | Value::HugeInteger | Value::Float(_) | Value::Boolean(_) | Value::Date => {
        }
    }
}

/// The same as plain TOML, for serde.
pub(super) fn into_toml(table: Table) -> toml::Table {
    table.into_iter().filter_map(|(key, node)| Some((key, plain(node.value)?))).collect()
}

/// `None` for what no key takes.
fn plain(value: Value) -> Option<toml::Value> {
    Some(match value {
        Value::Text(text) => toml::Value::String(text),
        Value::Integer(i) => toml::Value::Integer(i),
        Value::Float(f) => toml::Value::Float(f),
        Value::Boolean(b) => toml::Value::Boolean(b),
        Value::HugeInteger | Value::Date => return None,
        Value::Array(items) => toml::Value::Array(items.into_iter().filter_map(|n| plain(n.value)).collect()),
        Value::Table(table) => toml::Value::Table(into_toml(table)),
    })
}
