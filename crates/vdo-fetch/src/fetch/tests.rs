//! Every way in which a server, a network or a proxy can misbehave: what it ends in, when, and after how many
//! bytes.

mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use server::{Authority, Say, Server, VALID, answer, redirect};

use super::*;
use crate::allowed::Forbidden;
use crate::error::Retry;
use crate::network::tests::Script;
use crate::tls::Distrust;

const MIRROR: &str = "https://mirror.example.com/m";
const BODY: usize = 100_000;
/// What may be taken beyond a limit: the handshake, the head, and the buffers that are filled before we look.
const SLACK: usize = 64 << 10;
/// Within this a fetch ends that no deadline ends, however busy the machine is.
const SOON: Duration = Duration::from_secs(25);

/// Long deadlines: what ends in time does so for another reason.
fn patient() -> Limits {
    Limits { body: BODY, connect: Duration::from_secs(30), total: Duration::from_secs(60), redirects: 3 }
}

fn hurried() -> Limits {
    Limits { total: Duration::from_millis(1_500), ..patient() }
}

struct Client {
    fetcher: Fetcher,
    script: Arc<Script>,
}

fn client(authority: &Authority, script: Script, limits: Limits, proxy: Option<Proxy>) -> Client {
    let script = Arc::new(script);
    let roots = Roots::with_bundle(authority.pem().as_bytes()).unwrap();
    let settings = Settings { roots, proxy, limits };
    Client { fetcher: Fetcher::over(Network::Scripted(script.clone()), settings), script }
}

impl Client {
    async fn fetch(&self, address: &str) -> Result<Fetched, FetchError> {
        self.fetch_knowing(address, &Known::default()).await
    }

    async fn fetch_knowing(&self, address: &str, known: &Known) -> Result<Fetched, FetchError> {
        let address = address.parse().unwrap();
        timeout(SOON, self.fetcher.fetch(&address, known)).await.expect("the fetch did not end")
    }

