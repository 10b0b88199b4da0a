//! What is done with a vCenter, each in a task of its own, so that a slow one never stops the loop.

use std::net::IpAddr;
use std::sync::Arc;

use secrecy::SecretString;
use vsphere_client::{
    Client, DatacenterMatch, Denied, Endpoint, Error, HostVersions, Hosts, Meter, Presented, Session, Target,
    Trust, Vm, probe,
};

/// A vCenter that was reached and is trusted.
pub struct Reach {
    /// The certificate that was accepted.
    pub presented: Presented,
    /// The connection, if a login may follow.
    pub client: Option<Client>,
}

/// What a read found.
#[derive(Debug)]
pub struct Inventory {
    /// Paths of the datacenters that the spec means.
    pub datacenters: Vec<String>,
    /// Their machines.
    pub machines: Vec<Vm>,
    /// How many machines the account may not read, and one of them.
    pub hidden: (u32, Option<Denied>),
    /// What their hosts run, if that was asked.
    pub hosts: Option<Hosts>,
}

/// Why a read gave no inventory.
#[derive(Debug)]
pub enum Unread {
    /// The vCenter did not answer, or refused.
    Vcenter(Error),
    /// There is no such datacenter.
    Missing {
        /// What the spec says.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// There are several.
    Ambiguous {
        /// What the spec says.
        wanted: String,
        /// Their paths.
        paths: Vec<String>,
    },
    /// It may be there, and cannot be read.
    Hidden {
        /// What the spec says.
        wanted: String,
        /// What cannot be read.
        denied: Denied,
    },
}

/// What a task came back with.
pub enum Report {
    /// From [`reach`].
    Reached(Result<Reach, Error>),
    /// From [`log_in`].
    LoggedIn(Result<Session, Error>),
    /// From [`read`].
    Read(Session, Result<Inventory, Unread>),
    /// From [`keep_alive`].
    Alive(Session, Result<(), Error>),
}

/// Where to connect, as this program, and who counts.
pub fn target(endpoint: Endpoint, trust: Trust, meter: Arc<dyn Meter>) -> Target {
    let user_agent = concat!("vdo-core/", env!("CARGO_PKG_VERSION"));
    Target { admits: is_allowed, meter: Some(meter), ..Target::new(endpoint, trust, user_agent) }
}

/// Whether we connect to an address at all: never to ourselves, nor to what a name should not lead to.
pub fn is_allowed(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}

/// Looks whether a vCenter is there and trusted. `connect` says whether to keep a connection for a login.
pub async fn reach(target: Target, connect: Connect) -> Report {
    Report::Reached(reached(target, connect).await)
}

/// Whether a login may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Keep the connection for it.
    ForLogin,
    /// Only look at the certificate.
    ToLook,
}

async fn reached(target: Target, connect: Connect) -> Result<Reach, Error> {
    let presented = probe(&target).await?;
    let client = match connect {
        Connect::ToLook => None,
        Connect::ForLogin => Some(Client::connect(target).await?),
    };
    Ok(Reach { presented, client })
}

/// Logs in, once. Only after status says so.
pub async fn log_in(client: Client, user: String, password: SecretString) -> Report {
    Report::LoggedIn(client.login(&user, &password).await)
}

/// Reads the datacenters that the spec means, their machines, and what their hosts run if that is asked.
pub async fn read(session: Session, wanted: Vec<String>, hosts: HostVersions) -> Report {
    let inventory = inventory(&session, &wanted, hosts).await;
    Report::Read(session, inventory)
}

async fn inventory(session: &Session, wanted: &[String], hosts: HostVersions) -> Result<Inventory, Unread> {
    let datacenters = session.fetch_datacenters().await.map_err(Unread::Vcenter)?;
    let paths = |list: &[&vsphere_client::Datacenter]| list.iter().map(|it| it.path.clone()).collect();
    let mut chosen = Vec::new();
    for name in wanted {
        match datacenters.select(name) {
            DatacenterMatch::One(one) => chosen.push(one),
            DatacenterMatch::Ambiguous(several) => {
                return Err(Unread::Ambiguous { wanted: name.clone(), paths: paths(&several) });
            }
            DatacenterMatch::Missing => {
                let found: Vec<_> = datacenters.found.iter().collect();
                return Err(Unread::Missing { wanted: name.clone(), found: paths(&found) });
            }
            DatacenterMatch::Unreadable(denied) => {
                return Err(Unread::Hidden { wanted: name.clone(), denied: denied.clone() });
            }
        }
    }
    if wanted.is_empty() {
        chosen = datacenters.found.iter().collect();
    }
    if chosen.is_empty() {
        return Err(match datacenters.unreadable.first() {
            Some(denied) => Unread::Hidden { wanted: "any".to_owned(), denied: denied.clone() },
            None => Unread::Missing { wanted: "any".to_owned(), found: Vec::new() },
        });
    }
    let (vms, hosts) = session.fetch_machines(&chosen, hosts).await.map_err(Unread::Vcenter)?;
    Ok(Inventory {
        datacenters: paths(&chosen),
        machines: vms.rows,
        hidden: (vms.unreadable, vms.first_unreadable),
        hosts,
    })
}

/// Resets the session's idle time.
pub async fn keep_alive(session: Session) -> Report {
    let alive = session.keepalive().await;
    Report::Alive(session, alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_vcenter_has_are_refused() {
        for (text, allowed) in [
            ("127.0.0.1", false),
            ("127.8.8.8", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("224.0.0.1", false),
            ("10.0.0.1", true),
            ("192.0.2.7", true),
            ("fd00::7", true),
            ("2001:db8::7", true),
        ] {
            assert_eq!(is_allowed(text.parse().unwrap()), allowed, "{text}");
        }
    }
}
