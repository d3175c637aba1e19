//! The page while the node is not running: its journal can be read, and written.

use std::path::Path;

use jiff::Timestamp;

use crate::board::Board;
use crate::edition::Edition;
use crate::journal::{Journal, parse};
use crate::keeper::Settings;
use crate::model::{Condition, Measured, Notice, Words};
use crate::orders::Order;
use crate::publish::folder;
use crate::render::View;
use crate::sign::Key;

/// Carries out an order on the journal itself; the number of the notice. A node that starts later publishes it.
///
/// # Errors
/// The journal is in use by a node, which takes the order itself then; it is damaged; or the order can't be carried out.
pub fn order(settings: &Settings, order: Order) -> Result<u32, String> {
    std::fs::create_dir_all(&settings.place.directory)
        .map_err(|e| format!("{}: {e}", settings.place.directory.display()))?;
    let (mut journal, read) = Journal::open(&settings.place.journal()).map_err(|error| error.to_string())?;
    let mut board = board(&read.entries)?;
    let entry = order.entry(&settings.site, &board, Timestamp::now()).map_err(|refused| refused.to_string())?;
    journal.append(&entry).map_err(|error| error.to_string())?;
    let id = match &entry {
        crate::journal::Entry::Revised { id, .. } => *id,
        _ => board.next_id(),
    };
    board.apply(&entry);
    Ok(id)
}

/// What stands in the journal, without touching it; and the hash that seals it.
///
/// # Errors
/// It cannot be read, or is damaged: with the place.
pub fn read(journal: &Path) -> Result<(Vec<Notice>, String), String> {
    let bytes = match std::fs::read(journal) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(|error| format!("{}: {error}", journal.display()))?,
    };
    let read = parse(journal, &bytes).map_err(|damage| damage.0.to_string())?;
    Ok((board(&read.entries)?.notices().to_vec(), read.hash))
}

fn board(entries: &[crate::journal::Entry]) -> Result<Board, String> {
    Board::from_entries(entries).map_err(|(at, why)| format!("entry {}: {why}", at + 1))
}

/// Draws the page into a new folder, signed. Services of which `measured` says nothing are shown as not measured.
///
/// # Errors
/// The folder is there already, or cannot be written; the key cannot be read; a page cannot be drawn.
pub fn render(
    settings: &Settings,
    notices: &[Notice],
    chain: &str,
    measured: impl Fn(&str) -> Option<Measured>,
    into: &Path,
) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let board = Board::of(notices);
    let unknown = || Measured {
        condition: Condition::Unknown,
        since: now,
        goodput: None,
        requests: 0,
        because: Words::default(),
    };
    let components = settings.site.components.iter();
    let measured: Vec<Measured> =
        components.map(|component| measured(&component.key).unwrap_or_else(unknown)).collect();
    let key =
        Key::load_or_make(&settings.place.key).map_err(|e| format!("the key {}: {e}", settings.place.key.display()))?;
    let view = View { site: &settings.site, measured: &measured, board: &board, chain, now };
    let edition = Edition::draw(&view, &key).map_err(|error| error.to_string())?;
    let made = std::fs::create_dir(into).and_then(|()| folder::write(into, &edition));
    made.map_err(|error| format!("{}: {error}", into.display()))?;
    Ok(edition.valid_until)
}
