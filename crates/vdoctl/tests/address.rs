//! A matrix at an https address, asked by the program itself. Addresses of this machine are refused, as an operator refuses
//! them, so that each test goes through a proxy on loopback, behind which the server stands under a name.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SigningKey};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const HOST: &str = "matrix.example.com";
const ADDRESS: &str = "https://matrix.example.com/m.json?token=hunter2";

/// What is answered to a path: the bytes of a whole answer.
type Answers = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A proxy, and the server that it connects to.
struct Mirror {
    proxy: SocketAddr,
    folder: PathBuf,
    /// The first line of each request, to the proxy and to the server.
    asked: Arc<Mutex<Vec<String>>>,
    _end: tokio::sync::oneshot::Sender<()>,
}

impl Mirror {
    /// `name` is that of its folder.
    fn start(name: &str, answers: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Mirror {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (authority, tls) = certificates();
        std::fs::write(folder.join("ca.pem"), authority).unwrap();
        let (asked, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answers) as Answers);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let heard = asked.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let serve = async {
                    while let Ok((tcp, _)) = listener.accept().await {
                        tokio::spawn(talk(tcp, acceptor.clone(), answers.clone(), heard.clone()));
                    }
                };
                tokio::select! { () = serve => {}, _ = ended => {} }
            });
        });
        Mirror { proxy: told.recv().unwrap(), folder, asked, _end: end }
    }

    /// With this document at the address, and nothing else.
    fn with(name: &str, document: &Value) -> Mirror {
        let document = document.to_string();
        Mirror::start(name, move |path| match path {
            "/m.json?token=hunter2" => answer("200 OK", "", document.as_bytes()),
            _ => answer("404 Not Found", "", b""),
        })
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Asks the program, which knows the proxy and trusts the authority.
    fn ask(&self, words: &[&str]) -> Said {
        let authority = self.folder.join("ca.pem").display().to_string();
        self.ask_alone(&[words, &["--ca-bundle", &authority]].concat())
    }

    fn ask_alone(&self, words: &[&str]) -> Said {
        said(command(words).env("HTTPS_PROXY", format!("http://{}", self.proxy)))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The certificate of an authority, and TLS of a server that it vouches for.
fn certificates() -> (String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (authority.pem(), tls)
}

async fn talk(mut tcp: TcpStream, acceptor: TlsAcceptor, answers: Answers, asked: Arc<Mutex<Vec<String>>>) {
    let Some(connect) = receive(&mut tcp).await else { return };
    asked.lock().unwrap().push(connect);
    tcp.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
    let Some(line) = receive(&mut tls).await else { return };
    let answer = answers(line.split(' ').nth(1).unwrap());
    asked.lock().unwrap().push(line);
    let _ = tls.write_all(&answer).await;
    let _ = tls.shutdown().await;
}

/// The first line of a request; nothing if the client is gone.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(bytes).unwrap().lines().next().unwrap().to_owned())
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdoctl"));
    command.args(words).env_clear().env("HOME", env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let said = Said { code: status.code(), out: text(stdout), err: text(stderr) };
    assert!(!said.out.contains("hunter2") && !said.err.contains("hunter2"), "{}{}", said.out, said.err);
    said
}

fn matrix(csi: &str) -> Value {
    json!({"schemaVersion": 1, "rows": [{"driver": "CSI", "release": csi,
        "kubernetes": {"min": "1.30", "max": "1.40"}, "vsphere": {"min": "7.0"}}]})
}

#[test]
fn each_question_about_a_matrix_takes_an_address_where_it_takes_a_file() {
    let mirror = Mirror::with("address", &matrix("3.7.0"));
    let linted = mirror.ask(&["matrix", "lint", ADDRESS, "-o", "json"]);
    let verdict: Value = serde_json::from_str(&linted.out).unwrap();
    assert_eq!((linted.code, &verdict["errors"]), (Some(0), &json!(0)), "{}", linted.out);
    assert_eq!(verdict["matrix"], "https://matrix.example.com/m.json?…");
    assert_eq!(
        mirror.asked(),
        ["CONNECT matrix.example.com:443 HTTP/1.1", "GET /m.json?token=hunter2 HTTP/1.1"]
    );

    let shown = mirror.ask(&["matrix", "show", "--matrix", ADDRESS]);
    assert!(shown.code == Some(0) && shown.out.contains("\nCSI     3.7.0 "), "{}{}", shown.out, shown.err);
    let explained = mirror.ask(&[
        "matrix",
        "explain",
        "--matrix",
        ADDRESS,
        "--driver",
        "csi",
        "--kubernetes",
        "1.34.1",
        "--vsphere",
        "8.0.3",
    ]);
    assert!(explained.code == Some(0) && explained.out.contains("\n3.7.0    chosen "), "{}", explained.out);
    let upgrade = mirror.ask(&[
        "matrix",
        "may-upgrade",
        "--matrix",
        ADDRESS,
        "--kubernetes",
        "1.35.0",
        "--csi",
        "3.7.0",
        "--from-kubernetes",
        "1.34.1",
        "--from-vsphere",
        "8.0.3",
        "-o",
        "json",
    ]);
    let advice: Value = serde_json::from_str(&upgrade.out).unwrap();
    assert_eq!(
        (upgrade.code, &advice["mayUpgrade"], &advice["matrix"]),
        (Some(0), &json!(true), &json!("https://matrix.example.com/m.json?…"))
    );
}

#[test]
fn an_address_that_an_operator_would_refuse_is_refused_in_its_words_and_nobody_is_asked() {
    let mirror = Mirror::with("refused", &matrix("3.7.0"));
    for (address, words) in [
        ("http://matrix.example.com/m", "only https is fetched: put the content into versionConfigContent"),
        ("file:///etc/shadow", "only https is fetched"),
        ("https://me:hunter2@matrix.example.com/m", "no user or password is sent"),
        ("https://127.0.0.1:8443/m", "the host is 127.0.0.1, a loopback address"),
        ("https://localhost/m", "a name of this machine itself"),
        ("https://169.254.169.254/m", "a link-local address"),
    ] {
        for said in
            [mirror.ask(&["matrix", "lint", address]), mirror.ask(&["matrix", "show", "--matrix", address])]
        {
            assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{address}");
            assert!(
                said.err.starts_with("vdoctl: cannot use the address of the matrix: ")
                    && said.err.contains(words),
                "{}",
                said.err
            );
        }
    }
    assert_eq!(mirror.asked(), [""; 0]);
}

#[test]
fn a_server_that_does_not_bring_the_document_is_told_with_what_to_do() {
    let mirror = Mirror::start("hostile", |path| match path {
        "/elsewhere" => answer("302 Found", "Location: https://store.example.net/m?hunter2\r\n", b""),
        "/loop" => answer("302 Found", "Location: /loop\r\n", b""),
        "/large" => answer("200 OK", "", &vec![b' '; 1_000_001]),
        "/packed" => answer("200 OK", "Content-Encoding: gzip\r\n", b"x"),
        "/other" => answer("200 OK", "", b"\xff\xfe"),
        _ => answer("404 Not Found", "", b""),
    });
    for (path, words) in [
        ("elsewhere", "redirects to another server, store.example.net:443"),
        ("loop", "redirects once more after 3 redirects"),
        ("large", "sent more than 1000000 bytes of the document"),
        ("packed", "only a plain one is read"),
        ("other", "cannot use https://matrix.example.com/other: invalid utf-8"),
        ("nothing", "http status 404: check the path"),
    ] {
        let said = mirror.ask(&["matrix", "lint", &format!("https://{HOST}/{path}")]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{path}");
        assert!(said.err.contains(words), "{}", said.err);
    }
    let stranger = mirror.ask_alone(&["matrix", "lint", ADDRESS]);
    assert!(stranger.code == Some(2) && stranger.err.contains("(vdoctl: --ca-bundle)"), "{}", stranger.err);
    let wrong = said(command(&["matrix", "lint", ADDRESS]).env("https_proxy", "socks5://proxy.example.com"));
    assert!(wrong.code == Some(2) && wrong.err.contains("HTTPS_PROXY has a scheme other than http"));
    let before = mirror.asked().len();
    let direct = said(
        command(&["matrix", "lint", "https://matrix.invalid/m"])
            .env("HTTPS_PROXY", mirror.proxy.to_string())
            .env("NO_PROXY", ".example.com,matrix.invalid"),
    );
    assert!(direct.code == Some(2) && direct.err.contains("failed to resolve"), "{}", direct.err);
    assert_eq!(mirror.asked().len(), before);
}

#[test]
fn a_pin_and_a_signature_are_checked_at_an_address_and_of_a_file() {
    let document = matrix("3.7.0").to_string().into_bytes();
    let pair = KeyPair::generate().unwrap();
    let signature = pair.sign(&document).unwrap();
    let (served, its_signature) = (document.clone(), signature.clone());
    let mirror = Mirror::start("trust", move |path| match path {
        "/signed" | "/alone" => answer("200 OK", "", &served),
        "/signed.sig" => answer("200 OK", "", &its_signature),
        "/forged" => answer("200 OK", "", &[&served[..], b" "].concat()),
        "/forged.sig" => answer("200 OK", "", &its_signature),
        _ => answer("404 Not Found", "", b""),
    });
    let key = mirror.file("key.pub", pair.public_key_pem().as_bytes());
    let other = mirror.file("other.pub", KeyPair::generate().unwrap().public_key_pem().as_bytes());
    let file = mirror.file("m.json", &document);
    mirror.file("m.json.sig", &signature);
    let forged = mirror.file("forged.json", b"{}");
    mirror.file("forged.json.sig", &signature);
    let unsigned = mirror.file("unsigned.json", &document);
    let digest = vdo_fetch::Pin::of(&document).to_string();
    let at = |path: &str| format!("https://{HOST}/{path}");
    for (matrix, trust, words) in [
        (&at("signed"), ["--public-key", &key], None),
        (&file, ["--public-key", &key], None),
        (&at("alone"), ["--sha256", &digest], None),
        (&file, ["--sha256", &digest], None),
        (&at("signed"), ["--public-key", &other], Some("does not belong to this document")),
        (&file, ["--public-key", &other], Some("does not belong to this document")),
        (&at("forged"), ["--public-key", &key], Some("does not belong to this document")),
        (&forged, ["--public-key", &key], Some("does not belong to this document")),
        (
            &at("alone"),
            ["--public-key", &key],
            Some("https://matrix.example.com/alone.sig answered with http status 404"),
        ),
        (&unsigned, ["--public-key", &key], Some("cannot read ")),
        (&"-".to_owned(), ["--public-key", &key], Some("standard input has no signature")),
        (&at("forged"), ["--sha256", &digest], Some("and not the pinned")),
        (&forged, ["--sha256", &digest], Some("and not the pinned")),
        (&file, ["--public-key", &file], Some("the public key is not in PEM form")),
        (&file, ["--sha256", "abc"], Some("64 hexadecimal digits, not 3")),
    ] {
        let said = mirror.ask(&[&["matrix", "lint", matrix][..], &trust].concat());
        match words {
            None => assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{matrix} {trust:?}"),
            Some(words) => {
                assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{matrix} {trust:?}");
                assert!(said.err.contains(words), "{matrix} {trust:?}: {}", said.err);
            }
        }
    }
    // The built-in one has neither.
    let built_in = mirror.ask(&["matrix", "show", "--sha256", &digest]);
    assert_eq!((built_in.code, built_in.out.as_str()), (Some(2), ""));
}
