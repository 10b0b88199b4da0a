//! Fetches one small document over https, within limits that hold against a hostile server, and says whether
//! its content may be trusted.
//!
//! Start with [`Address`] (what may be fetched), then [`Fetcher::fetch`], and what came of it: [`Fetched`] or a
//! [`FetchError`]. `allowed.rs` has the rule about network addresses, `answer.rs` judges the head of an answer,
//! `trust.rs` the content; all of them only decide. `fetch.rs` and `network.rs` are the only files that act.
//!
//! The connection is made here and handed to hyper, instead of asking reqwest for the document. Four promises
//! depend on it: the addresses that were judged are the ones that are connected to, also behind a redirect; a
//! redirect is judged as the server wrote it, before a parser has mended it; the bytes of a whole connection
//! are counted, handshake and interim answers included; and NO_PROXY is read as Go reads it, like the other
//! programs of a cluster. What that costs is two short functions, one that dials and one that asks a proxy.
//!
//! **Invariant:** nothing is connected to an address that [`is_allowed`] refuses, except the proxy that the
//! caller names; no request is sent before the server's certificate was verified; no connection takes more
//! bytes or time than [`Limits`] say. Nothing is read from the environment or from files, nothing is logged,
//! no fetch is repeated, and no task outlives its fetch. There is no Kubernetes type and no knowledge of the
//! document; only the texts of errors name the settings of the product that help.
//!
//! One thing cannot be promised: behind a [`Proxy`] it is the proxy that looks a name up. An address that is
//! written out as a number is still judged, a name is not; the proxy's own rules have to do that.

#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod allowed;
mod answer;
mod error;
mod fetch;
mod network;
mod proxy;
mod tls;
mod trust;

pub use address::{Address, AddressError};
pub use allowed::{Forbidden, is_allowed};
pub use answer::{Fetched, Known};
pub use error::{FetchError, Part, Phase, Retry};
pub use fetch::{Fetcher, Limits, Settings};
pub use proxy::{Proxy, ProxyError, is_direct};
pub use tls::{BundleError, Distrust, Roots};
pub use trust::{Pin, PinError, PublicKey, PublicKeyError, TrustError, verify};
