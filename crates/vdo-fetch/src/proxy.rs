//! The way out through an http proxy, with the values that other programs of a cluster read too.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::address::{Address, hexadecimal_pair};

/// A proxy that is asked to connect (`CONNECT`), and the hosts that need none.
///
/// What is sent through it is encrypted for the server; the proxy learns host and port. It also looks the host
/// up, so that the rule about addresses cannot be applied to what the name stands for.
#[derive(Debug, Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    // The value of the header, since nothing else is done with user and password.
    authorization: Option<SecretString>,
    direct: Vec<Direct>,
}

/// Why a value is no proxy. The value is not repeated, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Another scheme than http.
    #[error(
        "HTTPS_PROXY has a scheme other than http, and only an http proxy is asked: write http://host:port"
    )]
    Scheme,
    /// Not a host and a port.
    #[error(
        "HTTPS_PROXY cannot be read: write http://host:port, with user:password@ before the host if needed"
    )]
    Shape,
}

/// An entry of NO_PROXY.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    Everything,
    Range { network: IpAddr, bits: u32 },
    // A port that is empty stands for all of them.
    Address { address: IpAddr, port: String },
    Name { name: String, port: String },
    Below { name: String, port: String },
}

impl Proxy {
    /// Reads the values of `HTTPS_PROXY` and `NO_PROXY`. Without the first there is no proxy.
    ///
    /// A value without a scheme means http, one without a port means 80. NO_PROXY is read as Go reads it: a
    /// list of names (with all names below), `.names` and `*.names` (only what is below), addresses and ranges,
    /// each but the ranges with a port if wanted, or `*`. What is none of these stands for no host.
    pub fn from_values(https_proxy: &str, no_proxy: &str) -> Result<Option<Self>, ProxyError> {
        let text = https_proxy.trim();
        if text.is_empty() {
            return Ok(None);
        }
        // The parser would leave these out.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(ProxyError::Shape);
        }
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(ProxyError::Scheme),
            None => text,
        };
        let url = Url::parse(&format!("http://{rest}")).map_err(|_| ProxyError::Shape)?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(four)) => four.to_string(),
            Some(Host::Ipv6(six)) => six.to_string(),
            None => return Err(ProxyError::Shape),
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || url.port() == Some(0) {
            return Err(ProxyError::Shape);
        }
        let direct = entries(no_proxy).collect();
        let authorization = authorization(url.username(), url.password());
        Ok(Some(Self { host, port: url.port().unwrap_or(80), authorization, direct }))
    }

    /// Whether an address is fetched through the proxy.
    pub(crate) fn serves(&self, address: &Address) -> bool {
        let target = Target {
            host: &address.host(),
            literal: address.literal().map(|literal| literal.to_canonical()),
            port: address.port(),
        };
        !self.direct.iter().any(|entry| entry.covers(&target))
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_ref().map(SecretString::expose_secret)
    }
}

/// Whether `NO_PROXY` says that a server is asked without a proxy. `host` is a name or an address, with brackets or without.
pub fn is_direct(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
    let literal = host.parse::<IpAddr>().ok().map(|literal| literal.to_canonical());
    let target = Target { host: &host, literal, port };
    entries(no_proxy).any(|entry| entry.covers(&target))
}

fn entries(no_proxy: &str) -> impl Iterator<Item = Direct> {
    no_proxy.split(',').filter_map(|entry| entry.parse().ok())
}

/// What is to be reached.
struct Target<'a> {
    host: &'a str,
    literal: Option<IpAddr>,
    port: u16,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "the proxy [{}]:{}", self.host, self.port)
        } else {
            write!(f, "the proxy {}:{}", self.host, self.port)
        }
    }
}

fn authorization(user: &str, password: Option<&str>) -> Option<SecretString> {
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair = decoded(user);
    pair.push(b':');
    pair.extend(decoded(password.unwrap_or_default()));
    Some(SecretString::from(format!("Basic {}", STANDARD.encode(pair))))
}

/// A user or a password without its percent-encoding. A `%` without two digits stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, encoded)) = rest.split_once('%') {
        bytes.extend(plain.bytes());
        match encoded.get(..2).and_then(hexadecimal_pair) {
            Some(byte) => {
                bytes.push(byte);
                rest = &encoded[2..];
            }
            None => {
                bytes.push(b'%');
                rest = encoded;
            }
        }
    }
    bytes.extend(rest.bytes());
    bytes
}

