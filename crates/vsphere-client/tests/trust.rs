//! Who is believed, and that nobody else gets a byte.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use support::certificates::{Authority, Leaf, VALID, self_signed};
use support::{Say, Server, canned};
use vsphere_client::{
    CaBundle, Client, Distrust, Error, Phase, Presented, Retry, SecretString, Thumbprint, Trust, probe,
};

async fn vcenter(tls: rustls::ServerConfig) -> Server {
    Server::start(tls, |seen| canned::greeting(seen).unwrap_or(Say::Http(404, String::new(), String::new())))
        .await
}

fn bundle(pem: &str) -> Trust {
    Trust::CaBundle(CaBundle::from_pem(pem.as_bytes()).unwrap())
}

fn fingerprint(der: &[u8], algorithm: &'static ring::digest::Algorithm) -> Thumbprint {
    let digest = ring::digest::digest(algorithm, der);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Thumbprint::parse(&hex).unwrap()
}

fn sha1(leaf: &Leaf) -> Thumbprint {
    fingerprint(&leaf.der, &ring::digest::SHA1_FOR_LEGACY_USE_ONLY)
}

fn sha256(leaf: &Leaf) -> Thumbprint {
    fingerprint(&leaf.der, &ring::digest::SHA256)
}

async fn log_in(server: &Server, host: &str, trust: Trust) -> Result<(), Error> {
    let client = Client::connect(server.target(host, trust)).await?;
    client.login("me@vsphere.local", &SecretString::from("secret")).await?.logout().await
}

/// Neither the client nor the probe believes; both say why; nothing but handshakes arrived.
async fn refuses(leaf: &Leaf, host: &str, trust: Trust) -> Distrust {
    let mut reason = None;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = vcenter(leaf.server_of(&[version])).await;
        for error in [
            log_in(&server, host, trust.clone()).await.unwrap_err(),
            probe(&server.target(host, trust.clone())).await.unwrap_err(),
        ] {
            let shown = error.to_string();
            let Error::Untrusted { presented, why, .. } = error else { panic!("{error:?}") };
            assert_eq!((presented.sha1, presented.sha256), (sha1(leaf), sha256(leaf)));
            assert!(shown.contains(&sha256(leaf).to_string()), "{shown}");
            assert_eq!(*reason.get_or_insert(why.clone()), why);
        }
        server
            .quiet(|record| {
                assert_eq!(record.connections, 2);
                assert_eq!((record.application_bytes, record.requests.len()), (0, 0));
                if *version == rustls::version::TLS12 {
                    assert_eq!(record.application_records, 0);
                }
            })
            .await;
    }
    reason.unwrap()
}

/// Client and probe believe, under both versions of TLS.
async fn accepts(leaf: &Leaf, host: &str, trust: Trust) -> Presented {
    let mut seen = None;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = vcenter(leaf.server_of(&[version])).await;
        seen = Some(probe(&server.target(host, trust.clone())).await.unwrap());
        server.quiet(|record| assert_eq!((record.handshakes, record.application_bytes), (1, 0))).await;
        log_in(&server, host, trust.clone()).await.unwrap();
        assert_eq!((server.count("Login"), server.count("Logout")), (1, 1));
        server
            .quiet(|record| {
                // Four requests over one connection, each in at least one record: the tap sees what is sent.
                assert_eq!(record.connections, 2);
                assert!(record.application_records >= 4 && record.application_bytes > 1000);
            })
            .await;
    }
    seen.unwrap()
}

#[tokio::test]
async fn an_untrusted_certificate_gets_not_a_byte_and_insecure_gets_the_login() {
    let leaf = self_signed(&["127.0.0.1", "localhost"], VALID, false);
    assert_eq!(refuses(&leaf, "127.0.0.1", Trust::PublicRoots).await, Distrust::UnknownIssuer);
    assert_eq!(refuses(&leaf, "localhost", bundle(&Authority::new().pem())).await, Distrust::UnknownIssuer);
    accepts(&leaf, "127.0.0.1", Trust::Insecure).await;
}

