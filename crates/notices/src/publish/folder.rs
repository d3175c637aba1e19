//! A folder that changes all at once: the name is a symbolic link, which is exchanged for one to the newer edition.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::edition::Edition;

/// Editions that stay for readers who are at it: the one linked to, and this many before.
const KEPT: usize = 2;

/// Publishes an edition as `link`. Whoever reads through it sees the former edition or this one, never a mixture.
///
/// # Errors
/// The disk does not take it, or something else stands there; then the former edition stays.
pub fn publish(link: &Path, edition: &Edition) -> io::Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(found) if !found.is_symlink() => {
            let why = "something stands there that is no link of ours: name a path that does not exist yet";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Ok(_) | Err(_) => {}
    }
    let (parent, stem) = parts(link)?;
    std::fs::create_dir_all(&parent)?;
    // Nanoseconds since 1970: the names are in the order of time. What bears the name already may be what people read.
    let nanosecond = edition.drawn_at.as_nanosecond().max(0);
    let free = (nanosecond..).map(|at| format!("{stem}{at:020}")).find(|name| !parent.join(name).exists());
    let name = free.unwrap_or_default();
    let folder = parent.join(&name);
    write(&folder, edition)?;
    let new = parent.join(format!("{stem}link"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::os::unix::fs::symlink(&name, &new)?;
    std::fs::rename(&new, link)?;
    File::open(&parent)?.sync_all()?;
    clear(&parent, &stem, &name);
    Ok(())
}

/// The folder in which the link lies, and how the names of the editions begin.
fn parts(link: &Path) -> io::Result<(PathBuf, String)> {
    let name = link.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the folder has no name"));
    };
    let parent = link.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Ok((parent.to_owned(), format!(".{name}-")))
}

/// Writes all files of an edition into a new folder, and sees them onto the disk.
///
/// # Errors
/// The disk does not take it.
pub fn write(folder: &Path, edition: &Edition) -> io::Result<()> {
    for (path, page) in edition.in_order() {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::create(&path)?;
        file.write_all(&page.bytes)?;
        file.sync_data()?;
    }
    File::open(folder)?.sync_all()
}

/// Removes editions that nobody needs any more. What cannot be removed now is tried again the next time.
fn clear(parent: &Path, stem: &str, current: &str) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    let names = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    let is_edition = |name: &String| {
        name.strip_prefix(stem).is_some_and(|rest| rest.len() == 20 && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut editions: Vec<String> = names.filter(is_edition).filter(|name| name != current).collect();
    editions.sort();
    for name in editions.iter().rev().skip(KEPT) {
        let _ = std::fs::remove_dir_all(parent.join(name));
    }
}
