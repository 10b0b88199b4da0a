//! What can go wrong with a vCenter: one variant per thing that a user can act on.

use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::certificate::Presented;
use crate::target::Endpoint;
use crate::trust::Distrust;

/// Why a vCenter could not be used.
///
/// Texts that came from the peer are bounded and free of control characters. No variant holds a credential,
/// and no message prints its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name service knows no address for the host, or did not answer.
    #[error("failed to resolve {}", endpoint.host())]
    NameNotResolved {
        /// Where we wanted to go.
        endpoint: Endpoint,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// The host stands for an address that [`Target`](crate::Target) does not admit. Nothing was sent there.
    #[error("{} stands for {address}, which is not admitted", endpoint.host())]
    AddressNotAdmitted {
        /// Where we wanted to go.
        endpoint: Endpoint,
        /// The address.
        address: IpAddr,
    },
    /// The host is there and nothing listens on the port.
    #[error("{endpoint} refused the connection")]
    Refused {
        /// Where we wanted to go.
        endpoint: Endpoint,
    },
    /// No route, a reset, or a connection cut in the middle of an answer.
    #[error("failed to reach {endpoint}")]
    Unreachable {
        /// Where we wanted to go.
        endpoint: Endpoint,
        /// What the network said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The deadline of [`Limits`](crate::Limits) passed.
    #[error("{endpoint} did not answer within {}s ({phase})", after.as_secs_f32())]
    Timeout {
        /// Where we wanted to go.
        endpoint: Endpoint,
        /// What was under way.
        phase: Phase,
        /// The deadline.
        after: Duration,
    },
    /// Something else than TLS listens on the port.
    #[error("{endpoint} does not speak TLS")]
    NotTls {
        /// Where we wanted to go.
        endpoint: Endpoint,
    },
    /// The peer speaks TLS, and no handshake came of it: no common version or cipher, or it could not prove
    /// that it holds the key of its certificate.
    #[error("failed to agree on TLS with {endpoint}: {why}")]
    TlsFailed {
        /// Where we wanted to go.
        endpoint: Endpoint,
        /// The reason, bounded.
        why: String,
    },
    /// The certificate is not one that [`Trust`](crate::Trust) accepts. No application data was sent.
    #[error("the certificate of {endpoint} is not trusted: {why} (SHA-256 {})", presented.sha256)]
    Untrusted {
        /// Where we wanted to go.
        endpoint: Endpoint,
        /// What the peer showed, with the fingerprints that would accept it.
        presented: Box<Presented>,
        /// What is wrong with it.
        why: Distrust,
    },
    /// User name or password are wrong, expired or locked; vCenter does not say which.
    #[error("the login was refused: user name or password is wrong, expired or locked")]
    InvalidLogin,
    /// The account lacks a right.
    #[error("the account lacks the privilege {privilege} on {object}")]
    NoPermission {
        /// The privilege as vCenter names it, such as `System.Read`.
        privilege: String,
        /// The object as vCenter names it, such as `Folder:group-d1`.
        object: String,
    },
    /// The session has ended, or was ended by somebody. Logging in again is the caller's decision.
    #[error("the session is not authenticated any more")]
    NotAuthenticated,
    /// A vCenter older than this client speaks to.
    #[error("vCenter {version} is older than 6.7")]
    TooOld {
        /// The version of its interface.
        version: String,
    },
    /// An ESXi host, or some other server.
    #[error("{endpoint} is not a vCenter: found {found}")]
    NotVCenter {
        /// Where we asked.
        endpoint: Endpoint,
        /// What answered, bounded.
        found: String,
    },
    /// The server is busy, starting, or out of sessions (429, 502, 503 or 504).
    #[error("vCenter is busy or still starting (http status {status})")]
    Throttled {
        /// The http status.
        status: u16,
        /// How long the server asked us to wait, at most an hour.
        retry_after: Option<Duration>,
    },
    /// An answer exceeded the bound of [`Limits`](crate::Limits).
    #[error("the answer to {method} is larger than {limit} bytes")]
    TooLarge {
        /// The method asked for.
        method: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A read went on for more pages than [`Limits`](crate::Limits) allows.
    #[error("the inventory has more than {limit} pages")]
    TooManyPages {
        /// The bound.
        limit: u32,
    },
    /// vCenter answered with a fault that has no variant of its own.
    #[error("{method} failed with {name}: {message}")]
    Fault {
        /// The method asked for.
        method: &'static str,
        /// The type of the fault, such as `ManagedObjectNotFound`.
        name: String,
        /// What vCenter says about it.
        message: String,
    },
    /// The answer is not what the interface promises.
    #[error("the answer to {method} is malformed: {why}")]
    Malformed {
        /// The method asked for.
        method: &'static str,
        /// What is wrong with it; never a part of the answer.
        why: &'static str,
    },
    /// An argument has a character that XML 1.0 cannot carry. The argument is not shown.
    #[error("the {field} has a character that cannot be sent to vCenter (a control character)")]
    Unwritable {
        /// Which argument.
        field: &'static str,
    },
    /// The TLS settings could not be built. A bug of ours, not of the user's.
    #[error("failed to set up the connection to {endpoint}")]
    Setup {
        /// Where we wanted to go.
        endpoint: Endpoint,
        /// What the library said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// What was under way when a deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Name, TCP and TLS.
    Connect,
    /// A call.
    Call(&'static str),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connecting"),
            Self::Call(method) => f.write_str(method),
        }
    }
}

/// Whether waiting can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same call may succeed later without anybody acting.
    Transient,
    /// Somebody has to change something first.
    Terminal,
}

impl Error {
    /// Whether the same call may succeed later by itself.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NameNotResolved { .. }
            | Self::AddressNotAdmitted { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::NotAuthenticated
            | Self::Throttled { .. }
            | Self::Fault { .. }
            | Self::Malformed { .. } => Retry::Transient,
            // A wrong clock, ours or theirs, rights itself.
            Self::Untrusted { why: Distrust::NotYetValid, .. } => Retry::Transient,
            Self::Untrusted { .. }
            | Self::NotTls { .. }
            | Self::TlsFailed { .. }
            | Self::InvalidLogin
            | Self::NoPermission { .. }
            | Self::TooOld { .. }
            | Self::NotVCenter { .. }
            | Self::TooLarge { .. }
            | Self::TooManyPages { .. }
            | Self::Unwritable { .. }
            | Self::Setup { .. } => Retry::Terminal,
        }
    }
}

/// How much of a peer's text is kept.
const SHOWN_CHARS: usize = 256;

/// A peer's text as a message shows it.
pub(crate) fn peer_text(text: &str) -> String {
    vdo_peer::one_line(text, SHOWN_CHARS)
}
