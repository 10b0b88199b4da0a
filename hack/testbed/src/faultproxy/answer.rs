//! Whole answers: those of the server, and those that rules make.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::request::{Request, Verb};
use super::rule::Body;

/// What concerns one connection and is not passed on to the other.
const OF_ONE_CONNECTION: [HeaderName; 4] =
    [CONNECTION, HeaderName::from_static("keep-alive"), TRANSFER_ENCODING, UPGRADE];

const HTML: &str = "<html>\r\n<head><title>Service unavailable</title></head>\r\n\
    <body><center><h1>Service unavailable</h1></center></body>\r\n</html>\r\n";
const NOT_GZIP: &str = "this text was never compressed";

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Reply { status, headers, body: body.into() }
    }

    /// What a rule answers. `server` is the server's answer if it gave one.
    pub(super) fn made(
        code: u16,
        retry_after: Option<u64>,
        body: Body,
        request: &Request,
        server: Option<&Reply>,
    ) -> Reply {
        let status = StatusCode::from_u16(code).expect("rules are checked for it");
        let standard = || Reply::new(status, "application/json", status_object(code, retry_after, request));
        let mut reply = match body {
            Body::Standard => standard(),
            Body::Html => Reply::new(status, "text/html", HTML),
            Body::Empty => Reply::new(status, "application/json", ""),
            Body::BrokenGzip => {
                let mut reply = Reply::new(status, "application/json", NOT_GZIP);
                reply.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                reply
            }
            Body::Truncated => {
                let mut reply = match server.filter(|reply| !reply.body.is_empty()) {
                    Some(server) => Reply { status, ..server.clone() },
                    None => standard(),
                };
                reply.headers.remove(CONTENT_LENGTH);
                reply.body.truncate(reply.body.len() / 2);
                reply
            }
        };
        if let Some(seconds) = retry_after {
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        reply
    }
}

/// Leaves what belongs to the message. The length is for whoever writes the body.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
}

/// The Status object that the API server gives with this code.
fn status_object(code: u16, retry_after: Option<u64>, request: &Request) -> String {
    let name = if request.name.is_empty() { request.resource.as_str() } else { request.name.as_str() };
    let (reason, message) = match code {
        400 => ("BadRequest", format!("the request for {name} is not understood")),
        401 => ("Unauthorized", "Unauthorized".to_owned()),
        403 => ("Forbidden", format!("{} {name:?} is forbidden", request.resource)),
        404 => ("NotFound", format!("{} {name:?} not found", request.resource)),
        405 => ("MethodNotAllowed", "the server does not allow this method".to_owned()),
        409 if request.verb == Verb::Create => {
            ("AlreadyExists", format!("{} {name:?} already exists", request.resource))
        }
        409 => (
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please apply your \
                 changes to the latest version and try again",
                request.resource
            ),
        ),
        410 => ("Expired", EXPIRED.to_owned()),
        413 => ("RequestEntityTooLarge", "the request is too large".to_owned()),
        422 => ("Invalid", format!("{} {name:?} is invalid", request.resource)),
        429 => ("TooManyRequests", "too many requests, please try again later".to_owned()),
        500 => ("InternalError", "an error on the server has prevented the request".to_owned()),
        503 => ("ServiceUnavailable", "the server is currently unable to answer".to_owned()),
        504 => ("Timeout", "the server was unable to answer in time".to_owned()),
        _ => ("", String::new()),
    };
    let mut details = json!({"name": request.name, "group": request.group, "kind": request.resource});
    if let Some(seconds) = retry_after {
        details["retryAfterSeconds"] = json!(seconds);
    }
    let outcome = if code < 400 { "Success" } else { "Failure" };
    status(outcome, code, reason, &message, Some(details)).to_string()
}

const EXPIRED: &str = "too old resource version";

/// The event that ends a watch whose version the server no longer has.
pub(super) fn gone_event() -> Bytes {
    let object = status("Failure", 410, "Expired", EXPIRED, None);
    let mut line = json!({"type": "ERROR", "object": object}).to_string();
    line.push('\n');
    line.into()
}

fn status(outcome: &str, code: u16, reason: &str, message: &str, details: Option<Value>) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": outcome,
        "message": message, "reason": reason, "code": code});
    if let Some(details) = details {
        status["details"] = details;
    }
    status
}
