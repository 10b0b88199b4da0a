//! From a host to the addresses that are connected to: looked up anew for each connection, and looked at before it is made.
//!
//! **Invariant:** no connection is made to an address that [`Target::admits`] was not asked about. A look in advance would
//! not do: a name service may answer otherwise a moment later.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::{Error, peer_text};
use crate::target::Target;

/// Why there is no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAddress {
    /// The name service had no answer.
    #[error("{1}")]
    Failed(io::ErrorKind, String),
    /// It led to an address that is not admitted.
    #[error("{0} is not admitted")]
    NotAdmitted(IpAddr),
}

impl From<io::Error> for NoAddress {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.kind(), peer_text(&error.to_string()))
    }
}

/// The system's resolver, with an error of its own type. Never asked about a host that is an address.
pub(crate) struct Resolver(pub(crate) fn(IpAddr) -> bool);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let admits = self.0;
        Box::pin(async move {
            let found = look_up(name.as_str(), 0, admits).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// All addresses of a host. One that is not admitted spoils them all: whoever answers for the name is not to be believed.
pub(crate) async fn look_up(
    host: &str,
    port: u16,
    admits: fn(IpAddr) -> bool,
) -> Result<Vec<SocketAddr>, NoAddress> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    match found.iter().map(SocketAddr::ip).find(|address| !admits(*address)) {
        Some(address) => Err(NoAddress::NotAdmitted(address)),
        None => Ok(found),
    }
}

/// Looks at a host that is an address itself, which no resolver is asked about.
pub(crate) fn admit_literal(target: &Target) -> Result<(), Error> {
    match target.endpoint.host().parse::<IpAddr>() {
        Ok(address) if !(target.admits)(address) => {
            Err(Error::AddressNotAdmitted { endpoint: target.endpoint.clone(), address })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
