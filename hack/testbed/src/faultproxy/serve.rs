//! Connections of clients, and the way of one request: admission, rules before, the server, rules after, the answer.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use super::KillClient;
use super::answer::{Reply, strip};
use super::peer::{Peer, kill_peer};
use super::record::{Outcome, Server};
use super::request::{Request, Verb};
use super::rule::{Action, Body, Point};
use super::state::{Admission, Shared, Step};
use super::stream;
use super::tls::Upstream;

/// How many lines of a watch may wait for a client that does not read.
const LINES_UNDERWAY: usize = 16;

type Answer = hyper::Response<UnsyncBoxBody<Bytes, io::Error>>;

/// What every connection needs.
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    pub(super) acceptor: TlsAcceptor,
    pub(super) upstream: Upstream,
    pub(super) kill: Option<KillClient>,
}

/// The connection ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Close,
    Reset,
}

/// A rule's say in the matter.
enum Next {
    On,
    Give(Reply),
    Cut(Cut, Outcome),
}

/// One connection of a client.
#[derive(Clone)]
struct Client {
    door: Arc<Door>,
    number: u64,
    peer: Peer,
}

pub(super) async fn serve(listener: TcpListener, door: Arc<Door>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, theirs)) => {
                let Ok(ours) = stream.local_addr() else { continue };
                let number = door.shared.connect();
                let client = Client { door: door.clone(), number, peer: Peer { ours, theirs } };
                tokio::spawn(client.serve(stream));
            }
            Err(fault) => eprintln!("fault proxy: {fault}"),
        }
    }
}

impl Client {
    async fn serve(self, stream: TcpStream) {
        stream.set_nodelay(true).ok();
        // Whoever does not speak our TLS is no client; his own log says why.
        let Ok(stream) = self.door.acceptor.accept(stream).await else { return };
        let service = service_fn(|request| self.clone().answer(request));
        let mut connection =
            // The API server has no such limit, and an operator may be silent for long.
            hyper::server::conn::http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
        let ended = (&mut connection).await;
        let reset = ended.is_err_and(|fault| {
            std::error::Error::source(&fault).and_then(|cause| cause.downcast_ref::<Cut>())
                == Some(&Cut::Reset)
        });
        let stream = connection.into_parts().io.into_inner();
        if reset {
            // Without lingering, the kernel answers with a reset instead of a proper end.
            stream.get_ref().0.set_zero_linger().ok();
        }
    }

    async fn answer(self, request: hyper::Request<Incoming>) -> Result<Answer, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut::Close)?.to_bytes();
        let (give, taken) = oneshot::channel();
        // On its own: what was admitted goes its way even when the client is gone.
        tokio::spawn(Exchange::begin(self, parts, body, give));
        taken.await.unwrap_or(Err(Cut::Close))
    }
}

/// The way of one request.
struct Exchange {
    client: Client,
    id: u64,
    request: Request,
}