    /// The error of a fetch, that it is fit to be shown, and that no more came than one connection carries.
    async fn fails(&self, address: &str) -> FetchError {
        let error = self.fetch(address).await.unwrap_err();
        let shown = error.to_string();
        assert!(!shown.chars().any(char::is_control) && shown.chars().count() < 500, "{shown}");
        assert!(!shown.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{shown}");
        assert!(self.taken() <= self.fetcher.connection() + SLACK, "{}", self.taken());
        error
    }

    fn taken(&self) -> usize {
        self.script.taken.load(Ordering::Relaxed)
    }

    fn connected(&self) -> Vec<String> {
        self.script.connected.lock().unwrap().iter().map(SocketAddr::to_string).collect()
    }

    fn asked(&self) -> Vec<String> {
        self.script.asked.lock().unwrap().clone()
    }
}

/// A script with the mirror in it.
fn with_mirror(server: &Server) -> Script {
    Script::default().with_name("mirror.example.com", &["192.0.2.7"]).with_server("192.0.2.7:443", server.at)
}

/// A mirror that answers as `script` says, and a client that trusts it.
async fn mirror(limits: Limits, script: impl Fn(&str) -> Say + Send + Sync + 'static) -> (Server, Client) {
    let authority = Authority::new();
    let server = Server::start(authority.server(&["mirror.example.com"], VALID), script).await;
    let client = client(&authority, with_mirror(&server), limits, None);
    (server, client)
}

async fn mirror_saying(limits: Limits, say: Say) -> (Server, Client) {
    mirror(limits, move |_| say.clone()).await
}

fn document(fetched: Fetched) -> (Vec<u8>, Known) {
    let Fetched::Document { bytes, known, sha256 } = fetched else { panic!("{fetched:?}") };
    assert_eq!(sha256, Pin::of(&bytes));
    (bytes, known)
}

// Good servers.

#[tokio::test]
async fn a_document_comes_whole_with_its_digest_and_its_marks() {
    let headers = "ETag: \"7\"\r\nLast-Modified: Sat, 01 Jan 2028 00:00:00 GMT\r\n";
    let (server, client) = mirror_saying(patient(), answer(200, headers, b"{}")).await;
    let (bytes, known) = document(client.fetch("https://mirror.example.com/m?v=1").await.unwrap());
    assert_eq!(bytes, b"{}");
    assert_eq!(known.etag.as_deref(), Some("\"7\""));
    assert_eq!(known.last_modified.as_deref(), Some("Sat, 01 Jan 2028 00:00:00 GMT"));
    server.quiet().await;
    let [head] = &server.heads()[..] else { panic!("{:?}", server.heads()) };
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("get /m?v=1 http/1.1\r\n"), "{head}");
    for line in ["host: mirror.example.com", "accept-encoding: identity", "connection: close"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    for name in ["if-none-match", "if-modified-since", "authorization", "cookie", "proxy"] {
        assert!(!head.contains(name), "{head}");
    }
}

#[tokio::test]
async fn a_document_that_did_not_change_is_not_sent_again() {
    let (server, client) = mirror(patient(), |head| {
        let head = head.to_ascii_lowercase();
        let known =
            head.contains("if-none-match: \"7\"\r\n") && head.contains("if-modified-since: sat, 01 jan");
        answer(if known { 304 } else { 200 }, "ETag: \"7\"\r\nLast-Modified: Sat, 01 Jan 2028\r\n", b"")
    })
    .await;
    let (_, known) = document(client.fetch(MIRROR).await.unwrap());
    assert_eq!(client.fetch_knowing(MIRROR, &known).await.unwrap(), Fetched::Unchanged);
    server.quiet().await;
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_no_document() {
    let (_server, client) = mirror_saying(patient(), answer(304, "ETag: \"7\"\r\n", b"")).await;
    assert!(matches!(client.fails(MIRROR).await, FetchError::Status { status: 304, .. }));
}

#[tokio::test]
async fn a_document_may_come_in_chunks_or_up_to_an_orderly_end() {
    for say in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\nContent-Encoding: identity\r\n\r\n{}",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let (_server, client) = mirror_saying(patient(), Say::Answer(say.into())).await;
        assert_eq!(document(client.fetch(MIRROR).await.unwrap()).0, b"{}", "{say}");
    }
}

#[tokio::test]
async fn a_port_and_an_address_in_brackets_are_asked_as_they_are_written() {
    let authority = Authority::new();
    let tls = authority.server(&["2001:db8::7"], VALID);
    let server = Server::start(tls, |_| answer(200, "", b"{}")).await;
    let script = Script::default().with_server("[2001:db8::7]:8443", server.at);
    let client = client(&authority, script, patient(), None);
    document(client.fetch("https://[2001:db8::7]:8443/m").await.unwrap());
    assert!(server.heads()[0].to_ascii_lowercase().contains("\r\nhost: [2001:db8::7]:8443\r\n"));
}

// Limits on size.

#[tokio::test]
async fn a_document_of_the_limit_is_read_and_one_byte_more_is_not() {
    let chunked = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n");
        Say::Answer([head.as_bytes(), &vec![b'x'; length], b"\r\n0\r\n\r\n"].concat())
    };
    for say in [answer(200, "", &vec![b'x'; BODY]), chunked(BODY)] {
        let (_server, client) = mirror_saying(patient(), say).await;
        assert_eq!(document(client.fetch(MIRROR).await.unwrap()).0.len(), BODY);
    }
    for say in [answer(200, "", &vec![b'x'; BODY + 1]), chunked(BODY + 1)] {
        let (server, client) = mirror_saying(patient(), say).await;
        let error = client.fails(MIRROR).await;
        assert!(matches!(error, FetchError::TooLarge { part: Part::Body, limit: BODY, .. }), "{error:?}");
        server.quiet().await;
    }
}

