//! Stories told on a real control plane: black box, through kubectl, helm and the API server's audit log.
//!
//! Start with [`crd`] (our kinds on a bare API server), [`operator`] (a process of ours there) and [`stand`] (the chart in
//! a whole bed, with its [`vcenter`]); [`sweep`] strikes every write of the operators; [`scan`] looks for passwords in whatever they left; [`bench`]
//! measures what they cost.
//!
//! **Invariant:** a test waits for a condition, never for time to pass, and imports no code of the product.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod bench;
pub mod crd;
pub mod http;
pub mod operator;
pub mod plot;
pub mod prometheus;
pub mod readme;
pub mod scan;
pub mod stand;
pub mod sweep;
pub mod vcenter;
pub mod web;

use std::path::{Path, PathBuf};

/// A file of the checkout.
pub fn checkout(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).join(name)
}