impl Exchange {
    async fn begin(
        client: Client,
        parts: http::request::Parts,
        body: Bytes,
        give: oneshot::Sender<Result<Answer, Cut>>,
    ) {
        let request = Request::read(&parts.method, &parts.uri, &parts.headers, &body);
        let Admission { id, steps, later, from_the_dead } =
            client.door.shared.admit(client.number, request.clone());
        let exchange = Exchange { client, id, request };
        if from_the_dead {
            return exchange.cut(Cut::Close, Outcome::FromTheDead, give);
        }
        let (streams, steps): (Vec<Step>, Vec<Step>) = steps
            .into_iter()
            .partition(|step| step.action.is_of_streams() && exchange.request.verb == Verb::Watch);
        let (after, before): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| {
            step.action == Action::DropReply
                || (step.point == Point::After
                    && !matches!(step.action, Action::Gone410 { .. } | Action::StaleList { .. }))
        });
        for step in &before {
            match exchange.act(step, None).await {
                Next::On => {}
                Next::Give(reply) => return exchange.give(reply, Outcome::Made, give),
                Next::Cut(cut, outcome) => return exchange.cut(cut, outcome, give),
            }
        }
        let shared = exchange.shared();
        shared.update(id, |record| record.server = Server::Asked);
        let answer = match exchange.client.door.upstream.send(forwarded(parts, body)).await {
            Ok(answer) => answer,
            Err(fault) => {
                let outcome = Outcome::Failed(format!("{fault:#}"));
                return exchange.cut(Cut::Reset, outcome, give);
            }
        };
        let status = answer.status();
        shared.update(id, |record| record.server = Server::Answered(status.as_u16()));
        let (mut head, body) = answer.into_parts();
        strip(&mut head.headers);
        let is_json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
        let lines = head.headers.get(CONTENT_TYPE).is_some_and(is_json)
            && !head.headers.contains_key(CONTENT_ENCODING);
        match later {
            Some(later) if status.is_success() && lines => {
                if let Some((reply, outcome)) = exchange.act_after(&after, None).await {
                    return exchange.finish(reply, outcome, give);
                }
                let (client, lines) = mpsc::channel(LINES_UNDERWAY);
                shared.update(id, |record| record.given = Some(status.as_u16()));
                // A client that is gone takes the other end of the lines with it, which ends the watch.
                give.send(Ok(hyper::Response::from_parts(head, streamed(lines)))).ok();
                stream::pump(exchange.client.door.shared.clone(), id, streams, later, body, client).await;
            }
            // Logs that are followed have no end to wait for, and neither has a watch in a form that we do not read.
            Some(_) if status.is_success() => exchange.pass(head, body, streams, give),
            None if exchange.request.subresource == "log" => exchange.pass(head, body, after, give),
            _ => {
                let body = match body.collect().await {
                    Ok(body) => body.to_bytes(),
                    Err(fault) => {
                        let outcome = Outcome::Failed(format!("the server's answer broke off: {fault}"));
                        return exchange.cut(Cut::Reset, outcome, give);
                    }
                };
                let reply = Reply { status, headers: head.headers, body };
                if exchange.request.verb == Verb::List && status.is_success() {
                    shared.record_list(exchange.request.list_key(), &reply);
                }
                let (reply, outcome) =
                    exchange.act_after(&after, Some(&reply)).await.unwrap_or((Ok(reply), Outcome::Answered));
                exchange.finish(reply, outcome, give);
            }
        }
    }

    /// Lets an answer through of which nothing can be read. Rules that should have acted are a failure.
    fn pass(
        self,
        head: http::response::Parts,
        body: Incoming,
        idle: Vec<Step>,
        give: oneshot::Sender<Result<Answer, Cut>>,
    ) {
        let outcome = match idle.as_slice() {
            [] => Outcome::Answered,
            _ => Outcome::Failed("no rule can act on such an answer".to_owned()),
        };
        self.shared().update(self.id, |record| record.given = Some(head.status.as_u16()));
        self.shared().end(self.id, outcome);
        let body = body.map_err(io::Error::other).boxed_unsync();
        give.send(Ok(hyper::Response::from_parts(head, body))).ok();
    }

    fn shared(&self) -> &Shared {
        &self.client.door.shared
    }

    /// Rules after the server's answer; `None` if they let it pass.
    async fn act_after(
        &self,
        steps: &[Step],
        server: Option<&Reply>,
    ) -> Option<(Result<Reply, Cut>, Outcome)> {
        for step in steps {
            match self.act(step, server).await {
                Next::On => {}
                Next::Give(reply) => return Some((Ok(reply), Outcome::Made)),
                Next::Cut(cut, outcome) => return Some((Err(cut), outcome)),
            }
        }
        None
    }

    async fn act(&self, step: &Step, server: Option<&Reply>) -> Next {
        let fired = || self.shared().fired(self.id, step.id());
        match &step.action {
            Action::Kill => {
                let killed = self.kill().await;
                match killed {
                    Ok(()) => {
                        fired();
                        Next::Cut(Cut::Close, Outcome::Killed)
                    }
                    Err(fault) => {
                        Next::Cut(Cut::Close, Outcome::Failed(format!("failed to kill the client: {fault}")))
                    }
                }
            }
            Action::Reset => {
                fired();
                Next::Cut(Cut::Reset, Outcome::Reset)
            }
            Action::DropReply => {
                fired();
                Next::Cut(Cut::Close, Outcome::Dropped)
            }
            Action::Hold { ms } => {
                if step.is_released() {
                    return Next::On;
                }
                fired();
                self.shared().holds(step.id(), |holds| *holds += 1);
                let released = self.shared().released(step);
                match ms {
                    Some(ms) => drop(tokio::time::timeout(Duration::from_millis(*ms), released).await),
                    None => released.await,
                }
                self.shared().holds(step.id(), |holds| *holds -= 1);
                Next::On
            }
            Action::Delay { ms } => {
                fired();
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                Next::On
            }
            Action::Status { code, retry_after, body } => {
                fired();
                Next::Give(Reply::made(*code, *retry_after, *body, &self.request, server))
            }
            Action::Gone410 { .. } => {
                fired();
                Next::Give(Reply::made(410, None, Body::Standard, &self.request, None))
            }
            Action::StaleList { answer } => {
                match self.shared().recorded_list(&self.request.list_key(), *answer) {
                    Some(reply) => {
                        fired();
                        Next::Give(reply)
                    }
                    None => Next::On,
                }
            }
            // These act on what a watch delivers.
            Action::EndWatch { .. }
            | Action::DropEvent { .. }
            | Action::RepeatEvent { .. }
            | Action::HoldEvents { .. }
            | Action::SwapEvents { .. }
            | Action::Silent { .. } => Next::On,
        }
    }

    /// Until the client is dead nothing of it is forwarded: it may send on other connections meanwhile.
    async fn kill(&self) -> Result<(), String> {
        self.shared().kill_begins();
        let (kill, peer) = (self.client.door.kill.clone(), self.client.peer);
        let killed = tokio::task::spawn_blocking(move || match kill {
            Some(kill) => {
                kill();
                Ok(())
            }
            None => kill_peer(peer),
        });
        let killed = match killed.await {
            Ok(killed) => killed.map_err(|fault| format!("{fault:#}")),
            Err(panicked) => Err(panicked.to_string()),
        };
        self.shared().kill_ends(killed.is_ok());
        killed
    }

    fn finish(self, reply: Result<Reply, Cut>, outcome: Outcome, give: oneshot::Sender<Result<Answer, Cut>>) {
        match reply {
            Ok(reply) => self.give(reply, outcome, give),
            Err(cut) => self.cut(cut, outcome, give),
        }
    }

    fn give(self, reply: Reply, outcome: Outcome, give: oneshot::Sender<Result<Answer, Cut>>) {
        let Reply { status, headers, body } = reply;
        let mut answer = hyper::Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        if give.is_closed() {
            return self.shared().end(self.id, Outcome::ClientGone);
        }
        // Written down first: a client that has its answer may look at the records at once.
        self.shared().update(self.id, |record| record.given = Some(status.as_u16()));
        self.shared().end(self.id, outcome);
        give.send(Ok(answer)).ok();
    }

    fn cut(self, cut: Cut, outcome: Outcome, give: oneshot::Sender<Result<Answer, Cut>>) {
        self.shared().end(self.id, outcome);
        give.send(Err(cut)).ok();
    }
}

/// The request as the server sees it: the client's own, credentials included.
fn forwarded(mut parts: http::request::Parts, body: Bytes) -> hyper::Request<Full<Bytes>> {
    strip(&mut parts.headers);
    hyper::Request::from_parts(parts, Full::new(body))
}

fn streamed(lines: mpsc::Receiver<io::Result<Bytes>>) -> UnsyncBoxBody<Bytes, io::Error> {
    let mut lines = lines;
    let lines = futures::stream::poll_fn(move |context| lines.poll_recv(context));
    StreamBody::new(lines.map(|line| line.map(Frame::data))).boxed_unsync()
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cut::Close => "a rule closes the connection",
            Cut::Reset => "a rule resets the connection",
        })
    }
}

impl std::error::Error for Cut {}