#[tokio::test]
async fn an_endless_document_is_cut_at_the_limit() {
    let chunk = [b"ffff\r\n", &[b'x'; 0xffff][..], b"\r\n"].concat();
    let tiny = b"1\r\nx\r\n".repeat(1_000);
    let plain = vec![b'x'; 0xffff];
    for (start, again) in [
        ("Transfer-Encoding: chunked\r\n\r\n", &chunk),
        ("Transfer-Encoding: chunked\r\n\r\n", &tiny),
        ("\r\n", &plain),
        // A lie in the other direction: announced is little, sent is much. What was announced is read.
        ("Content-Length: 99999\r\n\r\n", &plain),
    ] {
        let start = format!("HTTP/1.1 200 OK\r\n{start}").into_bytes();
        let lie = start.ends_with(b"99999\r\n\r\n");
        let (server, client) = mirror_saying(patient(), Say::Endless(start, again.clone())).await;
        // Six bytes carry one of the document if every byte is a chunk.
        let (part, most) =
            if again == &tiny { (Part::Connection, client.fetcher.connection()) } else { (Part::Body, BODY) };
        match client.fetch(MIRROR).await {
            Ok(fetched) => {
                assert!(lie);
                assert_eq!(document(fetched).0.len(), 99_999);
            }
            Err(error) => {
                assert!(!lie);
                assert!(
                    matches!(error, FetchError::TooLarge { part: found, .. } if found == part),
                    "{error:?}"
                );
                assert_eq!(error.retry(), Retry::Terminal);
            }
        }
        server.quiet().await;
        assert!(server.sent.load(Ordering::Relaxed) > BODY / 2);
        assert!(client.taken() <= most + SLACK, "{}", client.taken());
    }
}

#[tokio::test]
async fn a_document_that_announces_5_gib_is_not_read_at_all() {
    let start = b"HTTP/1.1 200 OK\r\nContent-Length: 5368709120\r\n\r\n".to_vec();
    let (server, client) = mirror_saying(patient(), Say::Endless(start, vec![b'x'; 0xffff])).await;
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::TooLarge { part: Part::Body, .. }), "{error:?}");
    server.quiet().await;
    assert!(client.taken() <= SLACK, "{}", client.taken());
}

#[tokio::test]
async fn endless_headers_are_cut() {
    let line = b"X-Filler: 0123456789\r\n".to_vec();
    let status = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (start, again) in [
        (status.clone(), line.repeat(10)),
        ([&status[..], b"X-Filler: "].concat(), b"0123456789".repeat(100)),
        (b"HTTP/1.1 200 ".to_vec(), b"0123456789".repeat(100)),
    ] {
        let (server, client) = mirror_saying(patient(), Say::Endless(start, again)).await;
        let error = client.fails(MIRROR).await;
        assert!(matches!(error, FetchError::TooLarge { part: Part::Head, limit: HEAD, .. }), "{error:?}");
        server.quiet().await;
        assert!(client.taken() <= HEAD + SLACK, "{}", client.taken());
    }
    let many = [&status[..], &b"X: y\r\n".repeat(HEADERS + 1), b"\r\n"].concat();
    let (_server, client) = mirror_saying(patient(), Say::Answer(many)).await;
    assert_eq!(client.fails(MIRROR).await.name(), "TooLarge");
}

#[tokio::test]
async fn endless_trailers_and_chunk_extensions_are_cut() {
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (start, again) in [
        (format!("{start}0\r\n"), b"X-Filler: 0123456789\r\n".repeat(10)),
        (format!("{start}1;"), b"0123456789".repeat(100)),
    ] {
        let (server, client) = mirror_saying(patient(), Say::Endless(start.into_bytes(), again)).await;
        let error = client.fails(MIRROR).await;
        assert_eq!(error.name(), "NotHttp", "{error:?}");
        server.quiet().await;
        assert!(client.taken() <= HEAD + SLACK, "{}", client.taken());
    }
}

#[tokio::test]
async fn endless_interim_answers_are_cut() {
    let again = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    let (server, client) = mirror_saying(patient(), Say::Endless(Vec::new(), again)).await;
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::TooLarge { part: Part::Connection, .. }), "{error:?}");
    server.quiet().await;
    assert!(client.taken() <= client.fetcher.connection() + SLACK, "{}", client.taken());
}

#[tokio::test]
async fn a_packed_document_is_not_unpacked() {
    // The first bytes of a gzip stream; what follows could be 10 GiB.
    let bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".repeat(1_000);
    for headers in
        ["Content-Encoding: gzip\r\n", "Content-Encoding: br\r\n", "Content-Encoding: identity, zstd\r\n"]
    {
        let (server, client) = mirror_saying(patient(), answer(200, headers, &bomb)).await;
        let error = client.fails(MIRROR).await;
        assert_eq!(error.name(), "Encoding", "{error:?}");
        server.quiet().await;
    }
    let start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_vec();
    let (server, client) = mirror_saying(patient(), Say::Endless(start, b"1\r\nx\r\n".to_vec())).await;
    assert_eq!(client.fails(MIRROR).await.name(), "Encoding");
    server.quiet().await;
    assert!(client.taken() <= SLACK, "{}", client.taken());
}