/// An entry that stands for no host.
struct Empty;

impl std::str::FromStr for Direct {
    type Err = Empty;

    fn from_str(entry: &str) -> Result<Self, Empty> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return Ok(Self::Everything);
        }
        if let Some(range) = range(&entry) {
            return Ok(range);
        }
        let (host, port) = split_port(&entry);
        let port = port.to_owned();
        if let Ok(address) = host.parse() {
            return Ok(Self::Address { address, port });
        }
        let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
        match below {
            _ if host.is_empty() => Err(Empty),
            Some(name) => Ok(Self::Below { name: name.to_owned(), port }),
            None => Ok(Self::Name { name: host.to_owned(), port }),
        }
    }
}

fn range(entry: &str) -> Option<Direct> {
    let (network, bits) = entry.split_once('/')?;
    let network: IpAddr = network.parse().ok()?;
    let width = if network.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= width)?;
    Some(Direct::Range { network, bits })
}

/// `host:port` and `[address]:port`; anything else is a host without a port.
fn split_port(entry: &str) -> (&str, &str) {
    if let Some(bracketed) = entry.strip_prefix('[') {
        return bracketed.split_once("]:").unwrap_or((entry, ""));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port),
        Some(_) | None => (entry, ""),
    }
}

impl Direct {
    fn covers(&self, target: &Target<'_>) -> bool {
        let Target { host, literal, .. } = *target;
        let same_port = |port: &str| port.is_empty() || port == target.port.to_string();
        match self {
            Self::Everything => true,
            Self::Range { network, bits } => literal.is_some_and(|literal| within(literal, *network, *bits)),
            Self::Address { address, port } => literal == Some(address.to_canonical()) && same_port(port),
            Self::Name { name, port } => (host == name || is_below(host, name)) && same_port(port),
            Self::Below { name, port } => is_below(host, name) && same_port(port),
        }
    }
}

fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|front| front.ends_with('.'))
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differ = u32::from(address) ^ u32::from(network);
            differ.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differ = u128::from(address) ^ u128::from(network);
            differ.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(https_proxy: &str, no_proxy: &str) -> Proxy {
        Proxy::from_values(https_proxy, no_proxy).unwrap().unwrap()
    }

    #[test]
    fn a_proxy_is_read_in_every_spelling() {
        for (text, shown) in [
            ("http://proxy.example.com:3128", "the proxy proxy.example.com:3128"),
            ("HTTP://Proxy.example.com:3128/", "the proxy proxy.example.com:3128"),
            ("proxy.example.com:3128", "the proxy proxy.example.com:3128"),
            (" http://proxy.example.com\n", "the proxy proxy.example.com:80"),
            ("127.0.0.1:3128", "the proxy 127.0.0.1:3128"),
            ("http://[fd12::7]:3128", "the proxy [fd12::7]:3128"),
            ("http://me:secret@proxy:3128", "the proxy proxy:3128"),
        ] {
            assert_eq!(proxy(text, "").to_string(), shown, "{text:?}");
        }
        for text in ["", " ", "\n"] {
            assert!(Proxy::from_values(text, "*").unwrap().is_none());
        }
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_and_not_repeated() {
        for (text, error) in [
            ("https://me:secret@proxy:3128", ProxyError::Scheme),
            ("socks5://me:secret@proxy:1080", ProxyError::Scheme),
            ("://proxy", ProxyError::Scheme),
            ("http://", ProxyError::Shape),
            ("http://me:secret@", ProxyError::Shape),
            ("http://proxy:0", ProxyError::Shape),
            ("http://proxy:99999", ProxyError::Shape),
            ("http://proxy:3128/path", ProxyError::Shape),
            ("http://proxy:3128?secret", ProxyError::Shape),
            ("http://proxy:3128#secret", ProxyError::Shape),
            ("http://pro xy:3128", ProxyError::Shape),
            ("http://pro\txy:3128", ProxyError::Shape),
            ("http:\\\\proxy", ProxyError::Shape),
        ] {
            let found = Proxy::from_values(text, "").unwrap_err();
            assert_eq!(found, error, "{text:?}");
            assert!(!found.to_string().contains("secret"));
        }
    }

    #[test]
    fn user_and_password_are_sent_and_never_shown() {
        let encoded = |pair: &str| Some(format!("Basic {}", STANDARD.encode(pair)));
        for (text, pair) in [
            ("http://me:hunter2@proxy", Some("me:hunter2")),
            ("me:hunter2@proxy:3128", Some("me:hunter2")),
            ("http://me@proxy", Some("me:")),
            ("http://:hunter2@proxy", Some(":hunter2")),
            ("http://me%40corp:p%3Aw%25+%2f@proxy", Some("me@corp:p:w%+/")),
            ("http://me:50%@proxy", Some("me:50%")),
            ("http://me:%zz@proxy", Some("me:%zz")),
            ("http://proxy", None),
        ] {
            let proxy = proxy(text, "");
            assert_eq!(proxy.authorization().map(str::to_owned), pair.and_then(encoded), "{text}");
            let shown = format!("{proxy} {proxy:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("Basic"), "{shown}");
        }
    }

    /// The entry, the address, and whether it is fetched without the proxy.
    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (no_proxy, address, direct) in [
            ("", "https://mirror.example.com/", false),
            ("*", "https://mirror.example.com/", true),
            ("a.example, * ", "https://mirror.example.com/", true),
            ("example.com", "https://example.com/", true),
            ("example.com", "https://mirror.example.com/", true),
            ("Example.COM", "https://Mirror.example.com/", true),
            ("example.com", "https://notexample.com/", false),
            ("example.com", "https://example.com.evil.example/", false),
            (".example.com", "https://mirror.example.com/", true),
            (".example.com", "https://example.com/", false),
            ("*.example.com", "https://a.b.example.com/", true),
            ("*.example.com", "https://example.com/", false),
            ("mirror.*", "https://mirror.example.com/", false),
            (" a.example ,,  example.com ", "https://mirror.example.com/", true),
            ("a.example b.example", "https://b.example/", false),
            ("example.com:8443", "https://mirror.example.com:8443/", true),
            ("example.com:8443", "https://mirror.example.com/", false),
            ("example.com:443", "https://mirror.example.com/", true),
            ("example.com:https", "https://mirror.example.com/", false),
            (".example.com:8443", "https://mirror.example.com:8443/", true),
            (":8443", "https://mirror.example.com:8443/", false),
            ("192.0.2.7", "https://192.0.2.7/", true),
            ("192.0.2.7", "https://192.0.2.70/", false),
            ("192.0.2.7:8443", "https://192.0.2.7:8443/", true),
            ("192.0.2.7:8443", "https://192.0.2.7/", false),
            ("::ffff:192.0.2.7", "https://192.0.2.7/", true),
            ("2001:db8::7", "https://[2001:db8::7]/", true),
            ("[2001:db8::7]:443", "https://[2001:db8::7]/", true),
            ("[2001:db8::7]:443", "https://[2001:db8::7]:8443/", false),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.1.2.3/8", "https://10.9.9.9/", true),
            ("10.0.0.0/8", "https://10.example.com/", false),
            ("0.0.0.0/0", "https://192.0.2.7/", true),
            ("0.0.0.0/0", "https://mirror.example.com/", false),
            ("0.0.0.0/0", "https://[2001:db8::7]/", false),
            ("192.0.2.7/32", "https://192.0.2.7/", true),
            ("192.0.2.7/32", "https://192.0.2.6/", false),
            ("10.0.0.0/33", "https://10.1.2.3/", false),
            ("10.0.0.0/x", "https://10.1.2.3/", false),
            ("10.0.0.0/8", "https://[::ffff:10.1.2.3]/", true),
            ("fd00::/8", "https://[fd12::7]/", true),
            ("fd00::/8", "https://[fc12::7]/", false),
            ("::/0", "https://[2001:db8::7]/", true),
        ] {
            let address: Address = address.parse().unwrap();
            assert_eq!(!proxy("proxy:3128", no_proxy).serves(&address), direct, "{no_proxy:?} {address}");
        }
    }
}
