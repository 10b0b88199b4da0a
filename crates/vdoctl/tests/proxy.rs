//! The API server behind a proxy. The proxy is on loopback, and the server stands behind it under a name.
#![allow(clippy::unwrap_used)]

#[path = "../../vdo-fetch/src/fetch/tests/server.rs"]
#[allow(dead_code, reason = "hostile servers are vdo-fetch's own tests")]
mod server;

mod asked;

use asked::{Aside, Folder, Said, VDOCTL, command, said};
use serde_json::json;
use server::{Authority, Server, VALID, answer};

const API: &str = "https://api.example.com:6443";

/// A proxy, and an API server behind it that knows none of our kinds.
struct Behind {
    folder: Folder,
    /// The proxy, then the API server.
    aside: Aside<[Server; 2]>,
}

impl Behind {
    fn start(name: &str) -> Behind {
        let folder = Folder::new(name);
        let authority = Authority::new();
        folder.file("ca.pem", &authority.pem());
        let aside = Aside::start(async move || {
            let absent =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                "code": 404, "message": "the server could not find the requested resource"})
                .to_string();
            let headers = "Content-Type: application/json\r\nConnection: close\r\n";
            let script = move |_: &str| answer(404, headers, absent.as_bytes());
            let api = Server::start(authority.server(&["api.example.com", "127.0.0.1"], VALID), script).await;
            [Server::proxy(api.at, |_| None).await, api]
        });
        Behind { folder, aside }
    }

    fn proxy(&self) -> String {
        format!("http://me:hunter2@{}", self.aside.servers[0].at)
    }

    /// Asks for the status with this `proxy-url` in the kubeconfig and these variables.
    fn ask(&self, server: &str, proxy_url: &str, variables: &[(&str, &str)]) -> Said {
        let authority = self.folder.0.join("ca.pem").display().to_string();
        let mut cluster = json!({"server": server, "certificate-authority": authority});
        if !proxy_url.is_empty() {
            cluster["proxy-url"] = proxy_url.into();
        }
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": cluster}],
            "users": [{"name": "a", "user": {"token": "t"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        });
        let file = self.folder.file("kubeconfig", &file.to_string());
        let said =
            said(command(VDOCTL).args(["status", "--kubeconfig", &file]).envs(variables.iter().copied()));
        assert!(!said.out.contains("hunter2") && !said.err.contains("hunter2"), "{}{}", said.out, said.err);
        said
    }

    /// What the proxy was asked since it was asked last.
    fn connects(&self, before: usize) -> Vec<String> {
        self.aside.servers[0].heads().split_off(before)
    }
}

#[test]
fn the_api_server_is_asked_through_the_proxy_that_kubectl_would_ask() {
    let behind = Behind::start("behind");
    let proxy = behind.proxy();
    let mut before = 0;
    for (proxy_url, variables) in [
        ("", &[("HTTPS_PROXY", proxy.as_str())][..]),
        ("", &[("https_proxy", &proxy), ("NO_PROXY", "other.example.com")]),
        // The proxy stands in NO_PROXY, and the server does not.
        ("", &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "127.0.0.1")]),
        (&proxy, &[]),
        (&proxy, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]),
    ] {
        let said = behind.ask(API, proxy_url, variables);
        let words = "Not ready: VDO is not installed in this cluster";
        assert!(
            said.code == Some(1) && said.out.starts_with(words),
            "{variables:?}: {}{}",
            said.out,
            said.err
        );
        let connects = behind.connects(before);
        assert!(!connects.is_empty(), "{proxy_url:?} {variables:?}");
        before += connects.len();
        for head in connects {
            assert!(head.starts_with("CONNECT api.example.com:6443 HTTP/1.1\r\n"), "{head}");
            let (small, pair) = (head.to_ascii_lowercase(), "\r\nproxy-authorization: basic ");
            assert!(small.contains(pair), "{head}");
        }
    }
}

#[test]
fn a_server_that_needs_no_proxy_is_asked_directly() {
    let behind = Behind::start("direct");
    let proxy = behind.proxy();
    let here = format!("https://{}", behind.aside.servers[1].at);
    let said = behind.ask(&here, "", &[("HTTPS_PROXY", &proxy)]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let said =
        behind.ask("https://api.invalid:6443", "", &[("HTTPS_PROXY", &proxy), ("NO_PROXY", ".invalid")]);
    assert_eq!(said.code, Some(2), "{}", said.out);
    assert_eq!(behind.connects(0), [""; 0]);
}

#[test]
fn a_proxy_that_cannot_be_asked_is_named_with_what_to_write() {
    let behind = Behind::start("wrong");
    let socks = "socks5://me:hunter2@127.0.0.1:1080";
    for (proxy_url, variables, words) in [
        (socks, &[][..], "the proxy-url of the kubeconfig has a scheme other than http and https"),
        ("", &[("HTTPS_PROXY", socks)], "HTTPS_PROXY has a scheme other than http and https"),
        ("", &[("HTTPS_PROXY", "http://me:hunter2@pro xy")], "cannot be read: write http://host:port"),
        ("", &[("HTTPS_PROXY", "http://proxy.invalid:1"), ("NO_PROXY", "a b")], "NO_PROXY cannot be read: "),
    ] {
        let said = behind.ask(API, proxy_url, variables);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{variables:?}");
        assert!(said.err.contains(words), "{variables:?}: {}", said.err);
    }
}