#[tokio::test]
async fn a_bundle_is_believed_for_the_names_and_addresses_of_the_certificate() {
    let authority = Authority::new();
    let trust = bundle(&format!("# comment\n{}{}", Authority::new().pem(), authority.pem()));
    let both = authority.issue(&["localhost", "127.0.0.1"], VALID);
    let facts = accepts(&both, "localhost", trust.clone()).await;
    assert_eq!((facts.subject.as_str(), facts.issuer.as_str()), ("CN=a vCenter", "CN=an authority"));
    assert_eq!(facts.dns_names, ["localhost"]);
    assert_eq!(facts.addresses, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(facts.not_before, Some(1_577_836_800));
    accepts(&both, "127.0.0.1", trust.clone()).await;

    let name = authority.issue(&["localhost"], VALID);
    assert_eq!(refuses(&name, "127.0.0.1", trust.clone()).await, Distrust::NameMismatch);
    let other = authority.issue(&["vc.example.com", "192.0.2.1"], VALID);
    assert_eq!(refuses(&other, "localhost", trust.clone()).await, Distrust::NameMismatch);
    assert_eq!(refuses(&other, "127.0.0.1", trust.clone()).await, Distrust::NameMismatch);
    // An address written as a name is for nobody.
    let none = authority.issue(&[], VALID);
    assert_eq!(refuses(&none, "localhost", trust).await, Distrust::NameMismatch);
}

#[tokio::test]
async fn dates_are_checked_and_only_the_future_mends_itself() {
    let authority = Authority::new();
    let past = authority.issue(&["localhost"], (2000, 2001));
    assert_eq!(refuses(&past, "localhost", bundle(&authority.pem())).await, Distrust::Expired);
    let future = authority.issue(&["localhost"], (3999, 4000));
    assert_eq!(refuses(&future, "localhost", bundle(&authority.pem())).await, Distrust::NotYetValid);

    let server = vcenter(future.server()).await;
    let early = probe(&server.target("localhost", bundle(&authority.pem()))).await.unwrap_err();
    assert_eq!(early.retry(), Retry::Transient);
    let server = vcenter(past.server()).await;
    let late = probe(&server.target("localhost", bundle(&authority.pem()))).await.unwrap_err();
    assert_eq!(late.retry(), Retry::Terminal);
}

#[tokio::test]
async fn a_certificate_of_the_bundle_may_be_the_leaf_for_its_own_names_and_dates() {
    for is_ca in [false, true] {
        let leaf = self_signed(&["localhost"], VALID, is_ca);
        accepts(&leaf, "localhost", bundle(&leaf.pem)).await;
        assert_eq!(refuses(&leaf, "127.0.0.1", bundle(&leaf.pem)).await, Distrust::NameMismatch);
        let past = self_signed(&["localhost"], (2000, 2001), is_ca);
        assert_eq!(refuses(&past, "localhost", bundle(&past.pem)).await, Distrust::Expired);
        let future = self_signed(&["localhost"], (3999, 4000), is_ca);
        assert_eq!(refuses(&future, "localhost", bundle(&future.pem)).await, Distrust::NotYetValid);
    }
}

#[tokio::test]
async fn a_thumbprint_replaces_chain_name_and_dates() {
    let leaf = self_signed(&["elsewhere.example.com"], (2000, 2001), false);
    accepts(&leaf, "127.0.0.1", Trust::Thumbprint(sha1(&leaf))).await;
    accepts(&leaf, "localhost", Trust::Thumbprint(sha256(&leaf))).await;

    let renewed = self_signed(&["elsewhere.example.com"], VALID, false);
    for expected in [sha1(&leaf), sha256(&leaf)] {
        let why = refuses(&renewed, "127.0.0.1", Trust::Thumbprint(expected)).await;
        assert_eq!(why, Distrust::ThumbprintMismatch { expected });
    }
}

/// Rows of `e2e/bad-input.toml`.
#[tokio::test]
async fn b20_b21_a_fingerprint_of_the_authority_or_of_zeros_is_not_that_of_the_certificate() {
    let authority = Authority::new();
    let leaf = authority.issue(&["localhost"], VALID);
    accepts(&leaf, "localhost", bundle(&authority.pem())).await;
    let signer = fingerprint(authority.der(), &ring::digest::SHA256);
    for expected in [signer, Thumbprint::Sha1([0; 20]), Thumbprint::Sha256([0; 32])] {
        let why = refuses(&leaf, "localhost", Trust::Thumbprint(expected)).await;
        assert_eq!(why, Distrust::ThumbprintMismatch { expected });
    }
}

#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_refused() {
    let leaf = self_signed(&["localhost"], VALID, false);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = vcenter(leaf.impostor(&[version])).await;
        for trust in [Trust::Thumbprint(sha256(&leaf)), bundle(&leaf.pem)] {
            let error = log_in(&server, "localhost", trust.clone()).await.unwrap_err();
            assert!(matches!(error, Error::TlsFailed { .. }), "{error:?}");
            let error = probe(&server.target("localhost", trust)).await.unwrap_err();
            assert!(matches!(error, Error::TlsFailed { .. }), "{error:?}");
        }
        server.quiet(|record| assert_eq!((record.connections, record.application_bytes), (4, 0))).await;
    }
}

