//! A small API server: a store with versions, conflicts, pages and watches, whose answers a test can script.
//! It runs over loopback sockets, or without sockets, so that time can be paused.

#![allow(dead_code, reason = "each test program uses a part of it")]

mod tls;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vdo_runtime::Cluster;

type Answer = Response<BoxBody<Bytes, Infallible>>;
type Script = Box<dyn FnMut(&Seen) -> Option<Reply> + Send>;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub content_type: String,
    pub user_agent: String,
    pub authorization: String,
    pub body: Value,
    pub at: Instant,
}

impl Seen {
    pub fn is_watch(&self) -> bool {
        self.query.get("watch").is_some_and(|value| value == "true")
    }
}

/// An answer that a test gives in the place of the store.
pub enum Reply {
    /// This status and body.
    Answer(u16, Value),
    /// A failure of this code, as a `Status`.
    Refuse(u16, &'static str),
    /// A failure of this code that asks for a pause of so many seconds.
    Later(u16, u32),
    /// This code with a page for people, as something in front of the server shows it.
    Page(u16),
    /// A plain text that asks for a pause in a header, as the server itself does when it has no time for more.
    Plain(u16, u32),
    /// A watch of these lines, and its end.
    Lines(String),
    /// Nothing, for ever.
    Hang,
    /// The store does it, but nobody hears of it.
    LoseAnswer,
}

#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    history: Vec<(u64, String, Value)>,
    watchers: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    log: Vec<Seen>,
    script: Option<Script>,
    page: Option<usize>,
}

impl Api {
    pub fn new() -> Self {
        Api::default()
    }

    /// A client without sockets.
    pub fn cluster(&self) -> Cluster {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                Ok::<_, Infallible>(api.answer(Request::from_parts(parts, body)).await)
            }
        });
        Cluster::over(kube::Client::new(service, "default"))
    }

    /// What is asked first, before the store.
    pub fn script(&self, script: impl FnMut(&Seen) -> Option<Reply> + Send + 'static) {
        self.0.lock().unwrap().script = Some(Box::new(script));
    }

    pub fn clear_script(&self) {
        self.0.lock().unwrap().script = None;
    }

    /// Lists give at most so many objects at once.
    pub fn page(&self, size: usize) {
        self.0.lock().unwrap().page = Some(size);
    }

    /// Puts an object in the store; the path is that of the object.
    pub fn put(&self, path: &str, object: Value) -> Value {
        self.0.lock().unwrap().put(path, object)
    }

    pub fn delete(&self, path: &str) {
        self.0.lock().unwrap().delete(path);
    }

    /// Removes an object so that no watch ever shows it.
    pub fn delete_unseen(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path);
    }

    pub fn object(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    pub fn log(&self) -> Vec<Seen> {
        self.0.lock().unwrap().log.clone()
    }

    pub fn watches_open(&self) -> usize {
        let mut state = self.0.lock().unwrap();
        state.watchers.retain(|(_, sender)| !sender.is_closed());
        state.watchers.len()
    }

    /// Sends this event on every watch of the collection.
    pub fn send(&self, collection: &str, event: &Value) {
        for (of, sender) in &self.0.lock().unwrap().watchers {
            if of == collection {
                let _ = sender.unbounded_send(line(event));
            }
        }
    }

    /// Sends these bytes on every watch of the collection.
    pub fn send_raw(&self, collection: &str, text: &str) {
        for (of, sender) in &self.0.lock().unwrap().watchers {
            if of == collection {
                let _ = sender.unbounded_send(text.to_owned().into());
            }
        }
    }

    /// Puts an object in the store without a word on any watch; gives the event that nobody was told of.
    pub fn put_unseen(&self, path: &str, object: Value) -> Value {
        let mut state = self.0.lock().unwrap();
        let watchers = std::mem::take(&mut state.watchers);
        state.put(path, object);
        state.watchers = watchers;
        state.history.pop().unwrap().2
    }

    /// What a list of the collection answers now.
    pub fn listed(&self, collection: &str) -> Value {
        let state = self.0.lock().unwrap();
        let items: Vec<&Value> = state
            .objects
            .iter()
            .filter(|(path, _)| collection_of(path) == collection)
            .map(|(_, it)| it)
            .collect();
        let metadata = json!({"resourceVersion": state.version.to_string()});
        json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
    }

    /// Ends every watch, as a server does when their time is over.
    pub fn end_watches(&self) {
        self.0.lock().unwrap().watchers.clear();
    }

    pub async fn answer(&self, request: Request<Bytes>) -> Answer {
        let seen = seen(&request);
        let reply = {
            let mut state = self.0.lock().unwrap();
            state.log.push(seen.clone());
            let State { script, .. } = &mut *state;
            script.as_mut().and_then(|script| script(&seen))
        };
        match reply {
            None => self.0.lock().unwrap().answer(&seen),
            Some(Reply::Answer(code, body)) => whole(code, &body),
            Some(Reply::Refuse(code, message)) => refusal(code, message),
            Some(Reply::Later(code, seconds)) => {
                let mut body = status(code, "later");
                body["details"] = json!({"retryAfterSeconds": seconds});
                whole(code, &body)
            }
            Some(Reply::Page(code)) => {
                text(code, "text/html", "<!DOCTYPE html>\n<html>\n<h1>Please log in</h1>\n</html>\n")
            }
            Some(Reply::Plain(code, seconds)) => {
                let mut answer = text(code, "text/plain", "Too many requests, please try again later.");
                answer.headers_mut().insert("retry-after", seconds.into());
                answer
            }
            Some(Reply::Lines(lines)) => text(200, "application/json", &lines),
            Some(Reply::Hang) => std::future::pending().await,
            Some(Reply::LoseAnswer) => {
                drop(self.0.lock().unwrap().answer(&seen));
                std::future::pending().await
            }
        }
    }
}

