//! Talks to one vCenter, from 6.7 U3 to 9.x, over its SOAP interface.
//!
//! Start with [`Target`] (where, whom to trust, how long to wait), then [`probe`] (TCP and TLS, no login),
//! [`Client::connect`] (is it a vCenter, and which), [`Client::login`] and what a [`Session`] can read.
//! `trust.rs` decides whether a peer is believed, `soap.rs` writes requests and reads answers as a stream,
//! `wire.rs` is the only file that sends them.
//!
//! **Invariant:** credentials leave this process only inside [`Client::login`], and only over a connection
//! whose peer was verified by the rule that [`Trust`] names; nothing else here logs in, and nothing logs.
//! There is no Kubernetes type, no retry and no policy: a caller learns from [`Error::retry`] whether waiting
//! can help and decides itself.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod certificate;
mod error;
mod inventory;
mod meter;
mod probe;
mod properties;
mod resolve;
mod session;
mod soap;
mod target;
mod trust;
mod uuid;
mod wire;

pub use certificate::Presented;
pub use error::{Error, Phase, Retry};
pub use inventory::{
    Datacenter, DatacenterMatch, Datacenters, Denied, HostVersions, Hosts, PowerState, Product, ToolsState,
    Vm, Vms,
};
pub use meter::{Asked, Meter};
pub use probe::probe;
pub use secrecy::SecretString;
pub use session::{About, Client, CurrentSession, Session};
pub use target::{Endpoint, EndpointError, Limits, Target};
pub use trust::{CaBundle, CaBundleError, Distrust, Thumbprint, ThumbprintError, Trust};
pub use uuid::Uuid;
