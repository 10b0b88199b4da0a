//! The crash sweep: every write of every operator is struck once in each way, and the cluster has to end as if nothing had
//! happened.
//!
//! Start with [`case`] (what a case is) and [`oracle`] (what makes a run right); [`lane`] runs one, [`run`] runs many.
//!
//! **Invariant:** what is judged comes from watches of our own and from the proxies, never from an operator's word alone.

pub mod case;
pub mod history;
pub mod lane;
pub mod mask;
pub mod operator;
pub mod oracle;
pub mod run;
pub mod server;
pub mod standin;
pub mod state;
pub mod workload;
