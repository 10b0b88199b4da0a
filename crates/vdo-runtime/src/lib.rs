//! What every operator is made of, apart from its decisions: the one loop, watches, leadership, writing
//! objects and status, the journal, logs, metrics and probes.
//!
//! Start with [`operator`] (how one starts), [`run`] (the loop and what a pass may do) and [`driver`] (the pass
//! that both driver operators share), then [`watch`] (what is seen), [`lease`] (who may
//! act), [`client`] (deadlines and the quarantine) and [`apply`] (what is written). [`rows`] and [`node`] say
//! what is kept of each object; [`status`], [`journal`] and [`events`] are how results are written down.
//! Everything runs on one thread, on tokio's `current_thread` runtime.
//!
//! **Invariant:** no decision about a driver, and no write without a bound: each has a deadline at the server
//! too, is never replayed by the client, and while one may still be under way without its answer no object
//! is written.

#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod apply;
pub mod client;
pub mod clock;
pub mod configs;
pub mod deeds;
pub mod driver;
pub mod ending;
pub mod events;
pub mod fault;
pub mod journal;
pub mod kept;
pub mod lease;
pub mod logs;
pub mod metrics;
pub mod node;
pub mod operator;
pub mod own;
mod pages;
pub mod rows;
pub mod run;
pub mod serve;
mod served;
pub mod settings;
mod slim;
pub mod status;
pub mod traces;
mod transport;
pub mod vcenters;
pub mod volumes;
mod wake;
pub mod watch;
mod wire;
pub mod words;

pub use client::Cluster;
pub use fault::{KubeFault, Retry};
pub use operator::Operator;
pub use run::{PassError, Revisit, Standing, run};
pub use wake::Wake;
pub use watch::{Rows, Selector, Watches};
