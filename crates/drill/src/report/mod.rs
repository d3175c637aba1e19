//! What a drill found: a table on the terminal, and a page with plots.

pub mod html;
mod plot;
mod status;
pub mod table;
mod tables;
mod visitors;
