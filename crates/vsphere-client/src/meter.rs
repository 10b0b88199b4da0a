//! Tells whoever counts what was asked of a vCenter.

use std::fmt;

use crate::error::Error;

/// Counts requests.
pub trait Meter: Send + Sync {
    /// A request came to its end.
    fn note(&self, asked: &Asked);
}

impl fmt::Debug for dyn Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

/// A request and what came of it, without a word of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The method of vCenter's interface.
    pub method: &'static str,
    /// `ok`, `fault` (vCenter answered that it will not), `status` (an HTTP status that no vCenter gives), `timeout` or
    /// `lost`.
    pub result: &'static str,
    /// Bytes of the body that was sent.
    pub sent: u64,
    /// Bytes of the body that came back; none if it did not come whole.
    pub received: u64,
}

/// The word for a request that failed below the interface.
pub(crate) fn failure(error: &Error) -> &'static str {
    match error {
        Error::Timeout { .. } => "timeout",
        Error::Throttled { .. } | Error::NotVCenter { .. } => "status",
        _ => "lost",
    }
}
