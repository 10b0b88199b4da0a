//! What goes to the API server and comes back, counted around the client.

use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use kube::client::{Body, DynBody};
use prometheus::IntCounterVec;
use prometheus::core::Collector;
use tower::{BoxError, Layer, Service};

use super::described::Described;

pub(super) const ALL: [Described; 2] = [REQUESTS, BYTES];
const REQUESTS: Described = Described::counter(
    "vdo_api_requests_total",
    &["method", "code"],
    "Requests to the API server, by HTTP method (watch for one that follows changes) and status; none if no answer came.",
);
const BYTES: Described = Described::counter(
    "vdo_api_bytes_total",
    &["direction"],
    "Bytes of bodies sent to the API server and received from it, unpacked.",
);

/// The counters of one connection to an API server. Clones count together.
#[derive(Clone)]
pub struct Traffic {
    requests: IntCounterVec,
    bytes: IntCounterVec,
}

impl Traffic {
    /// Nothing went yet.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        Ok(Traffic { requests: REQUESTS.counters()?, bytes: BYTES.counters()? })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 2] {
        [Box::new(self.requests.clone()), Box::new(self.bytes.clone())]
    }
}

impl<S> Layer<S> for Traffic {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, traffic: self.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    traffic: Traffic,
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let traffic = self.traffic.clone();
        let method = method(&request);
        let sent = request.body().size_hint().exact().unwrap_or_default();
        traffic.bytes.with_label_values(&["sent"]).inc_by(sent);
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(|answer| answer.status().as_u16().to_string());
            traffic.requests.with_label_values(&[method, code.as_deref().unwrap_or("none")]).inc();
            let received = traffic.bytes.with_label_values(&["received"]);
            Ok(answer?.map(|body| -> Box<DynBody> {
                Box::new(body.map_frame(move |frame| {
                    if let Some(data) = frame.data_ref() {
                        received.inc_by(data.len() as u64);
                    }
                    frame
                }))
            }))
        }
        .boxed()
    }
}

/// The word for what a request does.
fn method(request: &Request<Body>) -> &'static str {
    let watches = request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "watch=true"));
    match request.method().as_str() {
        "GET" if watches => "watch",
        "GET" => "get",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}