#[tokio::test]
async fn an_answer_without_a_document_is_not_read() {
    for status in [404, 410, 500, 503, 401, 204, 206, 100 + 1] {
        let start = format!("HTTP/1.1 {status} x\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        let (server, client) =
            mirror_saying(patient(), Say::Endless(start, b"1\r\nx\r\n".repeat(1_000))).await;
        let error = client.fails(MIRROR).await;
        assert!(matches!(error, FetchError::Status { status: found, .. } if found == status), "{error:?}");
        server.quiet().await;
        assert!(client.taken() <= SLACK, "{}", client.taken());
    }
}

// Limits on time.

#[tokio::test]
async fn a_server_that_trickles_does_not_move_the_deadline() {
    for start in [
        "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n500\r\n",
        "HTTP/1.1 200 OK\r\nX-Filler:",
        "HTTP/1.1 200",
    ] {
        let (server, client) = mirror_saying(hurried(), Say::Trickle(start.into())).await;
        let error = client.fails(MIRROR).await;
        let total = hurried().total;
        assert!(
            matches!(error, FetchError::TimedOut { phase: Phase::All, after, .. } if after == total),
            "{start}: {error:?}"
        );
        assert_eq!(error.retry(), Retry::Transient);
        server.quiet().await;
        assert!(client.taken() <= SLACK, "{}", client.taken());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_runs_into_the_deadline() {
    let (server, client) = mirror_saying(hurried(), Say::Silence).await;
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::TimedOut { phase: Phase::All, .. }), "{error:?}");
    server.quiet().await;
}

#[tokio::test]
async fn a_server_that_is_stuck_after_accept_runs_into_the_shorter_deadline() {
    let server = Server::plain(Say::Silence).await;
    let connect = Duration::from_millis(300);
    let client = client(&Authority::new(), with_mirror(&server), Limits { connect, ..patient() }, None);
    let error = client.fails(MIRROR).await;
    assert!(
        matches!(error, FetchError::TimedOut { phase: Phase::Connect, after, .. } if after == connect),
        "{error:?}"
    );
    assert!(error.to_string().contains("took more than 0.3s to connect"), "{error}");
    server.quiet().await;
}

#[tokio::test]
async fn redirects_do_not_move_the_deadline() {
    let (server, client) =
        mirror(hurried(), |head| if head.starts_with("GET /m ") { redirect("/n") } else { Say::Silence })
            .await;
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::TimedOut { phase: Phase::All, .. }), "{error:?}");
    server.quiet().await;
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn a_fetch_that_is_given_up_leaves_nothing_behind() {
    let (server, client) = mirror_saying(patient(), Say::Silence).await;
    let fetch = tokio::spawn(async move { client.fetch(MIRROR).await });
    server.begun(1).await;
    fetch.abort();
    server.quiet().await;
}

// Redirects.

#[tokio::test]
async fn three_redirects_are_followed_on_the_same_server() {
    let (server, client) = mirror(patient(), |head| match head.split(' ').nth(1) {
        Some("/m") => redirect("/a?x=1"),
        Some("/a?x=1") => redirect("b"),
        Some("/b") => redirect("https://Mirror.example.com:443/c"),
        _ => answer(200, "ETag: \"7\"\r\n", b"{}"),
    })
    .await;
    assert_eq!(document(client.fetch(MIRROR).await.unwrap()).0, b"{}");
    assert_eq!(client.connected(), ["192.0.2.7:443"; 4]);
    assert!(server.heads()[3].starts_with("GET /c "));
}

#[tokio::test]
async fn a_redirect_to_another_server_is_refused_before_that_one_is_looked_up() {
    for (location, to) in [
        ("https://store.example.net/m?signature=hunter2", "store.example.net:443"),
        ("//store.example.net/m", "store.example.net:443"),
        ("https://mirror.example.com:8443/m", "mirror.example.com:8443"),
        ("https://192.0.2.7/m", "192.0.2.7:443"),
    ] {
        let (server, client) = mirror_saying(patient(), redirect(location)).await;
        let error = client.fails(MIRROR).await;
        assert_eq!(error.name(), "RedirectToOtherServer", "{location}: {error:?}");
        assert!(error.to_string().contains(to), "{error}");
        server.quiet().await;
        assert_eq!(
            (client.asked(), client.connected()),
            (vec!["mirror.example.com".to_owned()], vec!["192.0.2.7:443".to_owned()])
        );
    }
}

