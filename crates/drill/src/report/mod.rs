//! What a drill found: a table on the terminal, and a page with plots.

pub mod html;
mod plot;
pub mod table;
mod tables;
mod visitors;
