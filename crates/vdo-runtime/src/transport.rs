//! The connections to the API server: as kube makes them, but what is written is sent at once.
//!
//! Without that a request on a new connection waits for the server to acknowledge the end of the TLS handshake, which it
//! puts off for 40 ms (the delayed acknowledgement of TCP against Nagle's algorithm), and kube has no option for it.

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt as _, DynBody};
use tower::util::BoxService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};
use tower_http::decompression::DecompressionLayer;

/// What carries requests.
pub(crate) type Transport = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// A client without layers of our own.
pub(crate) fn builder(config: Config) -> Result<ClientBuilder<Transport>, kube::Error> {
    // Both are for people on their own machines, and kube knows how; the account of a pod has neither.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return ClientBuilder::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let client = HttpClient::builder(TokioExecutor::new())
        .build(config.rustls_https_connector_with_connector(connector)?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(DecompressionLayer::new())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client)
        .map_response(|answer| answer.map(|body| Box::new(body.map_err(BoxError::from)) as Box<DynBody>));
    Ok(ClientBuilder::new(service.boxed(), config.default_namespace))
}