#[tokio::test]
async fn a_loop_of_redirects_ends_after_three() {
    let (server, client) = mirror_saying(patient(), redirect("/m")).await;
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::TooManyRedirects { limit: 3, .. }), "{error:?}");
    assert_eq!(server.heads().len(), 4);
    let (server, client) = mirror_saying(Limits { redirects: 0, ..patient() }, redirect("/m")).await;
    assert_eq!(client.fails(MIRROR).await.name(), "TooManyRedirects");
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn a_redirect_that_leaves_https_is_refused() {
    for location in [
        "http://mirror.example.com/m",
        "file:///etc/shadow",
        "ftp://mirror.example.com/m",
        "https://me:hunter2@mirror.example.com/m",
        "https:\\\\mirror.example.com/m",
        "/%2e%2e/m",
    ] {
        let (server, client) = mirror_saying(patient(), redirect(location)).await;
        let error = client.fails(MIRROR).await;
        assert!(matches!(error, FetchError::RedirectRefused { .. }), "{location}: {error:?}");
        assert_eq!(server.heads().len(), 1);
        assert_eq!(client.connected(), ["192.0.2.7:443"]);
    }
}

#[tokio::test]
async fn a_redirect_to_an_address_that_is_not_allowed_is_refused() {
    for (location, expected) in [
        ("https://169.254.169.254/latest/meta-data", Forbidden::LinkLocal),
        ("//127.0.0.1:8443/", Forbidden::Loopback),
        ("https://[::ffff:169.254.169.254]/", Forbidden::LinkLocal),
    ] {
        let (_server, client) = mirror_saying(patient(), redirect(location)).await;
        let error = client.fails(MIRROR).await;
        assert!(
            matches!(error, FetchError::AddressNotAllowed { why, .. } if why == expected),
            "{location}: {error:?}"
        );
        assert_eq!(client.connected(), ["192.0.2.7:443"]);
    }
}

#[tokio::test]
async fn a_name_that_stands_for_a_forbidden_address_after_a_redirect_is_refused() {
    let authority = Authority::new();
    let tls = authority.server(&["mirror.example.com"], VALID);
    let server = Server::start(tls, |_| redirect("/n")).await;
    let script = with_mirror(&server).with_name("mirror.example.com", &["169.254.169.254"]);
    let client = client(&authority, script, patient(), None);
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::AddressNotAllowed { why: Forbidden::LinkLocal, .. }), "{error:?}");
    assert_eq!(client.connected(), ["192.0.2.7:443"]);
}

// Names and addresses.

#[tokio::test]
async fn a_name_that_stands_for_a_forbidden_address_is_never_connected_to() {
    let (server, _) = mirror_saying(patient(), Say::Silence).await;
    for addresses in [
        &["127.0.0.1"][..],
        &["169.254.169.254"],
        &["::1"],
        &["fe80::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::a9fe:a9fe"],
        &["0.0.0.0"],
        // One of them is enough.
        &["192.0.2.7", "127.0.0.1"],
        &["192.0.2.7", "2001:db8::7", "fd00:ec2::254"],
    ] {
        let script = Script::default()
            .with_name("mirror.example.com", addresses)
            .with_server("192.0.2.7:443", server.at)
            .with_server("127.0.0.1:443", server.at);
        let client = client(&Authority::new(), script, patient(), None);
        let error = client.fails(MIRROR).await;
        assert_eq!(error.name(), "AddressNotAllowed", "{addresses:?}: {error:?}");
        assert!(error.to_string().contains("https://mirror.example.com/m leads to "), "{error}");
        assert_eq!(client.connected(), Vec::<String>::new());
    }
}

