//! A matrix from an address: fetched now and then, judged, and kept.
//!
//! [`poll`] decides when to fetch and what came of it, [`copy`] is what the cluster keeps of it, [`fetch`] does both.
//!
//! **Invariant:** a document that cannot be read, is not the pinned or signed one, or is older than the one that counts
//! never replaces it.

pub mod copy;
pub mod fetch;
pub mod poll;
