//! A matrix at an https address, asked by the program itself. Addresses of this machine are refused, as an operator refuses
//! them, so that each test goes through a proxy on loopback, behind which the server stands under a name.
#![allow(clippy::unwrap_used)]

#[path = "../../vdo-fetch/src/fetch/tests/server.rs"]
#[allow(dead_code, reason = "hostile servers are vdo-fetch's own tests")]
mod server;

mod asked;

use std::process::Command;

use asked::{Aside, Folder, Said, VDOCTL};
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};
use server::{Authority, Say, Server, VALID, answer};

const HOST: &str = "matrix.example.com";
const ADDRESS: &str = "https://matrix.example.com/m.json?token=hunter2";

/// A proxy, and the server that it connects to.
struct Mirror {
    folder: Folder,
    /// The proxy, then the server.
    aside: Aside<[Server; 2]>,
}

impl Mirror {
    /// `name` is that of its folder; the script answers a path.
    fn start(name: &str, script: impl Fn(&str) -> Say + Send + Sync + 'static) -> Mirror {
        let folder = Folder::new(name);
        let authority = Authority::new();
        folder.file("ca.pem", &authority.pem());
        let aside = Aside::start(async move || {
            let of_head = move |head: &str| script(head.split(' ').nth(1).unwrap());
            let server = Server::start(authority.server(&[HOST], VALID), of_head).await;
            [Server::proxy(server.at, |_| None).await, server]
        });
        Mirror { folder, aside }
    }

    fn proxy(&self) -> String {
        self.aside.servers[0].at.to_string()
    }

    /// With this document at the address, and nothing else.
    fn with(name: &str, document: &Value) -> Mirror {
        let document = document.to_string();
        Mirror::start(name, move |path| match path {
            "/m.json?token=hunter2" => answer(200, "", document.as_bytes()),
            _ => answer(404, "", b""),
        })
    }

    /// Asks the program, which knows the proxy and trusts the authority.
    fn ask(&self, words: &[&str]) -> Said {
        let authority = self.folder.0.join("ca.pem").display().to_string();
        self.ask_alone(&[words, &["--ca-bundle", &authority]].concat())
    }

    fn ask_alone(&self, words: &[&str]) -> Said {
        said(command(words).env("HTTPS_PROXY", format!("http://{}", self.proxy())))
    }

    /// The first line of each request, those to the proxy first.
    fn asked(&self) -> Vec<String> {
        let heads = self.aside.servers.iter().flat_map(Server::heads);
        heads.map(|head| head.lines().next().unwrap().to_owned()).collect()
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = asked::command(VDOCTL);
    command.args(words);
    command
}

/// What it said, and no token.
fn said(command: &mut Command) -> Said {
    let said = asked::said(command);
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
        "/elsewhere" => answer(302, "Location: https://store.example.net/m?hunter2\r\n", b""),
        "/loop" => answer(302, "Location: /loop\r\n", b""),
        "/large" => answer(200, "", &vec![b' '; 1_000_001]),
        "/packed" => answer(200, "Content-Encoding: gzip\r\n", b"x"),
        "/other" => answer(200, "", b"\xff\xfe"),
        _ => answer(404, "", b""),
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
            .env("HTTPS_PROXY", mirror.proxy())
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
        "/signed" | "/alone" => answer(200, "", &served),
        "/signed.sig" => answer(200, "", &its_signature),
        "/forged" => answer(200, "", &[&served[..], b" "].concat()),
        "/forged.sig" => answer(200, "", &its_signature),
        _ => answer(404, "", b""),
    });
    let key = mirror.folder.file("key.pub", pair.public_key_pem().as_bytes());
    let other = mirror.folder.file("other.pub", KeyPair::generate().unwrap().public_key_pem().as_bytes());
    let file = mirror.folder.file("m.json", &document);
    mirror.folder.file("m.json.sig", &signature);
    let forged = mirror.folder.file("forged.json", b"{}");
    mirror.folder.file("forged.json.sig", &signature);
    let unsigned = mirror.folder.file("unsigned.json", &document);
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
