//! The file in which orders outlive a restart: written whole under another name and then moved, so that it is there whole or
//! not at all. What is damaged is set aside, told, and counts for nothing: a service is never shut by a broken file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use guichet_core::bounds::ORDER_FILE_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::orders::Orders;

/// The version that is written.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    orders: Orders,
}

/// The file, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct OrderFile {
    /// `None`: orders end with the process.
    path: Option<PathBuf>,
    trouble: Option<String>,
}

impl OrderFile {
    /// Reads what is there. A file that is not there holds no orders.
    pub(super) fn open(path: Option<PathBuf>) -> (Self, Orders) {
        let Some(path) = path else { return (Self::default(), Orders::default()) };
        match read(&path) {
            Ok(orders) => (Self { path: Some(path), trouble: None }, orders),
            Err(why) => {
                let aside = beside(&path, ".damaged");
                let set_aside = fs::rename(&path, &aside).is_ok();
                let place =
                    if set_aside { format!("it was set aside as {}", aside.display()) } else { "it stays".into() };
                let trouble =
                    format!("the orders in {} cannot be used, none of them holds: {why}; {place}", path.display());
                eprintln!("guichet: warning: {trouble}");
                (Self { path: Some(path), trouble: Some(trouble) }, Orders::default())
            }
        }
    }

    /// Writes all orders. What goes wrong is told, and the orders hold all the same for as long as the process runs.
    pub(super) fn write(&mut self, orders: &Orders) {
        let Some(path) = &self.path else { return };
        let trouble = write(path, orders)
            .err()
            .map(|error| format!("orders cannot be written to {}: {error}; they end with a restart", path.display()));
        match (&self.trouble, &trouble) {
            (before, Some(now)) if before.as_ref() != Some(now) => eprintln!("guichet: warning: {now}"),
            (Some(_), None) => eprintln!("guichet: orders are written to {} again", path.display()),
            _ => {}
        }
        self.trouble = trouble;
    }

    /// What is wrong, for operators.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn read(path: &Path) -> Result<Orders, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Orders::default()),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    let most = ORDER_FILE_BYTES_MAX as u64;
    file.take(most + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > most {
        return Err(format!("it is longer than {most} bytes"));
    }
    let whole: Whole = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if whole.version != VERSION {
        return Err(format!("it is of version {}, and this is version {VERSION}", whole.version));
    }
    if !whole.orders.is_within_bounds() {
        return Err("it holds more orders than there may be".to_owned());
    }
    Ok(whole.orders)
}

fn write(path: &Path, orders: &Orders) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let new = beside(path, ".new");
    let text = serde_json::to_string(&Whole { version: VERSION, orders: orders.clone() })?;
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::super::Ordered;
    use super::*;

    #[test]
    fn orders_outlive_the_process_and_damage_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join("orders");
        let (mut file, mut orders) = OrderFile::open(Some(path.clone()));
        assert!(file.trouble().is_none());
        assert!(orders.set("portal", Ordered::ReadOnly, 100, 160, "works"));
        assert!(orders.switch_off("bank", "/search", 100, 130, ""));
        file.write(&orders);
        let (_, read) = OrderFile::open(Some(path.clone()));
        assert_eq!(read, orders);

        let check = |text: &[u8], told: &str| {
            fs::write(&path, text).unwrap();
            let (file, orders) = OrderFile::open(Some(path.clone()));
            assert_eq!(orders, Orders::default());
            let trouble = file.trouble().unwrap_or_default();
            assert!(trouble.contains(told) && trouble.contains(".damaged"), "{trouble}");
            assert!(!path.exists() && path.with_extension("damaged").exists(), "set aside");
        };
        check(b"{\"version\":1,\"orders\":{\"serv", "EOF");
        check(b"\xff\xff", "UTF-8");
        check(b"{\"version\":2,\"orders\":{\"services\":[],\"routes\":[]}}", "version 2");
        check(&vec![b' '; ORDER_FILE_BYTES_MAX + 1], "longer than");

        // A place that cannot be written is told, and heals.
        let blocked = dir.path().join("blocked");
        fs::create_dir_all(blocked.join("orders.new")).unwrap();
        let (mut file, orders) = OrderFile::open(Some(blocked.join("orders")));
        file.write(&orders);
        assert!(file.trouble().is_some_and(|told| told.contains("end with a restart")));
        fs::remove_dir(blocked.join("orders.new")).unwrap();
        file.write(&orders);
        assert!(file.trouble().is_none());
    }
}