impl State {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let verb = match self.objects.get(path) {
            Some(old) => {
                let uid = old["metadata"]["uid"].clone();
                object["metadata"]["uid"] = uid;
                "MODIFIED"
            }
            None => {
                if object["metadata"]["uid"].is_null() {
                    object["metadata"]["uid"] = format!("uid-{}", self.version).into();
                }
                "ADDED"
            }
        };
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        self.tell(path, verb, &object);
        object
    }

    fn delete(&mut self, path: &str) {
        if let Some(mut object) = self.objects.remove(path) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.tell(path, "DELETED", &object);
        }
    }

    fn tell(&mut self, path: &str, verb: &str, object: &Value) {
        let collection = collection_of(path);
        let event = json!({"type": verb, "object": object});
        self.history.push((self.version, collection.clone(), event.clone()));
        for (of, sender) in &self.watchers {
            if *of == collection {
                let _ = sender.unbounded_send(line(&event));
            }
        }
    }

    fn answer(&mut self, seen: &Seen) -> Answer {
        let path = seen.path.strip_suffix("/status").unwrap_or(&seen.path).to_owned();
        let stored = self.objects.get(&path).cloned();
        let wanted = &seen.body["metadata"]["resourceVersion"];
        let stale = stored
            .as_ref()
            .is_some_and(|old| !wanted.is_null() && old["metadata"]["resourceVersion"] != *wanted);
        match (seen.method.as_str(), stored) {
            ("GET", _) if is_collection(&path) && seen.is_watch() => self.watch(seen),
            ("GET", _) if is_collection(&path) => self.list(seen),
            ("GET", Some(object)) => whole(200, &object),
            ("POST", _) => {
                let name = seen.body["metadata"]["name"].as_str().unwrap();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return refusal(409, "already exists");
                }
                let object = self.put(&path, seen.body.clone());
                whole(201, &object)
            }
            ("PUT" | "PATCH", Some(_)) if stale => refusal(409, "the object has been modified"),
            ("PUT", Some(_)) => {
                let object = self.put(&path, seen.body.clone());
                whole(200, &object)
            }
            ("PATCH", stored) => {
                let mut object = stored.unwrap_or_else(|| json!({}));
                if seen.path.ends_with("/status") {
                    // An operator applies its whole part: what it left out of it is gone.
                    for (part, value) in seen.body["status"].as_object().into_iter().flatten() {
                        object["status"][part] = value.clone();
                    }
                } else {
                    merge(&mut object, &seen.body);
                }
                if seen.content_type.contains("apply-patch") && !seen.path.ends_with("/status") {
                    object["metadata"]["managedFields"] = json!([{
                        "manager": seen.query["fieldManager"], "operation": "Apply", "fieldsV1": fields(&seen.body),
                    }]);
                }
                let object = self.put(&path, object);
                whole(200, &object)
            }
            ("DELETE", Some(object)) => {
                let uid = &seen.body["preconditions"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    return refusal(409, "the UID in the precondition does not match");
                }
                self.delete(&path);
                whole(200, &json!({"kind": "Status", "status": "Success"}))
            }
            (_, None) => refusal(404, "not found"),
            _ => refusal(405, "not supported"),
        }
    }

    fn list(&self, seen: &Seen) -> Answer {
        let of = self.objects.iter().filter(|(path, _)| collection_of(path) == seen.path);
        let start: usize = seen.query.get("continue").map_or(0, |token| token.parse().unwrap());
        let size = self.page.unwrap_or(usize::MAX);
        let items: Vec<&Value> = of.map(|(_, object)| object).skip(start).collect();
        let more = items.len() > size;
        let items = &items[..items.len().min(size)];
        let token = if more { (start + size).to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": token});
        whole(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn watch(&mut self, seen: &Seen) -> Answer {
        let (sender, lines) = mpsc::unbounded();
        let from: u64 = seen.query["resourceVersion"].parse().unwrap();
        for (version, collection, event) in &self.history {
            if *version > from && *collection == seen.path {
                let _ = sender.unbounded_send(line(event));
            }
        }
        self.watchers.push((seen.path.clone(), sender));
        let body = StreamBody::new(lines.map(|line| Ok(Frame::data(line))));
        Response::builder().header("content-type", "application/json").body(BodyExt::boxed(body)).unwrap()
    }
}

/// The names of the fields, as managed fields show them.
fn fields(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (format!("f:{key}"), fields(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => json!({}),
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn is_collection(path: &str) -> bool {
    let rest = path.trim_start_matches("/apis").trim_start_matches("/api");
    let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let version =
        segments.iter().position(|segment| segment.starts_with('v') && segment[1..2].parse::<u8>().is_ok());
    let Some(version) = version else { return false };
    let rest = &segments[version + 1..];
    matches!(rest, [_] | ["namespaces", _, _])
}

fn collection_of(path: &str) -> String {
    path.rsplit_once('/').unwrap().0.to_owned()
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

fn whole(code: u16, body: &Value) -> Answer {
    text(code, "application/json", &body.to_string())
}

fn text(code: u16, content_type: &str, body: &str) -> Answer {
    let body = Full::new(Bytes::from(body.to_owned())).boxed();
    Response::builder().status(code).header("content-type", content_type).body(body).unwrap()
}

fn refusal(code: u16, message: &str) -> Answer {
    whole(code, &status(code, message))
}

pub fn status(code: u16, message: &str) -> Value {
    let reason = if code == 404 { "NotFound" } else { "" };
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": reason,
    })
}

fn seen(request: &Request<Bytes>) -> Seen {
    let header = |name: &str| {
        let value = request.headers().get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    let pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    Seen {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        content_type: header("content-type"),
        user_agent: header("user-agent"),
        authorization: header("authorization"),
        body: serde_json::from_slice(request.body()).unwrap_or_default(),
        at: Instant::now(),
    }
}

/// The server on a loopback port, over TLS or not. It can go away in two ways, and come back on the same port.
pub struct Listening {
    pub address: SocketAddr,
    api: Api,
    tls: Option<Tls>,
    accept: Option<JoinHandle<()>>,
    /// Connections that were taken and get no answer, also when the server is back: as behind a firewall
    /// that forgot them.
    silent: Arc<Mutex<Vec<TcpStream>>>,
}

impl Listening {
    /// Over plain HTTP.
    pub async fn start(api: &Api) -> Self {
        Listening::begin(api, None).await
    }

    /// Over TLS, with a certificate that only [`Listening::cluster`] trusts.
    pub async fn start_tls(api: &Api) -> Self {
        Listening::begin(api, Some(Tls::new())).await
    }

    async fn begin(api: &Api, tls: Option<Tls>) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let mut it = Listening { address, api: api.clone(), tls, accept: None, silent: Arc::default() };
        it.up().await;
        it
    }

    /// Serves; ends an outage of either kind.
    pub async fn up(&mut self) {
        let listener = self.listener().await;
        let (api, tls) = (self.api.clone(), self.tls.clone());
        self.accept = Some(tokio::spawn(async move {
            // Aborting this task drops the set, and with it every connection.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (api, tls) = (api.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, api).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.acceptor.accept(stream).await {
                                serve(stream, api).await;
                            }
                        }
                    }
                });
            }
        }));
    }

    /// Closes the port and breaks every connection: new ones are refused.
    pub async fn down(&mut self) {
        if let Some(accept) = self.accept.take() {
            accept.abort();
            let _ = accept.await;
        }
    }

    /// Breaks every connection; new ones are taken, and then nothing is said.
    pub async fn mute(&mut self) {
        let listener = self.listener().await;
        let silent = self.silent.clone();
        self.accept = Some(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                silent.lock().unwrap().push(stream);
            }
        }));
    }

    /// How many connections were taken in silence.
    pub fn muted(&self) -> usize {
        self.silent.lock().unwrap().len()
    }

    /// The port, free of whatever served it.
    async fn listener(&mut self) -> TcpListener {
        self.down().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        listener
    }

    pub fn cluster(&self) -> Cluster {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut config = kube::Config::new(format!("{scheme}://{}", self.address).parse().unwrap());
        config.root_cert = self.tls.as_ref().map(|tls| vec![tls.authority.clone()]);
        Cluster::with_config(config, "vdo-test", "1.2.3").unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(accept) = &self.accept {
            accept.abort();
        }
    }
}

/// Answers the requests of one connection.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, api: Api) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let api = api.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            Ok::<_, Infallible>(api.answer(Request::from_parts(parts, body)).await)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Waits until the condition holds; the test fails when it does not within the limit.
pub async fn until(what: &str, limit: std::time::Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

pub const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/vdo/leases/vdo-core";

pub fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "a"}, "data": {"key": value},
    })
}

pub fn config_map_path(name: &str) -> String {
    format!("/api/v1/namespaces/a/configmaps/{name}")
}
