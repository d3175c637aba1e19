//! Reads the main file and `conf.d/*.toml` into one tree.

use std::io;
use std::path::{Path, PathBuf};

use guichet_core::bounds;
use toml::de::DeTable;

use super::findings::Findings;
use super::problem::{Severity, printable};
use super::sources::{Place, Source, Surroundings};
use super::tree::{self, Table};

/// The files' joint tree; `None` where one could not be read or parsed, which is told in `found`.
pub(super) fn gather(world: &dyn Surroundings, main: &Path, found: &mut Findings) -> Option<Table> {
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let mut paths = vec![main.to_owned()];
    match world.toml_files_in(&folder) {
        Ok(more) => paths.extend(more),
        Err(error) => {
            let mend = "make the folder readable, or take it away".to_owned();
            found.whole_file(Severity::Error, folder.clone(), format!("cannot list the folder: {error}"), mend);
        }
    }
    if paths.len() > bounds::CONFIG_FILES_MAX {
        let cause = format!("there are more than {} files", bounds::CONFIG_FILES_MAX);
        found.whole_file(Severity::Error, folder, cause, "join some of them".into());
        paths.truncate(bounds::CONFIG_FILES_MAX);
    }
    let mut left = bounds::CONFIG_BYTES_MAX;
    let mut joint = Table::default();
    for path in paths {
        let Some(text) = text(world, path.clone(), &mut left, found) else { continue };
        found.sources.push(Source::new(path, text));
        if let Some(table) = parse(found) {
            tree::merge(&mut joint, table, found);
        }
    }
    // What a broken file does not say cannot be missed in it: the other steps would only mislead.
    (!found.has_errors() || found.only_duplicates()).then_some(joint)
}

/// The text of one file.
fn text(world: &dyn Surroundings, path: PathBuf, left: &mut usize, found: &mut Findings) -> Option<String> {
    let bytes = match world.read(&path, *left) {
        Ok(bytes) => bytes,
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::NotFound => "name the file with -c, or start from guichet.example.toml",
                io::ErrorKind::PermissionDenied => "make it readable for the user that runs guichet",
                _ => "look at the file and the disk it is on",
            };
            let cause = format!("cannot read the configuration: {error}");
            found.whole_file(Severity::Error, path, cause, mend.into());
            return None;
        }
    };
    if bytes.len() > *left {
        let cause = format!("the configuration has more than {} bytes in all", bounds::CONFIG_BYTES_MAX);
        found.whole_file(Severity::Error, path, cause, "make it smaller".into());
        return None;
    }
    *left -= bytes.len();
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found.sources.push(Source::new(path, text));
            let place = Place { file: found.sources.len() - 1, start: good, end: good + 1 };
            let cause = "this is not UTF-8".to_owned();
            found.raise(Severity::Error, Some(place), "", cause, "save the file as UTF-8".into(), None);
            None
        }
    }
}

/// Parses the last source.
fn parse(found: &mut Findings) -> Option<Table> {
    let file = found.sources.len() - 1;
    let (table, errors) = {
        let text = &found.sources[file].text;
        let (table, errors) = DeTable::parse_recoverable(text);
        let errors: Vec<_> = errors.into_iter().map(|e| (e.message().to_owned(), e.span())).collect();
        (errors.is_empty().then(|| tree::from_toml(table.get_ref(), file)), errors)
    };
    for (message, span) in errors {
        let place = span.map(|span| Place { file, start: span.start, end: span.end });
        let mend = mend(&message);
        found.raise(Severity::Error, place, "", printable(&message), mend.into(), None);
    }
    table
}

/// What to do about a syntax error.
fn mend(message: &str) -> &'static str {
    for (part, mend) in [
        ("duplicate key", "keep one of the two"),
        ("string values must be quoted", "put the value in double quotes"),
        ("quote", "close the string with the quote that opened it"),
        ("`=`", "write key = value"),
        ("`]`", "close the bracket"),
        ("`}`", "close the brace"),
        ("newline", "put what follows on a line of its own"),
        ("escape", "write \\\\ for a backslash, or use single quotes"),
        ("missing value", "write a value behind the ="),
    ] {
        if message.contains(part) {
            return mend;
        }
    }
    "write it as TOML: [table], then key = value lines"
}
