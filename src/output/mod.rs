//! Outputs of statements that are too large for the store's rows: files, within a budget.
//!
//! Owns `STATE_DIR/outputs`, in which `SESSION/STATEMENT.zst` is one output, compressed. The statement's row has what is shown
//! once the file has gone, so that files can go at any time and the store is asked for nothing. Called by `session` and `api`;
//! calls `background` and `config`.
//!
//! Read in this order: `rest` (what is left of an output without its file), `ledger` (which goes first), `outputs`, `text` (an output's text in pages).

mod ledger;
mod outputs;
mod rest;
mod text;

pub use outputs::{Kept, OutputFile, Outputs};
pub use text::{Page, page};
