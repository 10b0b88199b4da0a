//! What the head of an answer means, before a byte of the document is read.

use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION, TRANSFER_ENCODING,
};
use hyper::http::response::Parts;

use crate::address::{Address, AddressError};
use crate::error::{FetchError, Part, peer_text};
use crate::trust::Pin;

/// The longest mark that is kept; servers use some 40 characters.
const LONGEST_MARK: usize = 256;

/// The marks that a server put on a document, to be sent back with the next fetch of the same address.
///
/// They come from the server and can be kept as text. A mark that no request can carry is not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The header `ETag`, with its quotation marks.
    pub etag: Option<String>,
    /// The header `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What came of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The document is the one whose marks were sent.
    Unchanged,
    /// A document. Nobody has said yet that it may be trusted.
    Document {
        /// Its content, at most as long as [`Limits::body`](crate::Limits::body).
        bytes: Vec<u8>,
        /// What to send with the next fetch.
        known: Known,
        /// Its digest.
        sha256: Pin,
    },
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask there.
    Follow(Address),
    /// Nothing: we have it.
    Keep,
    /// Read the document, which has these marks.
    Read(Known),
}

impl Known {
    /// The headers that make a request conditional.
    pub(crate) fn conditions(&self) -> Vec<(HeaderName, HeaderValue)> {
        let marks = [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)];
        let header = |(name, mark): (HeaderName, &Option<String>)| {
            let mark = mark.as_deref().filter(|mark| fits(mark))?;
            Some((name, HeaderValue::from_str(mark).ok()?))
        };
        marks.into_iter().filter_map(header).collect()
    }
}

fn fits(mark: &str) -> bool {
    (1..=LONGEST_MARK).contains(&mark.len())
}

/// Judges the head of an answer to a request that was sent with the marks of `sent`.
pub(crate) fn judge(at: &Address, head: &Parts, sent: &Known, limit: usize) -> Result<Next, FetchError> {
    let headers = &head.headers;
    match head.status.as_u16() {
        200 => {
            only_plain(at, headers)?;
            let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            if length.is_some_and(|length: u64| length > limit as u64) {
                return Err(FetchError::TooLarge { at: at.to_string(), part: Part::Body, limit });
            }
            Ok(Next::Read(Known { etag: mark(headers, ETAG), last_modified: mark(headers, LAST_MODIFIED) }))
        }
        304 if !sent.conditions().is_empty() => Ok(Next::Keep),
        301 | 302 | 303 | 307 | 308 if headers.contains_key(LOCATION) => follow(at, headers),
        status => Err(FetchError::Status { at: at.to_string(), status }),
    }
}

fn mark(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mark = headers.get(name)?.to_str().ok()?;
    fits(mark).then(|| mark.to_owned())
}

fn follow(at: &Address, headers: &HeaderMap) -> Result<Next, FetchError> {
    let location = headers.get(LOCATION).map_or(&[][..], HeaderValue::as_bytes);
    // What is not UTF-8 becomes a character that no address has.
    let to = at.redirected(&String::from_utf8_lossy(location)).map_err(|why| match why {
        AddressError::NotAllowed { address, why } => {
            FetchError::AddressNotAllowed { at: at.to_string(), address, why }
        }
        why => FetchError::RedirectRefused { at: at.to_string(), why },
    })?;
    // Whoever was asked for the document answers for it; he does not choose who else is asked.
    if to.is_same_server(at) {
        Ok(Next::Follow(to))
    } else {
        Err(FetchError::RedirectToOtherServer { at: at.to_string(), to: to.host_and_port() })
    }
}

