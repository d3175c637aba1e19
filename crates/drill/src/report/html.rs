//! x
use crate::score::Scoreboard;
/// x
#[must_use]
pub fn render(board: &Scoreboard) -> String {
    let _ = board;
    String::new()
}