/// A name service that answers otherwise the second time.
#[tokio::test]
async fn what_was_judged_is_what_is_connected_to() {
    let authority = Authority::new();
    let tls = authority.server(&["mirror.example.com"], VALID);
    let server = Server::start(tls, |_| answer(200, "", b"{}")).await;
    let script = with_mirror(&server)
        .with_name("mirror.example.com", &["127.0.0.1"])
        .with_server("127.0.0.1:443", server.at);
    let client = client(&authority, script, patient(), None);
    document(client.fetch(MIRROR).await.unwrap());
    assert_eq!((client.asked().len(), client.connected()), (1, vec!["192.0.2.7:443".to_owned()]));
    // The next fetch asks anew, and judges anew.
    assert_eq!(client.fails(MIRROR).await.name(), "AddressNotAllowed");
    assert_eq!((client.asked().len(), client.connected().len()), (2, 1));
}

#[tokio::test]
async fn names_and_ports_that_lead_nowhere_are_told_apart() {
    let authority = Authority::new();
    let client = client(
        &authority,
        Script::default().with_name("mirror.example.com", &["192.0.2.7"]).with_name("empty.example.com", &[]),
        patient(),
        None,
    );
    let error = client.fails("https://unknown.example.com/m").await;
    assert!(matches!(&error, FetchError::NameNotResolved { why, .. } if why == "no such name"), "{error:?}");
    assert_eq!(client.fails("https://empty.example.com/m").await.name(), "NameNotResolved");
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("HTTPS_PROXY"), "{error}");
}

#[tokio::test]
async fn the_addresses_of_a_name_are_tried_in_turn_up_to_four() {
    let authority = Authority::new();
    let tls = authority.server(&["mirror.example.com"], VALID);
    let server = Server::start(tls, |_| answer(200, "", b"{}")).await;
    let many = ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.7", "192.0.2.8"];
    let script = || Script::default().with_name("mirror.example.com", &many);
    let fourth = client(&authority, script().with_server("192.0.2.7:443", server.at), patient(), None);
    document(fourth.fetch(MIRROR).await.unwrap());
    let fifth = client(&authority, script().with_server("192.0.2.8:443", server.at), patient(), None);
    assert_eq!(fifth.fails(MIRROR).await.name(), "Unreachable");
    assert_eq!(fifth.connected(), ["[2001:db8::1]:443", "192.0.2.1:443", "192.0.2.2:443", "192.0.2.7:443"]);
}

