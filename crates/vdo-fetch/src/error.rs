//! What can go wrong with a fetch: one variant per thing that somebody can act on.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::address::AddressError;
use crate::allowed::Forbidden;
use crate::network::Flood;
use crate::tls::Distrust;
use crate::trust::TrustError;

/// Why there is no document, or none to be trusted.
///
/// `at` is where we were when it happened: the address without its query, or the proxy. Texts that came from a
/// peer are bounded and on one line. No variant holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A name stands for an address that nothing is fetched from, or a redirect names one. Nothing was sent
    /// there.
    #[error(
        "{at} leads to {address}, {why}, which nothing is fetched from: check the record of the name and where \
         the server redirects to"
    )]
    AddressNotAllowed {
        /// Where it came from.
        at: String,
        /// The address.
        address: IpAddr,
        /// Why.
        why: Forbidden,
    },
    /// The name service knows no address, or did not answer.
    #[error("failed to resolve the host of {at}: {why}: check the name, and that the name service knows it")]
    NameNotResolved {
        /// Where we wanted to go.
        at: String,
        /// What the resolver said.
        why: String,
    },
    /// No connection came of it.
    #[error(
        "failed to connect to {at}: {why}: check that the server runs and that no firewall is between; where \
         only a proxy leads out, set HTTPS_PROXY"
    )]
    Unreachable {
        /// Where we wanted to go.
        at: String,
        /// What the network said.
        why: String,
    },
    /// A deadline of [`Limits`](crate::Limits) passed. A server that goes on sending does not move it.
    #[error("{at} took more than {}s {phase}: check the server and the way to it", after.as_secs_f32())]
    TimedOut {
        /// Where we were.
        at: String,
        /// What was under way.
        phase: Phase,
        /// The deadline.
        after: Duration,
    },
    /// The peer is not who it should be, or does not speak TLS as we do. No request was sent.
    #[error("{at} is not trusted: {why}")]
    TlsFailed {
        /// Where we wanted to go.
        at: String,
        /// What is wrong.
        why: Distrust,
    },
    /// The proxy did not let us through.
    #[error("{proxy} refused to connect to {at} (http status {status}): {}", proxy_remedy(*status))]
    ProxyRefused {
        /// Where we wanted to go.
        at: String,
        /// The proxy.
        proxy: String,
        /// Its answer.
        status: u16,
    },
    /// A redirect to something that is no address to fetch from.
    #[error("{at} redirects to something that is not fetched: {why}")]
    RedirectRefused {
        /// Which server said so.
        at: String,
        /// What is wrong with it.
        why: AddressError,
    },
    /// A redirect to another host or another port. That server was neither looked up nor connected to.
    #[error(
        "{at} redirects to another server, {to}, and a redirect is only followed to the same host and port: give \
         the address where the document itself is, as versionConfigURL or spec.matrixURL"
    )]
    RedirectToOtherServer {
        /// Which server said so.
        at: String,
        /// Host and port of the other one.
        to: String,
    },
    /// More redirects than [`Limits`](crate::Limits) allow.
    #[error("{at} redirects once more after {limit} redirects: use the address where the document is")]
    TooManyRedirects {
        /// Where we were.
        at: String,
        /// The bound.
        limit: usize,
    },
    /// An answer without the document.
    #[error("{at} answered with http status {status}: {}", status_remedy(*status))]
    Status {
        /// Which server.
        at: String,
        /// Its answer.
        status: u16,
    },
    /// An answer that would have to be unpacked, although we asked for it plain.
    #[error(
        "{at} sent the document as {found}, and only a plain one is read: have it served without compression"
    )]
    Encoding {
        /// Which server.
        at: String,
        /// The encoding, bounded.
        found: String,
    },
    /// More than [`Limits`](crate::Limits) allow. What came so far was thrown away.
    #[error("{at} sent more than {limit} bytes of {part}: check that the address is that of the document")]
    TooLarge {
        /// Which server.
        at: String,
        /// Of what.
        part: Part,
        /// The bound.
        limit: usize,
    },
    /// The connection ended in the middle.
    #[error(
        "{at} closed the connection before its answer was complete: check the server, and a proxy before it"
    )]
    Interrupted {
        /// Which server.
        at: String,
    },
    /// Something else than http.
    #[error("{at} does not answer as an http server does: check host and port")]
    NotHttp {
        /// Which server.
        at: String,
    },
    /// The document came, and it is not the one that was pinned or signed.
    #[error(transparent)]
    NotTrusted(#[from] TrustError),
}

/// What was under way when a deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Name, TCP, proxy and TLS.
    Connect,
    /// Everything from the start to the last byte, redirects included.
    All,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "to connect",
            Self::All => "in all",
        })
    }
}

/// What was too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Status line and headers.
    Head,
    /// The document.
    Body,
    /// Everything on one connection, what is outside of the document included.
    Connection,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "headers",
            Self::Body => "the document",
            Self::Connection => "all kinds on one connection",
        })
    }
}

/// Whether waiting can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same fetch may succeed later without anybody acting.
    Transient,
    /// Somebody has to change something first.
    Terminal,
}

