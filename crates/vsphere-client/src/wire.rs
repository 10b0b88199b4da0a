//! The only file that sends a request.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE};
use reqwest::{StatusCode, Url};
use rustls::CertificateError;

use crate::error::{Error, Phase, peer_text};
use crate::meter::{Asked, failure};
use crate::resolve::{NoAddress, Resolver, admit_literal};
use crate::soap::{Answer, Flaw, Request};
use crate::target::{Endpoint, Target};
use crate::trust::Distrusted;

const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");
const SESSION_COOKIE: &str = "vmware_soap_session=";
/// The longest cookie we carry; vCenter's has some 60 characters.
const COOKIE_BYTES: usize = 1024;

/// A way to one vCenter, with the cookie of a session if there is one.
pub(crate) struct Wire {
    http: reqwest::Client,
    sdk: Url,
    target: Target,
    action: HeaderValue,
    cookie: Option<HeaderValue>,
}

/// An answer that arrived whole.
pub(crate) struct Received {
    body: Chunks,
    cookie: Option<HeaderValue>,
}

impl Wire {
    pub(crate) fn new(target: Target) -> Result<Self, Error> {
        admit_literal(&target)?;
        let setup = |source| Error::Setup { endpoint: target.endpoint.clone(), source };
        let tls = target.trust.client_config().map_err(setup)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // A call is sent once: what to repeat is the caller's decision.
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::new(Resolver(target.admits)))
            .user_agent(&target.user_agent)
            .connect_timeout(target.limits.connect)
            .timeout(target.limits.call)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| setup(error.into()))?;
        let sdk =
            Url::parse(&format!("https://{}/sdk", target.endpoint)).map_err(|error| setup(error.into()))?;
        Ok(Self { http, sdk, target, action: HeaderValue::from_static("urn:vim25/6.7"), cookie: None })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Speaks another version of the interface from now on.
    pub(crate) fn speak(&mut self, version: &str) -> Result<(), Flaw> {
        let plain = version.len() <= 32 && version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        let action = HeaderValue::try_from(format!("urn:vim25/{version}"));
        match action {
            Ok(action) if plain => self.action = action,
            Ok(_) | Err(_) => return Err(Flaw("its version is none")),
        }
        Ok(())
    }

    /// Carries the cookie of an answer from now on, if it brought one.
    pub(crate) fn adopt_cookie(&mut self, received: &Received) {
        if received.cookie.is_some() {
            self.cookie.clone_from(&received.cookie);
        }
    }

    pub(crate) fn has_cookie(&self) -> bool {
        self.cookie.is_some()
    }

    pub(crate) fn forget_cookie(&mut self) {
        self.cookie = None;
    }

    /// Sends a call, once.
    pub(crate) async fn call(&self, request: Request) -> Result<Received, Error> {
        let method = request.method;
        let body = request.into_body();
        let sent = body.len() as u64;
        let mut post = self
            .http
            .post(self.sdk.clone())
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .header(SOAP_ACTION, &self.action)
            .body(body);
        if let Some(cookie) = &self.cookie {
            post = post.header(COOKIE, cookie);
        }
        // A fault comes with status 500 and an envelope.
        self.receive(post, method, sent, &[StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR]).await
    }

    /// Fetches the list of interface versions, which needs no session.
    pub(crate) async fn fetch_versions(&self, method: &'static str) -> Result<Received, Error> {
        let mut url = self.sdk.clone();
        url.set_path("/sdk/vimServiceVersions.xml");
        self.receive(self.http.get(url), method, 0, &[StatusCode::OK]).await
    }

    async fn receive(
        &self,
        request: reqwest::RequestBuilder,
        method: &'static str,
        sent: u64,
        good: &[StatusCode],
    ) -> Result<Received, Error> {
        let answer = self.exchange(request, method, good).await;
        if let Some(meter) = &self.target.meter {
            let (result, received) = match &answer {
                Ok((StatusCode::OK, received)) => ("ok", received.body.length()),
                Ok((_, received)) => ("fault", received.body.length()),
                Err(error) => (failure(error), 0),
            };
            meter.note(&Asked { method, result, sent, received });
        }
        answer.map(|(_, received)| received)
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        method: &'static str,
        good: &[StatusCode],
    ) -> Result<(StatusCode, Received), Error> {
        let mut response = request.send().await.map_err(|error| self.lost(error, method))?;
        let status = response.status();
        if !good.contains(&status) {
            return Err(self.refused(status, response.headers()));
        }
        let limit = self.target.limits.body;
        let too_large = || Error::TooLarge { method, limit };
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let cookie = session_cookie(response.headers());
        let mut body = Chunks::default();
        let mut length = 0_usize;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(error, method))? {
            length = length.saturating_add(chunk.len());
            if length > limit {
                return Err(too_large());
            }
            body.0.push_back(chunk);
        }
        Ok((status, Received { body, cookie }))
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap) -> Error {
        match status.as_u16() {
            code @ (429 | 502 | 503 | 504) => {
                let wait =
                    headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
                Error::Throttled {
                    status: code,
                    retry_after: wait.map(|s: u64| Duration::from_secs(s.min(3600))),
                }
            }
            code => Error::NotVCenter {
                endpoint: self.target.endpoint.clone(),
                found: format!("a server that answers http status {code}"),
            },
        }
    }

    fn lost(&self, error: reqwest::Error, method: &'static str) -> Error {
        let endpoint = &self.target.endpoint;
        if error.is_timeout() {
            let (phase, after) = if error.is_connect() {
                (Phase::Connect, self.target.limits.connect)
            } else {
                (Phase::Call(method), self.target.limits.call)
            };
            return Error::Timeout { endpoint: endpoint.clone(), phase, after };
        }
        classify(endpoint, Box::new(error.without_url()))
    }
}

