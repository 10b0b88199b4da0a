//! Around the client library: a token that counts from the moment it is rotated, and what a server says in a header only.

#![allow(clippy::disallowed_methods, reason = "a token that is rotated is a file that is read again")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use kube::Config;
use kube::client::{Body, DynBody};
use serde_json::{Value, json};
use tower::BoxError;
use vdo_api::condition::clip;

use crate::fault::KubeFault;
use crate::watch::lock;

type Answer = Result<Response<Box<DynBody>>, BoxError>;

/// The token of this process, in a file that somebody else writes anew.
///
/// The library keeps a token for most of a minute. With one that is no longer accepted that is longer than the Lease
/// lasts: the process would lose it and be started again only to read a file. So nothing is kept, and each request
/// reads the file, which is in memory and small.
#[derive(Clone)]
pub(crate) struct TokenFile {
    path: PathBuf,
    /// Goes on counting when the file cannot be read: it may be in the middle of being replaced.
    last: Arc<Mutex<HeaderValue>>,
}

impl TokenFile {
    /// Takes the file out of the configuration, if the token is to come from one.
    pub(crate) fn taken_from(config: &mut Config) -> Result<Option<Self>, KubeFault> {
        if config.auth_info.token.is_some() {
            return Ok(None);
        }
        let Some(path) = config.auth_info.token_file.take().map(PathBuf::from) else { return Ok(None) };
        let last =
            read(&path).map_err(|why| KubeFault::Other { message: format!("{}: {why}", path.display()) })?;
        Ok(Some(TokenFile { path, last: Arc::new(Mutex::new(last)) }))
    }

    /// The request with the token that the file holds now.
    pub(crate) fn on(&self, mut request: Request<Body>) -> Request<Body> {
        let mut last = lock(&self.last);
        if let Ok(now) = read(&self.path) {
            *last = now;
        }
        request.headers_mut().insert(header::AUTHORIZATION, last.clone());
        request
    }
}

fn read(path: &PathBuf) -> Result<HeaderValue, String> {
    let token = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let token = token.trim();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "it holds no token".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A server that is too busy to make a `Status` says in a header alone for how long it wants to be left alone, and the
/// library does not look there. Here it gets its `Status`.
pub(crate) async fn spelled_out(answer: Answer) -> Answer {
    let response = answer?;
    let asked = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let Some(seconds) = asked.filter(|_| response.status() == StatusCode::TOO_MANY_REQUESTS) else {
        return Ok(response);
    };
    let (mut parts, body) = response.into_parts();
    let said = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut status = serde_json::from_slice::<Value>(&said).ok().filter(Value::is_object).unwrap_or_else(|| {
        let message = clip(&String::from_utf8_lossy(&said), 256);
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "TooManyRequests", "message": message})
    });
    status["code"] = StatusCode::TOO_MANY_REQUESTS.as_u16().into();
    if !status["details"].is_object() {
        status["details"] = json!({});
    }
    status["details"]["retryAfterSeconds"] = seconds.into();
    parts.headers.remove(header::CONTENT_LENGTH);
    let body: Box<DynBody> =
        Box::new(Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}));
    Ok(Response::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, retry_after: Option<&str>, text: &str) -> Answer {
        let body: Box<DynBody> =
            Box::new(Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}));
        let mut response = Response::builder().status(code);
        if let Some(value) = retry_after {
            response = response.header("retry-after", value);
        }
        Ok(response.body(body).unwrap())
    }

    async fn text(response: Response<Box<DynBody>>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_header_that_asks_for_a_pause_ends_up_in_the_status() {
        let plain =
            spelled_out(answer(429, Some("7"), "Too many requests, please try again later.")).await.unwrap();
        let status: kube::core::Status = serde_json::from_str(&text(plain).await).unwrap();
        assert_eq!((status.code, status.details.unwrap().retry_after_seconds), (429, 7));
        let own = r#"{"kind":"Status","code":429,"message":"m","details":{"kind":"nodes"}}"#;
        let whole = spelled_out(answer(429, Some("7"), own)).await.unwrap();
        let status: kube::core::Status = serde_json::from_str(&text(whole).await).unwrap();
        assert_eq!((status.message.as_str(), status.details.unwrap().kind.as_str()), ("m", "nodes"));
    }

    #[tokio::test]
    async fn every_other_answer_is_left_as_it_is() {
        for (code, header) in
            [(429, None), (429, Some("Wed, 21 Oct 2026 07:28:00 GMT")), (503, Some("7")), (200, Some("7"))]
        {
            assert_eq!(
                text(spelled_out(answer(code, header, "as it is")).await.unwrap()).await,
                "as it is",
                "{code}"
            );
        }
    }
}
