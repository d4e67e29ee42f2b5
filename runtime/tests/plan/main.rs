//! What the planner makes of whole configurations: golden texts, refusals, and properties.
//!
//! `BRIG_UPDATE_GOLDEN=1 cargo test -p brig --test plan` writes the golden texts anew; read the
//! difference before committing it.

mod delegation;
mod fields;
mod golden;
mod properties;
mod refusals;
mod support;
mod words;
