//! The files of a configuration, and the world that they are read from.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use guichet_core::bounds;

/// What loading a configuration may look at outside itself. Tests and fuzz targets bring a world in memory.
pub trait Surroundings {
    /// The bytes of a file, at most `bytes_max` of them and one more where there are more.
    ///
    /// # Errors
    /// Those of opening and reading.
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>>;
    /// The `*.toml` files directly in a folder, sorted by name; none where the folder does not exist.
    ///
    /// # Errors
    /// Those of reading a folder that exists.
    fn toml_files_in(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// Whether others than the owner may read a file; `None`: not known.
    fn readable_by_others(&self, path: &Path) -> Option<bool>;
    /// Seconds since 1970, to tell certificates that have expired.
    fn now_unix_s(&self) -> i64;
    /// Processor cores, for `workers = 0`.
    fn cores(&self) -> usize;
}

/// The machine: its disk, environment, clock and cores.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl Surroundings for Machine {
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn toml_files_in(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        // One entry past the bound is kept, so that the caller sees that there are too many.
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "toml") && files.len() <= bounds::CONFIG_FILES_MAX {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn readable_by_others(&self, path: &Path) -> Option<bool> {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).ok().map(|m| m.permissions().mode() & 0o077 != 0)
    }

    fn now_unix_s(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// A world in memory: what is not put in does not exist.
#[derive(Debug, Clone, Default)]
pub struct InMemory {
    /// Files by path.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Paths of files that others may read.
    pub open_to_others: Vec<PathBuf>,
    /// Environment.
    pub variables: BTreeMap<String, String>,
    /// The time.
    pub now_unix_s: i64,
}

impl InMemory {
    /// A world with one file.
    #[must_use]
    pub fn with(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { files: [(path.into(), bytes.into())].into(), ..Self::default() }
    }
}

impl Surroundings for InMemory {
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let bytes = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes[..bytes.len().min(bytes_max + 1)].to_vec())
    }

    fn toml_files_in(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let within = |p: &&PathBuf| p.parent() == Some(folder) && p.extension().is_some_and(|e| e == "toml");
        Ok(self.files.keys().filter(within).cloned().collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn readable_by_others(&self, path: &Path) -> Option<bool> {
        Some(self.open_to_others.iter().any(|p| p == path))
    }

    fn now_unix_s(&self) -> i64 {
        self.now_unix_s
    }

    fn cores(&self) -> usize {
        1
    }
}

/// A part of a file: byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Position in the list of sources.
    pub(super) file: usize,
    /// First byte.
    pub(super) start: usize,
    /// Behind the last byte.
    pub(super) end: usize,
}

/// One file's text.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    line_starts: Vec<usize>,
}

/// Where a byte offset is, for people.
pub(super) struct Spot {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) line_text: String,
}

impl Source {
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        let line_starts =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|i| i + 1)).collect();
        Self { path, text, line_starts }
    }

    /// Line and column of a byte offset (one past the end is allowed).
    pub(super) fn spot(&self, offset: usize) -> Spot {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let start = self.line_starts[line - 1];
        let column = self.text[start..offset].chars().count() + 1;
        let line_text = self.text[start..].lines().next().unwrap_or_default().to_owned();
        Spot { line, column, line_text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spots_count_lines_and_characters_from_one() {
        let source = Source::new("x".into(), "a = 1\n\u{e9}\u{e9} = 2\n".into());
        for (offset, line, column) in [(0, 1, 1), (4, 1, 5), (6, 2, 1), (8, 2, 2), (7, 2, 1), (15, 3, 1), (999, 3, 1)] {
            let spot = source.spot(offset);
            assert_eq!((spot.line, spot.column), (line, column), "offset {offset}");
        }
        assert_eq!(Source::new("x".into(), String::new()).spot(0).line, 1);
    }
}
