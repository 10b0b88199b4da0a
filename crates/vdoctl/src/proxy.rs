//! The proxy through which the API server is asked, as kubectl finds it. Pure, but for [`variable`].

use std::env;

use anyhow::{Result, anyhow, ensure};
use kube::config::Kubeconfig;
use vdo_fetch::is_direct;

use crate::args::Place;

/// The address of something, as the client has it.
pub type Uri = http::Uri;

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HTTPS_PROXY`.
    pub https_proxy: String,
    /// `NO_PROXY`.
    pub no_proxy: String,
}

impl Environment {
    /// As it is.
    pub fn read() -> Environment {
        Environment {
            https_proxy: variable(["HTTPS_PROXY", "https_proxy"]),
            no_proxy: variable(["NO_PROXY", "no_proxy"]),
        }
    }
}

/// The first of these variables that says something, as programs written in Go read them.
pub fn variable(names: [&str; 2]) -> String {
    names
        .into_iter()
        .filter_map(|name| env::var(name).ok())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

/// The `proxy-url` of the cluster that is meant.
pub fn of_cluster(file: &Kubeconfig, place: &Place) -> Option<String> {
    let context = place.context.as_ref().or(file.current_context.as_ref());
    let context = context.and_then(|name| file.contexts.iter().find(|it| it.name == *name));
    let of_context = context.and_then(|it| it.context.as_ref()).map(|it| &it.cluster);
    let name = place.cluster.as_ref().or(of_context)?;
    let cluster = file.clusters.iter().find(|it| it.name == *name)?;
    cluster.cluster.as_ref()?.proxy_url.clone().filter(|it| !it.is_empty())
}

/// The proxy for this server. What the kubeconfig names holds for every server; what the environment names only for https, and
/// for no server that `NO_PROXY` names or that runs on this machine.
pub fn choose(of_cluster: Option<&str>, server: &Uri, said: &Environment) -> Result<Option<Uri>> {
    let (given, place) = match of_cluster {
        Some(given) => (given, "the proxy-url of the kubeconfig"),
        None if is_proxied(server, &said.no_proxy) => (said.https_proxy.as_str(), "HTTPS_PROXY"),
        None => return Ok(None),
    };
    let given = given.trim();
    if given.is_empty() {
        return Ok(None);
    }
    // It may hold a password, so it is not repeated.
    let spelled = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let proxy: Uri = spelled.parse().map_err(|_| unreadable(place))?;
    ensure!(
        matches!(proxy.scheme_str(), Some("http" | "https")),
        "{place} has a scheme other than http and https, and no other proxy is asked: write http://host:port"
    );
    Ok(Some(proxy))
}

/// What is said of a proxy that cannot be read.
pub fn unreadable(place: &str) -> anyhow::Error {
    anyhow!("{place} cannot be read: write http://host:port, with user:password@ before the host if needed")
}

fn is_proxied(server: &Uri, no_proxy: &str) -> bool {
    let host = server.host().unwrap_or_default();
    let literal = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_here = host.eq_ignore_ascii_case("localhost") || literal.is_ok_and(|it| it.is_loopback());
    server.scheme_str() == Some("https")
        && !is_here
        && !is_direct(no_proxy, host, server.port_u16().unwrap_or(443))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(of_cluster: Option<&str>, server: &str, https_proxy: &str, no_proxy: &str) -> Option<String> {
        let said = Environment { https_proxy: https_proxy.to_owned(), no_proxy: no_proxy.to_owned() };
        let proxy = choose(of_cluster, &server.parse().unwrap(), &said).unwrap();
        proxy.map(|it| it.to_string())
    }

    #[test]
    fn a_proxy_of_the_kubeconfig_counts_before_that_of_the_environment_and_for_every_server() {
        let (ours, others) = ("http://ours:3128/", "http://others:3128/");
        for (of_cluster, server, no_proxy, expected) in [
            (None, "https://api.example.com:6443", "", Some(others)),
            (Some("ours:3128"), "https://api.example.com:6443", "", Some(ours)),
            (Some(ours), "https://api.example.com:6443", "*", Some(ours)),
            (Some(ours), "http://127.0.0.1:8001", "", Some(ours)),
            (None, "https://api.example.com:6443", "example.com", None),
            (None, "https://api.example.com:6443", "api.example.com:443", Some(others)),
            (None, "https://api.example.com", "api.example.com:443", None),
            (None, "https://10.0.0.1:6443", "10.0.0.0/8, ,", None),
            (None, "https://[fd12::7]:6443", "fd00::/8", None),
            // The proxy itself is not what is asked.
            (None, "https://api.example.com:6443", "others", Some(others)),
            (None, "http://api.example.com", "", None),
            (None, "https://localhost:6443", "", None),
            (None, "https://[::1]:6443", "", None),
        ] {
            let found = chosen(of_cluster, server, "others:3128", no_proxy);
            assert_eq!(found.as_deref(), expected, "{of_cluster:?} {server} {no_proxy:?}");
        }
        assert_eq!(chosen(None, "https://api.example.com", "", ""), None);
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_repeated() {
        let server = "https://api.example.com".parse().unwrap();
        for (wrong, words) in [
            ("socks5://me:hunter2@proxy:1080", "a scheme other than http"),
            ("http://me:hunter2@pro xy", "cannot be read: write http://host:port"),
        ] {
            for (of_cluster, environment, place) in
                [(Some(wrong), "", "the proxy-url of the kubeconfig"), (None, wrong, "HTTPS_PROXY")]
            {
                let said = Environment { https_proxy: environment.to_owned(), no_proxy: String::new() };
                let error = choose(of_cluster, &server, &said).unwrap_err().to_string();
                assert!(error.starts_with(place) && error.contains(words), "{error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn the_proxy_is_that_of_the_cluster_that_is_meant() {
        let file: Kubeconfig = serde_json::from_value(serde_json::json!({
            "current-context": "a",
            "clusters": [
                {"name": "a", "cluster": {"server": "https://a", "proxy-url": "http://pa"}},
                {"name": "b", "cluster": {"server": "https://b", "proxy-url": ""}},
                {"name": "c", "cluster": {"server": "https://c", "proxy-url": "http://pc"}},
            ],
            "contexts": [
                {"name": "a", "context": {"cluster": "a", "user": "u"}},
                {"name": "b", "context": {"cluster": "b", "user": "u"}},
            ],
        }))
        .unwrap();
        let of = |context: Option<&str>, cluster: Option<&str>| {
            let place = Place {
                context: context.map(str::to_owned),
                cluster: cluster.map(str::to_owned),
                ..Place::default()
            };
            of_cluster(&file, &place)
        };
        assert_eq!(of(None, None).as_deref(), Some("http://pa"));
        assert_eq!(of(Some("b"), None), None);
        assert_eq!(of(Some("b"), Some("c")).as_deref(), Some("http://pc"));
        assert_eq!(of(Some("nowhere"), None), None);
    }
}