/// A document that has to be unpacked could be a thousand times as long as what is read.
fn only_plain(at: &Address, headers: &HeaderMap) -> Result<(), FetchError> {
    let is = |value: &HeaderValue, plain: &str| {
        let value = value.as_bytes().trim_ascii();
        value.is_empty() || value.eq_ignore_ascii_case(plain.as_bytes())
    };
    let packed = headers.get_all(CONTENT_ENCODING).iter().find(|value| !is(value, "identity"));
    // The transfer in chunks is undone by hyper, any other is not.
    let transfer = headers.get_all(TRANSFER_ENCODING).iter().find(|value| !is(value, "chunked"));
    match packed.or(transfer) {
        Some(value) => {
            let found = peer_text(&String::from_utf8_lossy(value.as_bytes()));
            Err(FetchError::Encoding { at: at.to_string(), found })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::*;
    use crate::error::Retry;

    fn at() -> Address {
        "https://mirror.example.com/m?token=hunter2".parse().unwrap()
    }

    fn judged(status: u16, headers: &[(&str, &str)], sent: &Known) -> Result<Next, FetchError> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        judge(&at(), &answer.body(()).unwrap().into_parts().0, sent, 1_000)
    }

    fn location_of(location: &str) -> Address {
        at().redirected(location).unwrap()
    }

    fn nothing() -> Known {
        Known::default()
    }

    fn some(etag: &str) -> Known {
        Known { etag: Some(etag.into()), last_modified: None }
    }

    #[test]
    fn a_document_is_read_with_its_marks() {
        let date = "Sat, 01 Jan 2028 00:00:00 GMT";
        let headers = [("etag", "W/\"7\""), ("last-modified", date), ("content-length", "1000")];
        let known = Known { etag: Some("W/\"7\"".into()), last_modified: Some(date.into()) };
        assert_eq!(judged(200, &headers, &nothing()).unwrap(), Next::Read(known));
        let long = "x".repeat(LONGEST_MARK + 1);
        assert_eq!(judged(200, &[("etag", &long)], &nothing()).unwrap(), Next::Read(nothing()));
        assert_eq!(judged(200, &[("etag", "")], &nothing()).unwrap(), Next::Read(nothing()));
    }

    #[test]
    fn only_200_and_an_awaited_304_count() {
        assert_eq!(judged(304, &[], &some("\"7\"")).unwrap(), Next::Keep);
        for (status, sent) in [
            (304, nothing()),
            (304, some("")),
            (101, nothing()),
            (201, nothing()),
            (204, nothing()),
            (206, nothing()),
            (300, nothing()),
            (302, nothing()),
            (401, nothing()),
            (404, nothing()),
            (500, nothing()),
            (999, nothing()),
        ] {
            let error = judged(status, &[], &sent).unwrap_err();
            assert!(
                matches!(error, FetchError::Status { status: found, .. } if found == status),
                "{error:?}"
            );
            assert!(error.to_string().contains("https://mirror.example.com/m?…"), "{error}");
        }
    }

    #[test]
    fn a_status_comes_with_what_to_do() {
        for (status, remedy) in [
            (403, "no credentials are ever sent"),
            (404, "check the path"),
            (503, "is asked again later"),
            (204, "only 200 brings a document"),
        ] {
            let shown = judged(status, &[], &nothing()).unwrap_err().to_string();
            assert!(shown.contains(remedy), "{shown}");
        }
    }

    #[test]
    fn what_announces_more_than_the_limit_is_not_read() {
        for length in ["1001", "5368709120", "18446744073709551615"] {
            let error = judged(200, &[("content-length", length)], &nothing()).unwrap_err();
            assert!(
                matches!(error, FetchError::TooLarge { part: Part::Body, limit: 1_000, .. }),
                "{error:?}"
            );
        }
    }

    #[test]
    fn only_a_plain_document_is_read() {
        for headers in [
            [("content-encoding", "identity"), ("transfer-encoding", "Chunked")],
            [("content-encoding", "Identity"), ("x", "gzip")],
            [("content-encoding", ""), ("x", "gzip")],
        ] {
            assert!(judged(200, &headers, &nothing()).is_ok(), "{headers:?}");
        }
        for headers in [
            [("content-encoding", "gzip"), ("x", "y")],
            [("content-encoding", "identity"), ("content-encoding", "br")],
            [("content-encoding", "identity, gzip"), ("x", "y")],
            [("content-encoding", "zstd"), ("etag", "\"7\"")],
            [("x", "y"), ("transfer-encoding", "gzip, chunked")],
            [("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")],
        ] {
            let error = judged(200, &headers, &nothing()).unwrap_err();
            assert!(matches!(error, FetchError::Encoding { .. }), "{headers:?}: {error:?}");
        }
        let FetchError::Encoding { found, .. } =
            judged(200, &[("content-encoding", &"x\ty".repeat(500))], &nothing()).unwrap_err()
        else {
            panic!("another variant")
        };
        assert!(found.starts_with("x yx y") && found.chars().count() < 200, "{found}");
    }

    #[test]
    fn a_redirect_is_followed_or_refused_for_its_reason() {
        for status in [301, 302, 303, 307, 308] {
            let next = judged(status, &[("location", "/n")], &nothing()).unwrap();
            assert_eq!(next, Next::Follow("https://mirror.example.com/n".parse().unwrap()));
        }
        for location in ["https://Mirror.example.com:443/n", "//mirror.example.com/n"] {
            let next = judged(302, &[("location", location)], &nothing()).unwrap();
            assert_eq!(next, Next::Follow(location_of(location)), "{location}");
        }
        for (location, to) in [
            ("https://store.example.net/n?token=hunter2", "store.example.net:443"),
            ("//www.mirror.example.com/n", "www.mirror.example.com:443"),
            ("https://mirror.example.com:8443/n", "mirror.example.com:8443"),
            ("https://[2001:db8::7]/n", "[2001:db8::7]:443"),
        ] {
            let error = judged(302, &[("location", location)], &nothing()).unwrap_err();
            assert_eq!((error.name(), error.retry()), ("RedirectToOtherServer", Retry::Terminal));
            let shown = error.to_string();
            assert!(shown.contains(&format!("another server, {to}, ")), "{shown}");
            assert!(shown.contains("as versionConfigURL") && !shown.contains("hunter2"), "{shown}");
        }
        let error = judged(302, &[("location", "https://169.254.169.254/")], &nothing()).unwrap_err();
        assert_eq!(error.name(), "AddressNotAllowed");
        assert!(error.to_string().contains("169.254.169.254, a link-local address"), "{error}");
        for location in
            ["http://mirror.example.com/n", "file:///etc/shadow", "https://me:secret@a.example/", "/\\b"]
        {
            let error = judged(302, &[("location", location)], &nothing()).unwrap_err();
            assert_eq!(error.name(), "RedirectRefused", "{location}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn marks_that_no_request_can_carry_are_not_sent() {
        assert_eq!(some("\"7\"").conditions(), [(IF_NONE_MATCH, HeaderValue::from_static("\"7\""))]);
        for etag in ["", "\"7\"\r\nX: y", "\u{1}", &"x".repeat(LONGEST_MARK + 1)] {
            assert!(some(etag).conditions().is_empty(), "{etag:?}");
        }
    }
}
