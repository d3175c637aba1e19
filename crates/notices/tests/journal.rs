//! The journal: what was said is there after anything that can happen to a process, and damage is named.

use std::path::Path;

use guichet_notices::board::Board;
use guichet_notices::journal::{Entry, Journal, JournalError};
use guichet_notices::{By, Impact, Notice, Revision, Stage, Words};
use jiff::Timestamp;
use proptest::prelude::*;

fn revision(second: i64, stage: Stage, text: &str) -> Revision {
    let at = Timestamp::from_second(second).unwrap();
    Revision { at, by: By::Operator, stage, impact: Impact::Minor, text: Words::new(text, ""), data: None }
}

fn opened(id: u32, text: &str) -> Entry {
    let revisions = vec![revision(0, Stage::Investigating, text)];
    Entry::Opened(Notice { id, title: Words::new("t", "t"), components: vec![], planned: None, revisions })
}

/// A journal of some notices, each with a second revision; its lines.
fn written(path: &Path, notices: u32) -> Vec<u8> {
    let (mut journal, _) = Journal::open(path).unwrap();
    for id in 1..=notices {
        journal.append(&opened(id, "un\ndeux")).unwrap();
        journal.append(&Entry::Revised { id, revision: revision(1, Stage::Resolved, "fin") }).unwrap();
    }
    std::fs::read(path).unwrap()
}

#[test]
fn a_torn_end_is_taken_off_wherever_it_was_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let whole = written(&path, 2);
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').map(|at| at + 1).collect();
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (mut journal, read) = Journal::open(&path).unwrap();
        let entries = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(read.entries.len(), entries, "cut at {cut}");
        assert_eq!(read.torn, cut - ends.iter().rev().find(|end| **end <= cut).copied().unwrap_or(0));
        // It goes on as if nothing had been.
        let board = Board::from_entries(&read.entries).unwrap();
        journal.append(&opened(board.next_id(), "après")).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().1.entries.len(), entries + 1);
    }
}

#[test]
fn damage_is_named_and_set_aside_and_what_stood_before_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let whole = written(&path, 3);
    let third = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    let mut changed = whole.clone();
    let at = third + whole[third..].windows(4).position(|four| four == b"deux").unwrap();
    changed[at..at + 4].copy_from_slice(b"huit");
    std::fs::write(&path, &changed).unwrap();
    match Journal::open(&path) {
        Err(JournalError::Damaged { line, byte, .. }) => assert_eq!((line, byte), (3, third)),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(&path).unwrap(), changed, "looking changes nothing");
    let (journal, read, told) = Journal::open_or_mend(&path).unwrap();
    assert_eq!(read.entries.len(), 2);
    assert!(told.unwrap().contains("line 3"), "it is told where");
    assert_eq!(std::fs::read(dir.path().join("j.damaged-1")).unwrap(), changed, "nothing is lost");
    drop(journal);
    assert!(Journal::open_or_mend(&path).unwrap().2.is_none());
}

#[test]
fn one_process_writes_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let held = Journal::open(&path).unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::InUse(_))));
    drop(held);
    Journal::open(&path).unwrap();
}

#[test]
fn a_long_journal_goes_on_in_a_new_file_and_the_chain_shows_from_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    written(&path, 3);
    let (mut journal, read) = Journal::open(&path).unwrap();
    let board = Board::from_entries(&read.entries).unwrap();
    let before = journal.hash().to_owned();
    journal.go_on(board.next_id(), &board.to_carry(1)).unwrap();
    journal.append(&opened(4, "plus")).unwrap();
    drop(journal);
    let (_, read) = Journal::open(&path).unwrap();
    assert_eq!(read.entries[0], Entry::Continued { hash: before, next_id: 4 });
    let after = Board::from_entries(&read.entries).unwrap();
    assert_eq!(after.notices().iter().map(|notice| notice.id).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(after.next_id(), 5);
    assert!(dir.path().join("j.before").exists());
}

