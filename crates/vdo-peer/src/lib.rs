//! What a peer said, and why it is not believed.
//!
//! [`one_line`] makes a peer's text fit for a message, [`CertificateFault`] reads what the TLS library found. Each
//! client has its own words for that.
//!
//! **Invariant:** nothing here performs I/O or reads a clock. Of a text no more comes out than the caller said, and
//! no character that could break a line or turn its order.

#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

use rustls::CertificateError;

/// A peer's text, fit for a log line or a condition: at most `limit` characters of it, on one line, without
/// control characters. A mark at the end tells that it was cut.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut blank = true;
    for (taken, c) in text.chars().enumerate() {
        if taken == limit {
            shown.push('…');
            break;
        }
        if c.is_whitespace() || c.is_control() || reorders(c) {
            if !blank {
                shown.push(' ');
            }
            blank = true;
        } else {
            shown.push(c);
            blank = false;
        }
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// Characters that make a line read differently from what it says.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// What is wrong with a certificate, as far as somebody can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// Signed by nobody we trust, or self-signed.
    UnknownIssuer,
    /// Valid, and for somebody else.
    NameMismatch,
    /// Too old.
    Expired,
    /// Too new, or a clock is wrong.
    NotYetValid,
}

impl CertificateFault {
    /// `None` for every other error, which only the TLS library has words for.
    pub fn of(error: &rustls::Error) -> Option<Self> {
        let rustls::Error::InvalidCertificate(error) = error else { return None };
        match error {
            CertificateError::UnknownIssuer => Some(Self::UnknownIssuer),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some(Self::NameMismatch)
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some(Self::Expired),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Some(Self::NotYetValid)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn a_peers_text_is_bounded_and_on_one_line() {
        assert_eq!(one_line("  a\r\n\tb\u{1b}[31m\u{202e}c\0 ", 120), "a b [31m c");
        assert_eq!(one_line("abc", 3), "abc");
        let long = one_line(&"é".repeat(10_000), 120);
        assert_eq!(long.chars().count(), 121);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_certificate_has_the_same_fault_with_and_without_its_details() {
        let (time, earlier) =
            (UnixTime::since_unix_epoch(Duration::from_secs(1)), UnixTime::since_unix_epoch(Duration::ZERO));
        let expected = ServerName::try_from("mirror.example.com").unwrap();
        for (error, fault) in [
            (CertificateError::UnknownIssuer, Some(CertificateFault::UnknownIssuer)),
            (CertificateError::NotValidForName, Some(CertificateFault::NameMismatch)),
            (
                CertificateError::NotValidForNameContext { expected, presented: Vec::new() },
                Some(CertificateFault::NameMismatch),
            ),
            (CertificateError::Expired, Some(CertificateFault::Expired)),
            (CertificateError::ExpiredContext { time, not_after: earlier }, Some(CertificateFault::Expired)),
            (CertificateError::NotValidYet, Some(CertificateFault::NotYetValid)),
            (
                CertificateError::NotValidYetContext { time: earlier, not_before: time },
                Some(CertificateFault::NotYetValid),
            ),
            (CertificateError::Revoked, None),
        ] {
            let error = rustls::Error::InvalidCertificate(error);
            assert_eq!(CertificateFault::of(&error), fault, "{error}");
        }
        assert_eq!(CertificateFault::of(&rustls::Error::DecryptError), None);
    }
}