// Who the server is.

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_request_and_is_told_apart() {
    let authority = Authority::new();
    let other = Authority::named("another authority");
    let renewed = Authority::new();
    for (tls, expected, remedy) in [
        (other.server(&["mirror.example.com"], VALID), Distrust::UnknownAuthority, "chart value caBundle"),
        (renewed.server(&["mirror.example.com"], VALID), Distrust::UnknownAuthority, "as it is now"),
        (authority.server(&["other.example.com"], VALID), Distrust::NameMismatch, "another name"),
        (authority.server(&["192.0.2.7"], VALID), Distrust::NameMismatch, "another name"),
        (authority.server(&["mirror.example.com"], (2000, 2001)), Distrust::Expired, "have it renewed"),
        (authority.server(&["mirror.example.com"], (3999, 4000)), Distrust::NotYetValid, "check the clocks"),
    ] {
        let server = Server::start(tls, |_| answer(200, "", b"{}")).await;
        let client = client(&authority, with_mirror(&server), patient(), None);
        let error = client.fails(MIRROR).await;
        assert!(matches!(&error, FetchError::TlsFailed { why, .. } if *why == expected), "{error:?}");
        assert!(error.to_string().contains(remedy), "{error}");
        server.quiet().await;
        assert_eq!(server.heads(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_private_authority_is_believed_only_if_it_was_given() {
    let authority = Authority::new();
    let tls = authority.server(&["mirror.example.com"], VALID);
    let server = Server::start(tls, |_| answer(200, "", b"{}")).await;
    let network = Network::Scripted(Arc::new(with_mirror(&server)));
    let settings = Settings { roots: Roots::public(), proxy: None, limits: patient() };
    let fetcher = Fetcher::over(network, settings);
    let error = fetcher.fetch(&MIRROR.parse().unwrap(), &Known::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::TlsFailed { why: Distrust::UnknownAuthority, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_or_http_is_told_apart() {
    for says in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let server = Server::plain(Say::Answer(says.to_vec())).await;
        let client = client(&Authority::new(), with_mirror(&server), patient(), None);
        let error = client.fails(MIRROR).await;
        assert!(matches!(error, FetchError::TlsFailed { why: Distrust::NotTls, .. }), "{error:?}");
        server.quiet().await;
    }
    for says in ["SSH-2.0-OpenSSH_9.2\r\n", "{}\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        let (_server, client) = mirror_saying(patient(), Say::Answer(says.into())).await;
        let error = client.fails(MIRROR).await;
        assert_eq!(error.name(), "NotHttp", "{says}: {error:?}");
    }
}

#[tokio::test]
async fn a_flood_in_place_of_a_handshake_is_cut() {
    // Records that may come at any time before keys are agreed on.
    let again = b"\x14\x03\x03\x00\x01\x01".repeat(1_000);
    let server = Server::plain(Say::Endless(Vec::new(), again)).await;
    let client = client(&Authority::new(), with_mirror(&server), patient(), None);
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::TlsFailed { why: Distrust::Other(_), .. }), "{error:?}");
    server.quiet().await;
    assert!(client.taken() <= SLACK, "{}", client.taken());
}

// Ends that come early.

#[tokio::test]
async fn a_connection_that_ends_early_is_no_document() {
    let server = Server::closing().await;
    let closed = client(&Authority::new(), with_mirror(&server), patient(), None);
    let error = closed.fails(MIRROR).await;
    assert!(matches!(error, FetchError::Interrupted { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Transient);
    for says in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
    ] {
        for say in [Say::Answer(says.into()), Say::Cut(says.into())] {
            let (_server, client) = mirror_saying(patient(), say).await;
            let error = client.fails(MIRROR).await;
            assert!(matches!(error, FetchError::Interrupted { .. }), "{says}: {error:?}");
        }
    }
}

/// Somebody on the way can end TCP, and cannot end TLS.
#[tokio::test]
async fn a_document_without_a_length_that_is_cut_off_on_the_way_is_no_document() {
    let (_server, client) = mirror_saying(patient(), Say::Cut(b"HTTP/1.1 200 OK\r\n\r\n{}".to_vec())).await;
    let error = client.fails(MIRROR).await;
    assert!(matches!(error, FetchError::Interrupted { .. }), "{error:?}");
}

// Behind a proxy.

/// A mirror, a proxy before it that answers as `script` says, and a client that knows only the proxy.
async fn behind_a_proxy(
    limits: Limits,
    no_proxy: &str,
    script: impl Fn(&str) -> Option<Say> + Send + Sync + 'static,
) -> (Server, Server, Client) {
    let authority = Authority::new();
    let tls = authority.server(&["mirror.example.com"], VALID);
    let server = Server::start(tls, |_| answer(200, "", b"{}")).await;
    let proxy = Server::proxy(server.at, script).await;
    let settings = Proxy::from_values("http://me:hunter2@proxy.example.com:3128", no_proxy).unwrap();
    // A proxy may be a neighbour in the same pod.
    let names = Script::default()
        .with_name("proxy.example.com", &["127.0.0.1"])
        .with_server("127.0.0.1:3128", proxy.at);
    let client = client(&authority, names, limits, settings);
    (server, proxy, client)
}

#[tokio::test]
async fn a_proxy_is_asked_for_host_and_port_and_sees_nothing_else() {
    let (server, proxy, client) = behind_a_proxy(patient(), "", |_| None).await;
    assert_eq!(document(client.fetch("https://mirror.example.com/m?token=t0k").await.unwrap()).0, b"{}");
    assert_eq!(client.asked(), ["proxy.example.com"]);
    assert_eq!(client.connected(), ["127.0.0.1:3128"]);
    let [head] = &proxy.heads()[..] else { panic!("{:?}", proxy.heads()) };
    assert!(head.starts_with("CONNECT mirror.example.com:443 HTTP/1.1\r\n"), "{head}");
    let authorization = format!("proxy-authorization: Basic {}\r\n", STANDARD.encode("me:hunter2"));
    assert!(head.contains(&authorization) && !head.contains("t0k"), "{head}");
    let [head] = &server.heads()[..] else { panic!("{:?}", server.heads()) };
    assert!(!head.to_ascii_lowercase().contains("proxy"), "{head}");
    server.quiet().await;
    proxy.quiet().await;
}

#[tokio::test]
async fn a_certificate_is_verified_through_a_proxy_as_well() {
    let (server, _proxy, client) = behind_a_proxy(patient(), "", |_| None).await;
    let error = client.fails("https://other.example.com/m").await;
    assert!(matches!(error, FetchError::TlsFailed { why: Distrust::NameMismatch, .. }), "{error:?}");
    server.quiet().await;
    assert_eq!(server.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_redirect_is_judged_behind_a_proxy_as_well() {
    let authority = Authority::new();
    let tls = authority.server(&["mirror.example.com"], VALID);
    let server = Server::start(tls, |_| redirect("https://169.254.169.254/")).await;
    let proxy = Server::proxy(server.at, |_| None).await;
    let names = Script::default().with_server("192.0.2.80:3128", proxy.at);
    let settings = Proxy::from_values("192.0.2.80:3128", "").unwrap();
    let client = client(&authority, names, patient(), settings);
    assert_eq!(client.fails(MIRROR).await.name(), "AddressNotAllowed");
    assert_eq!(proxy.heads().len(), 1);
}

#[tokio::test]
async fn what_no_proxy_names_is_fetched_directly() {
    let authority = Authority::new();
    let tls = authority.server(&["mirror.example.com"], VALID);
    let server = Server::start(tls, |_| answer(200, "", b"{}")).await;
    let settings = Proxy::from_values("proxy.example.com:3128", "10.0.0.0/8,.example.com").unwrap();
    let client = client(&authority, with_mirror(&server), patient(), settings);
    document(client.fetch(MIRROR).await.unwrap());
    assert_eq!(client.asked(), ["mirror.example.com"]);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_apart_from_the_server() {
    for (status, remedy) in
        [(407, "user and password"), (403, "have the proxy allow"), (502, "reaches the host")]
    {
        let (server, proxy, client) =
            behind_a_proxy(patient(), "", move |_| Some(answer(status, "", b"hunter2"))).await;
        let error = client.fails(MIRROR).await;
        assert!(
            matches!(error, FetchError::ProxyRefused { status: found, .. } if found == status),
            "{error:?}"
        );
        let shown = error.to_string();
        assert!(
            shown.starts_with("the proxy proxy.example.com:3128 refused") && shown.contains(remedy),
            "{shown}"
        );
        proxy.quiet().await;
        assert_eq!(server.heads(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_proxy_is_held_to_the_same_limits() {
    for (limits, say, expected) in [
        (hurried(), Say::Silence, "TimedOut"),
        (hurried(), Say::Trickle(b"HTTP/1.1 200".to_vec()), "TimedOut"),
        (patient(), Say::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(100)), "TooLarge"),
        (patient(), Say::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)), "TooLarge"),
        (patient(), Say::Cut(b"HTTP/1.1 200".to_vec()), "Interrupted"),
        (patient(), Say::Cut(Vec::new()), "Interrupted"),
        (patient(), Say::Answer(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "NotHttp"),
        // Lets us through, and speaks for the server.
        (patient(), Say::Answer(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}".to_vec()), "TlsFailed"),
        (patient(), Say::Cut(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), "Interrupted"),
    ] {
        let (server, proxy, client) = behind_a_proxy(limits, "", move |_| Some(say.clone())).await;
        let error = client.fails(MIRROR).await;
        assert_eq!(error.name(), expected, "{error:?}");
        proxy.quiet().await;
        assert_eq!(server.heads(), Vec::<String>::new());
        assert!(client.taken() <= client.fetcher.connection() + SLACK, "{}", client.taken());
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let settings = Proxy::from_values("http://me:hunter2@proxy.example.com:3128", "").unwrap();
    let script = Script::default().with_name("proxy.example.com", &["192.0.2.80"]);
    let gone = client(&Authority::new(), script, patient(), settings.clone());
    let error = gone.fails(MIRROR).await;
    assert!(
        error.to_string().starts_with("failed to connect to the proxy proxy.example.com:3128"),
        "{error}"
    );
    let unknown = client(&Authority::new(), Script::default(), patient(), settings);
    let error = unknown.fails(MIRROR).await;
    assert!(
        error.to_string().starts_with("failed to resolve the host of the proxy proxy.example.com:3128"),
        "{error}"
    );
}