impl Received {
    pub(crate) fn read(self) -> Answer<Chunks> {
        Answer::new(self.body)
    }
}

/// The cookie that a response sets, as a request carries it.
fn session_cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    let set = headers.get_all(SET_COOKIE).iter().find_map(|value| {
        let pair = value.to_str().ok()?.split(';').next()?.trim();
        (pair.starts_with(SESSION_COOKIE) && pair.len() > SESSION_COOKIE.len() && pair.len() <= COOKIE_BYTES)
            .then_some(pair)
    })?;
    let mut cookie = HeaderValue::from_str(set).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// Finds the cause that a user can act on in the chain that the libraries built.
pub(crate) fn classify(endpoint: &Endpoint, error: Box<dyn StdError + Send + Sync>) -> Error {
    let endpoint = endpoint.clone();
    let mut next: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(cause) = next {
        next = cause.source();
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return refused_by_tls(endpoint, tls);
        }
        match cause.downcast_ref::<NoAddress>() {
            Some(NoAddress::Failed(kind, text)) => {
                return Error::NameNotResolved { endpoint, source: io::Error::new(*kind, text.clone()) };
            }
            Some(NoAddress::NotAdmitted(address)) => {
                return Error::AddressNotAdmitted { endpoint, address: *address };
            }
            None => {}
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Error::NotVCenter { endpoint, found: "a server that does not speak http".to_string() };
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Error::Refused { endpoint };
            }
            // An I/O error does not count what it wraps as its source.
            if let Some(inner) = io.get_ref() {
                next = Some(inner);
            }
        }
    }
    Error::Unreachable { endpoint, source: error }
}

fn refused_by_tls(endpoint: Endpoint, error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<Distrusted>() {
                Some(Distrusted { presented, why }) => {
                    Error::Untrusted { endpoint, presented: Box::new(presented.clone()), why: why.clone() }
                }
                None => Error::TlsFailed { endpoint, why: peer_text(&error.to_string()) },
            }
        }
        rustls::Error::InvalidMessage(_) => Error::NotTls { endpoint },
        other => Error::TlsFailed { endpoint, why: peer_text(&other.to_string()) },
    }
}

/// The pieces of a body, given back one by one as they are read.
#[derive(Default)]
pub(crate) struct Chunks(VecDeque<Bytes>);

impl Chunks {
    fn length(&self) -> u64 {
        self.0.iter().map(|chunk| chunk.len() as u64).sum()
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        Ok(self.0.front().map_or(&[], |chunk| chunk))
    }

    fn consume(&mut self, taken: usize) {
        if let Some(chunk) = self.0.front_mut() {
            chunk.advance(taken.min(chunk.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_cookie_is_carried_without_its_attributes() {
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("other=1; Path=/"));
        assert_eq!(session_cookie(&headers), None);
        headers
            .append(SET_COOKIE, HeaderValue::from_static("vmware_soap_session=\"52ab\"; Path=/; HttpOnly"));
        let cookie = session_cookie(&headers).unwrap();
        assert_eq!(cookie, "vmware_soap_session=\"52ab\"");
        assert!(!format!("{cookie:?}").contains("52ab"));
    }

    #[test]
    fn chunks_are_read_as_one_text() {
        let mut chunks = Chunks(["ab", "", "c"].map(|s| Bytes::from_static(s.as_bytes())).into());
        let mut text = String::new();
        chunks.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
    }
}