impl FetchError {
    /// A word for the kind of fault, which stays the same over releases. For conditions and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddressNotAllowed { .. } => "AddressNotAllowed",
            Self::NameNotResolved { .. } => "NameNotResolved",
            Self::Unreachable { .. } => "Unreachable",
            Self::TimedOut { .. } => "TimedOut",
            Self::TlsFailed { .. } => "TlsFailed",
            Self::ProxyRefused { .. } => "ProxyRefused",
            Self::RedirectRefused { .. } => "RedirectRefused",
            Self::RedirectToOtherServer { .. } => "RedirectToOtherServer",
            Self::TooManyRedirects { .. } => "TooManyRedirects",
            Self::Status { .. } => "Status",
            Self::Encoding { .. } => "Encoding",
            Self::TooLarge { .. } => "TooLarge",
            Self::Interrupted { .. } => "Interrupted",
            Self::NotHttp { .. } => "NotHttp",
            Self::NotTrusted(_) => "NotTrusted",
        }
    }

    /// Whether the same fetch may succeed later by itself.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NameNotResolved { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. } => Retry::Transient,
            // A wrong clock, ours or theirs, rights itself.
            Self::TlsFailed { why: Distrust::NotYetValid, .. } => Retry::Transient,
            Self::Status { status, .. } | Self::ProxyRefused { status, .. } => match status {
                408 | 425 | 429 | 500..=599 => Retry::Transient,
                _ => Retry::Terminal,
            },
            Self::AddressNotAllowed { .. }
            | Self::TlsFailed { .. }
            | Self::RedirectRefused { .. }
            | Self::RedirectToOtherServer { .. }
            | Self::TooManyRedirects { .. }
            | Self::Encoding { .. }
            | Self::TooLarge { .. }
            | Self::NotHttp { .. }
            | Self::NotTrusted(_) => Retry::Terminal,
        }
    }
}

fn status_remedy(status: u16) -> &'static str {
    match status {
        401 | 403 | 407 => {
            "no credentials are ever sent, so serve the document to everybody who may reach it"
        }
        404 | 410 => "check the path of the document",
        408 | 425 | 429 | 500..=599 => "the server has a fault or is busy, and is asked again later",
        _ => "only 200 brings a document; open the address in a browser to see what the server means",
    }
}

fn proxy_remedy(status: u16) -> &'static str {
    match status {
        407 => "check user and password in HTTPS_PROXY",
        403 => "have the proxy allow the host, or name the host in NO_PROXY",
        _ => "check that the proxy reaches the host, or name the host in NO_PROXY",
    }
}

/// Finds the cause that somebody can act on in the chain that the libraries built for a connection that broke.
///
/// `head` and `connection` are the bounds that may have been passed.
pub(crate) fn broken(
    at: String,
    error: &(dyn StdError + 'static),
    head: usize,
    connection: usize,
) -> FetchError {
    let mut next = Some(error);
    let mut last = String::new();
    while let Some(cause) = next {
        next = cause.source();
        last = cause.to_string();
        if cause.is::<Flood>() {
            return FetchError::TooLarge { at, part: Part::Connection, limit: connection };
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return FetchError::TlsFailed { at, why: Distrust::from_tls(tls) };
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            if http.is_parse_too_large() {
                return FetchError::TooLarge { at, part: Part::Head, limit: head };
            }
            if http.is_parse() {
                return FetchError::NotHttp { at };
            }
            if http.is_incomplete_message() || http.is_canceled() || http.is_closed() {
                return FetchError::Interrupted { at };
            }
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            // An I/O error does not count what it wraps as its source, and what it wraps knows more.
            match io.get_ref() {
                Some(inner) if knows_more(inner) => next = Some(inner),
                _ if ended(io.kind()) => return FetchError::Interrupted { at },
                _ if garbled(io.kind()) => return FetchError::NotHttp { at },
                _ => {}
            }
        }
    }
    FetchError::Unreachable { at, why: peer_text(&last) }
}

fn knows_more(inner: &(dyn StdError + Send + Sync + 'static)) -> bool {
    inner.is::<Flood>()
        || inner.is::<rustls::Error>()
        || inner.is::<hyper::Error>()
        || inner.is::<io::Error>()
}

fn ended(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof].contains(&kind)
}

fn garbled(kind: io::ErrorKind) -> bool {
    [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput].contains(&kind)
}

/// How much of a peer's text is kept.
const SHOWN_CHARS: usize = 120;

/// A peer's text as a message shows it.
pub(crate) fn peer_text(text: &str) -> String {
    vdo_peer::one_line(text, SHOWN_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
        let at = || String::from("https://mirror.example.com/m");
        for (status, retry) in [
            (429, Retry::Transient),
            (500, Retry::Transient),
            (503, Retry::Transient),
            (401, Retry::Terminal),
            (404, Retry::Terminal),
            (204, Retry::Terminal),
        ] {
            assert_eq!(FetchError::Status { at: at(), status }.retry(), retry, "{status}");
        }
        let early = FetchError::TlsFailed { at: at(), why: Distrust::NotYetValid };
        let late = FetchError::TlsFailed { at: at(), why: Distrust::Expired };
        assert_eq!((early.retry(), late.retry()), (Retry::Transient, Retry::Terminal));
    }

    #[test]
    fn the_cause_is_found_behind_what_wraps_it() {
        let wrapped = |inner: io::Error| io::Error::other(inner);
        let name = |error: io::Error| broken("here".into(), &error, 1, 2).name();
        assert_eq!(name(wrapped(io::ErrorKind::UnexpectedEof.into())), "Interrupted");
        assert_eq!(name(io::ErrorKind::ConnectionReset.into()), "Interrupted");
        assert_eq!(name(io::ErrorKind::InvalidData.into()), "NotHttp");
        assert_eq!(name(wrapped(io::Error::other(Flood))), "TooLarge");
        assert_eq!(name(wrapped(io::Error::other(rustls::Error::DecryptError))), "TlsFailed");
        assert_eq!(name(io::Error::other("something\nnew")), "Unreachable");
    }
}
