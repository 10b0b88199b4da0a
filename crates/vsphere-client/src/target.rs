//! Where a vCenter is and on which terms we talk to it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::meter::Meter;
use crate::trust::Trust;

/// Everything that must be known before the first packet.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host and port.
    pub endpoint: Endpoint,
    /// Whom to believe.
    pub trust: Trust,
    /// What vCenter shows in its list of sessions, such as `vdo-core/0.1.0`.
    pub user_agent: String,
    /// How long and how much.
    pub limits: Limits,
    /// Whether an address may be connected to; asked for each connection, about what the host stands for then.
    pub admits: fn(IpAddr) -> bool,
    /// Who counts what is asked.
    pub meter: Option<Arc<dyn Meter>>,
}

impl Target {
    /// With the usual limits, at any address, and counted by nobody.
    pub fn new(endpoint: Endpoint, trust: Trust, user_agent: &str) -> Self {
        Target {
            endpoint,
            trust,
            user_agent: user_agent.to_owned(),
            limits: Limits::default(),
            admits: |_| true,
            meter: None,
        }
    }
}

/// A checked host and port. Two spellings of one host are one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a host is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing was given, or more than a host name can have.
    #[error("a host name has 1 to 253 characters")]
    Length,
    /// A scheme, path, port, user or blank, or letters outside of ASCII.
    #[error("a host is a name or an address, without scheme, port, path or user, in ASCII")]
    Shape,
    /// Port 0.
    #[error("a port is between 1 and 65535")]
    Port,
}

impl Endpoint {
    /// Takes a host name, an IPv4 address or an IPv6 address with or without brackets. Case and a final dot
    /// do not matter.
    pub fn new(host: &str, port: u16) -> Result<Self, EndpointError> {
        if port == 0 {
            return Err(EndpointError::Port);
        }
        if host.is_empty() || host.len() > 254 {
            return Err(EndpointError::Length);
        }
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            if bare.len() != host.len() && address.is_ipv4() {
                return Err(EndpointError::Shape);
            }
            return Ok(Self { host: address.to_string(), port });
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if name.is_empty() || name.len() > 253 {
            return Err(EndpointError::Length);
        }
        let labels_fit = name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        // Digits in the last label make an address in some resolver's eyes (`1.2.3`, `0x7f.1`).
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|b| b.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if !labels_fit || numeric {
            return Err(EndpointError::Shape);
        }
        Ok(Self { host: name, port })
    }

    /// The host as names and addresses are compared, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How long we wait and how much we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deadline for name, TCP and TLS together.
    pub connect: Duration,
    /// Deadline for one call, connecting included.
    pub call: Duration,
    /// Bound on the bytes of one answer.
    pub body: usize,
    /// Virtual machines asked for in one page.
    pub page: u32,
    /// Bound on the pages of one read.
    pub pages: u32,
}

impl Default for Limits {
    /// A page of 500 machines is about half a megabyte.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            call: Duration::from_secs(30),
            body: 16 << 20,
            page: 500,
            pages: 200,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one_endpoint() {
        for (given, shown) in [
            ("VC.Example.com.", "vc.example.com:443"),
            ("vc", "vc:443"),
            ("192.0.2.7", "192.0.2.7:443"),
            ("2001:DB8::7", "[2001:db8::7]:443"),
            ("[2001:db8:0::7]", "[2001:db8::7]:443"),
            ("xn--vc-exmple-w5a.com", "xn--vc-exmple-w5a.com:443"),
        ] {
            assert_eq!(Endpoint::new(given, 443).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for given in [
            "https://vc.example.com/sdk",
            "vc.example.com:8443",
            "user:pw@vc",
            "vc/..",
            "vc example",
            "vc\nx",
            "999.1.1.1",
            "1.2.3",
            "0x7f.1",
            "vc.0x7f",
            "vc.exämple.com",
            "fe80::1%eth0",
            "[192.0.2.7]",
            "a..b",
            "-a.b",
        ] {
            assert_eq!(Endpoint::new(given, 443), Err(EndpointError::Shape), "{given:?}");
        }
        for given in ["", ".", &"a.".repeat(130)] {
            assert_eq!(Endpoint::new(given, 443), Err(EndpointError::Length), "{given:?}");
        }
        assert_eq!(Endpoint::new("vc", 0), Err(EndpointError::Port));
    }
}