#[test]
fn what_may_not_follow_is_refused_with_the_reason() {
    let board = |entries: &[Entry]| Board::from_entries(entries).unwrap();
    let refused = |board: &Board, entry: &Entry| board.check(entry).unwrap_err().0;
    let first = opened(1, "a");
    let over = Entry::Revised { id: 1, revision: revision(5, Stage::Resolved, "z") };
    assert!(refused(&board(&[]), &over).contains("no notice 1"));
    let more = Entry::Revised { id: 1, revision: revision(6, Stage::Monitoring, "y") };
    assert!(refused(&board(&[first.clone(), over.clone()]), &more).contains("is over"));
    let early = Entry::Revised { id: 1, revision: revision(-5, Stage::Monitoring, "y") };
    assert!(refused(&board(std::slice::from_ref(&first)), &early).contains("later"));
    let long = opened(1, &"é".repeat(guichet_notices::bounds::WORDS_CHARS_MAX + 1));
    assert!(refused(&board(&[]), &long).contains("at most"));
    assert!(board(&[]).check(&opened(1, &"é".repeat(guichet_notices::bounds::WORDS_CHARS_MAX))).is_ok());
    assert!(refused(&board(&[]), &opened(1, "\u{1b}[2J")).contains("control character"));
    assert!(refused(&board(&[]), &opened(1, "")).contains("says something"));
    // At the bound of open notices.
    let many: Vec<Entry> = (1..=guichet_notices::bounds::NOTICES_OPEN_MAX as u32).map(|id| opened(id, "x")).collect();
    let full = board(&many);
    assert!(refused(&full, &opened(full.next_id(), "x")).contains("resolve one first"));
    // The last revision is kept for the end.
    let mut full = board(std::slice::from_ref(&first));
    while full.check(&Entry::Revised { id: 1, revision: revision(9, Stage::Monitoring, "y") }).is_ok() {
        full.apply(&Entry::Revised { id: 1, revision: revision(9, Stage::Monitoring, "y") });
    }
    assert!(full.check(&Entry::Revised { id: 1, revision: revision(9, Stage::Resolved, "y") }).is_ok());
}

#[derive(Debug, Clone)]
enum Act {
    Open(String),
    Revise(u32, String, bool),
    Restart,
    Tear(usize),
    GoOn,
}

fn act() -> impl Strategy<Value = Act> {
    let words = "[a-zé<&\"\\\\\n]{1,20}";
    prop_oneof![
        3 => words.prop_map(Act::Open),
        5 => (1u32..12, words, any::<bool>()).prop_map(|(id, text, ends)| Act::Revise(id, text, ends)),
        2 => Just(Act::Restart),
        1 => (1usize..80).prop_map(Act::Tear),
        1 => Just(Act::GoOn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is done: what was acknowledged is there, revisions are never changed, and numbers are never used twice.
    #[test]
    fn what_was_said_stays(acts in proptest::collection::vec(act(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let mut board = Board::default();
        for act in acts {
            let entry = match act {
                Act::Open(text) => opened(board.next_id(), &text),
                Act::Revise(id, text, ends) => {
                    let stage = if ends { Stage::Resolved } else { Stage::Monitoring };
                    Entry::Revised { id, revision: revision(1, stage, &text) }
                }
                Act::GoOn => {
                    journal.go_on(board.next_id(), &board.to_carry(usize::MAX)).unwrap();
                    continue;
                }
                Act::Restart | Act::Tear(_) => {
                    drop(journal);
                    if let Act::Tear(bytes) = act {
                        // A line that was never acknowledged.
                        let mut file = std::fs::read(&path).unwrap();
                        file.extend(std::iter::repeat_n(b'x', bytes));
                        std::fs::write(&path, file).unwrap();
                    }
                    let (opened, read) = Journal::open(&path).unwrap();
                    let again = Board::from_entries(&read.entries).unwrap();
                    prop_assert_eq!(&again, &board);
                    journal = opened;
                    continue;
                }
            };
            let before = board.clone();
            if board.check(&entry).is_ok() {
                journal.append(&entry).unwrap();
                board.apply(&entry);
            }
            for notice in before.notices() {
                let now = board.notice(notice.id).unwrap();
                prop_assert_eq!(&now.revisions[..notice.revisions.len()], &notice.revisions[..]);
            }
        }
    }
}
