//! A model check of the order protocol over the functions that the operators ship.
//!
//! Start reading at [`operator::pass`], where the shipped `decide` is called, then [`effects`] (what a write does),
//! [`judge`] (what must never be) and [`table`] (what is explored, and which rule each must-fail variant leaves out).
//!
//! **Invariant:** no rule of the protocol is written here. A variant changes what a shipped function is given, what a
//! process makes of its answer, or what the world does; the product has no switch for it.
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![deny(missing_docs)]

pub mod effects;
pub mod explore;
pub mod judge;
pub mod model;
pub mod operator;
pub mod rules;
pub mod table;
pub mod world;