#[tokio::test]
async fn a_certificate_that_changes_between_two_calls_gets_no_login() {
    let authority = Authority::new();
    let good = authority.issue(&["localhost"], VALID);
    let other = self_signed(&["localhost"], VALID, false);
    // Every answer ends its connection, so that every request makes a new one: two good ones, then the other.
    let server = Server::start(Leaf::in_turn(&[&good, &good, &other]), |seen| match canned::greeting(seen) {
        Some(Say::Http(status, head, body)) => {
            Say::Http(status, format!("Connection: close\r\n{head}"), body)
        }
        _ => Say::Nothing,
    })
    .await;
    let client = Client::connect(server.target("localhost", bundle(&authority.pem()))).await.unwrap();
    let error = client.login("me", &SecretString::from("secret")).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { why: Distrust::UnknownIssuer, .. }), "{error:?}");
    server
        .quiet(|record| {
            assert_eq!((record.connections, record.handshakes), (3, 2));
            assert_eq!(record.requests.len(), 2);
        })
        .await;
}

/// A listener that says something of its own to whoever connects, and listens.
async fn listener(says: &'static [u8]) -> (u16, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 512];
                let _ = tcp.read(&mut bytes).await;
                let _ = tcp.write_all(says).await;
                if says.is_empty() {
                    while !matches!(tcp.read(&mut bytes).await, Ok(0) | Err(_)) {}
                }
            });
        }
    });
    (port, task)
}

async fn both(target: vsphere_client::Target) -> [Error; 2] {
    [probe(&target).await.unwrap_err(), Client::connect(target).await.unwrap_err()]
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = vcenter(self_signed(&["localhost"], VALID, false).server()).await;
    for says in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let (port, task) = listener(says).await;
        let mut target = server.target("127.0.0.1", Trust::Insecure);
        target.endpoint = vsphere_client::Endpoint::new("127.0.0.1", port).unwrap();
        for error in both(target).await {
            assert!(matches!(error, Error::NotTls { .. }), "{error:?}");
            assert_eq!(error.retry(), Retry::Terminal);
        }
        task.abort();
    }
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_runs_into_the_deadline() {
    let server = vcenter(self_signed(&["localhost"], VALID, false).server()).await;
    let (port, task) = listener(b"").await;
    let mut target = server.target("127.0.0.1", Trust::Insecure);
    target.endpoint = vsphere_client::Endpoint::new("127.0.0.1", port).unwrap();
    target.limits.connect = Duration::from_millis(200);
    for error in both(target).await {
        assert!(
            matches!(error, Error::Timeout { phase: Phase::Connect, after, .. } if after == Duration::from_millis(200)),
            "{error:?}"
        );
    }
    task.abort();
}

#[tokio::test]
async fn an_address_that_is_not_admitted_is_never_connected_to() {
    let server = vcenter(self_signed(&["localhost"], VALID, false).server()).await;
    for host in ["localhost", "127.0.0.1"] {
        let mut target = server.target(host, Trust::Insecure);
        target.admits = |address| !address.is_loopback();
        for error in both(target).await {
            assert!(
                matches!(&error, Error::AddressNotAdmitted { address, .. } if address.is_loopback()),
                "{host}: {error:?}"
            );
            assert_eq!(error.retry(), Retry::Transient);
        }
    }
    assert_eq!(server.quiet(|record| record.connections).await, 0);
}

/// A name service that answers otherwise the second time.
#[tokio::test]
async fn what_was_admitted_once_is_asked_again_for_the_next_connection() {
    static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let server = vcenter(self_signed(&["localhost"], VALID, false).server()).await;
    let mut target = server.target("127.0.0.1", Trust::Insecure);
    target.admits = |_| ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
    probe(&target).await.unwrap();
    let error = Client::connect(target).await.unwrap_err();
    assert!(matches!(error, Error::AddressNotAdmitted { .. }), "{error:?}");
    assert_eq!(server.quiet(|record| record.connections).await, 1);
}

#[tokio::test]
async fn names_and_ports_that_lead_nowhere_are_told_apart() {
    let server = vcenter(self_signed(&["localhost"], VALID, false).server()).await;
    let mut target = server.target("127.0.0.1", Trust::Insecure);
    drop(server);
    // A port that was free a moment ago, and that nobody listens on.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    target.endpoint = vsphere_client::Endpoint::new("127.0.0.1", free).unwrap();
    for error in both(target.clone()).await {
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }
    // Reserved never to exist.
    target.endpoint = vsphere_client::Endpoint::new("vc.invalid", 443).unwrap();
    for error in both(target).await {
        assert!(matches!(error, Error::NameNotResolved { .. }), "{error:?}");
        assert_eq!(error.to_string(), "failed to resolve vc.invalid");
        assert_eq!(error.retry(), Retry::Transient);
    }
}
