//! Finds the cluster as kubectl does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedContext};
use secrecy::SecretString;
use vdo_runtime::Cluster;
use vdo_runtime::client::READ_DEADLINE;

use crate::args::Place;
use crate::proxy::{self, Environment};

/// The cluster: a file that is named, else the files of KUBECONFIG, else the usual file, else the pod's own.
pub async fn connect(place: &Place) -> Result<Cluster> {
    let config = config(place).await?;
    let cluster = Cluster::with_config(config, "vdoctl", env!("CARGO_PKG_VERSION"))
        .context("cannot use the kubeconfig")?;
    Ok(match place.request_timeout.0 {
        Some(limit) if limit < READ_DEADLINE => bounded(&cluster, limit),
        // The library that reads waits no longer than this anyway.
        Some(_) | None => cluster,
    })
}

async fn config(place: &Place) -> Result<Config> {
    let file = kubeconfig(place)?;
    let proxy = file.as_ref().and_then(|file| proxy::of_cluster(file, place));
    let config = match (file, &place.server) {
        (Some(file), _) if is_chosen(&file, place) => chosen(file, place).await?,
        (_, Some(_)) => Config::new(Default::default()),
        (Some(_), None) => {
            return Err(anyhow!("the kubeconfig has no current context; use --context"));
        }
        // A pod asks its own API server directly, as the operators do.
        (None, None) => {
            return Config::incluster()
                .map_err(|_| anyhow!("no kubeconfig was found; use --kubeconfig, or set KUBECONFIG"))
                .and_then(|config| overridden(config, place));
        }
    };
    let mut config = overridden(config, place)?;
    // The library compares NO_PROXY with the proxy in place of the server.
    config.proxy_url = proxy::choose(proxy.as_deref(), &config.cluster_url, &Environment::read())?;
    Ok(config)
}

/// What the command line says counts before what a file says.
fn overridden(mut config: Config, place: &Place) -> Result<Config> {
    if let Some(server) = &place.server {
        config.cluster_url =
            server.parse().with_context(|| format!("--server {server} is not an address"))?;
        let scheme = config.cluster_url.scheme_str();
        ensure!(matches!(scheme, Some("https" | "http")), "--server {server} does not begin with https://");
        config.tls_server_name = None;
    }
    let who = &mut config.auth_info;
    if let Some(token) = &place.token {
        // Who says with which token means no certificate of the file.
        let (user, groups) = (who.impersonate.take(), who.impersonate_groups.take());
        *who = kube::config::AuthInfo::default();
        who.token = Some(SecretString::from(token.clone()));
        (who.impersonate, who.impersonate_groups) = (user, groups);
    }
    if let Some(user) = &place.impersonate {
        who.impersonate = Some(user.clone());
        who.impersonate_groups = (!place.groups.is_empty()).then(|| place.groups.clone());
        who.impersonate_uid = None;
        who.impersonate_user_extra = None;
    }
    Ok(config)
}

/// Whether the file or the command line says which cluster is meant.
fn is_chosen(file: &Kubeconfig, place: &Place) -> bool {
    let current = file.current_context.as_deref().is_some_and(|it| !it.is_empty());
    current || place.context.is_some() || place.cluster.is_some()
}

async fn chosen(mut file: Kubeconfig, place: &Place) -> Result<Config> {
    if let Some(user) = &place.user {
        let is_there = file.auth_infos.iter().any(|it| it.name == *user);
        ensure!(is_there, "the kubeconfig has no user {user:?}");
    }
    let mut context = place.context.clone();
    if context.is_none() && file.current_context.as_deref().is_none_or(str::is_empty) {
        // A cluster that is named needs no context.
        let (name, nothing) = (String::new(), Some(kube::config::Context::default()));
        file.contexts.push(NamedContext { name: name.clone(), context: nothing, other: Default::default() });
        context = Some(name);
    }
    let options = KubeConfigOptions { context, cluster: place.cluster.clone(), user: place.user.clone() };
    Config::from_custom_kubeconfig(file, &options).await.map_err(|error| match error {
        KubeconfigError::ParseProxyUrl(_) => {
            proxy::unreadable("the proxy (proxy-url of the kubeconfig, or HTTPS_PROXY)")
        }
        KubeconfigError::ParseNoProxy(error) => {
            anyhow!(
                "NO_PROXY cannot be read: {error}; list names, addresses and ranges with commas between them"
            )
        }
        // These errors print their sources themselves.
        error => anyhow!("{error}"),
    })
}

fn kubeconfig(place: &Place) -> Result<Option<Kubeconfig>> {
    if let Some(file) = &place.kubeconfig {
        return Kubeconfig::read_from(file).map(Some).map_err(|error| anyhow!("{error}"));
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() {
        // Without the variable this is the usual file.
        return present(Kubeconfig::read());
    }
    let merged = merged(&listed)?;
    ensure!(
        merged.is_some() || place.server.is_some(),
        "none of the files that KUBECONFIG names is there: {}",
        listed.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(merged)
}

/// The files in one: of what several name, the first counts. Files that are not there are left out.
fn merged(files: &[impl AsRef<Path>]) -> Result<Option<Kubeconfig>> {
    let mut all: Option<Kubeconfig> = None;
    for file in files {
        let Some(next) = present(Kubeconfig::read_from(file))? else { continue };
        all = Some(match all {
            Some(before) => before.merge(next).map_err(|error| anyhow!("{error}"))?,
            None => next,
        });
    }
    Ok(all)
}

/// `None` if the file is not there.
fn present(read: Result<Kubeconfig, KubeconfigError>) -> Result<Option<Kubeconfig>> {
    match read {
        Ok(file) => Ok(Some(file)),
        Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(KubeconfigError::FindPath) => Ok(None),
        Err(error) => Err(anyhow!("{error}")),
    }
}

/// The same cluster, which has to answer each request within the limit.
fn bounded(cluster: &Cluster, limit: Duration) -> Cluster {
    let client = cluster.client().clone();
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request| {
        let client = client.clone();
        async move {
            match tokio::time::timeout(limit, client.send(request)).await {
                Ok(answer) => answer.map_err(tower::BoxError::from),
                Err(_) => Err(format!("no answer within {} s", limit.as_secs_f32()).into()),
            }
        }
    });
    Cluster::over(Client::new(service, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_the_place_of_every_other_credential_and_a_name_to_ask_in_stays() {
        let mut config = Config::new("https://a.example.com".parse().unwrap());
        config.auth_info.client_certificate = Some("file".to_owned());
        config.auth_info.impersonate = Some("jane".to_owned());
        config.auth_info.impersonate_groups = Some(vec!["dev".to_owned()]);
        let place = Place { token: Some("mine".to_owned()), ..Place::default() };
        let who = overridden(config, &place).unwrap().auth_info;
        assert!(who.token.is_some() && who.client_certificate.is_none());
        assert_eq!(
            (who.impersonate.as_deref(), who.impersonate_groups),
            (Some("jane"), Some(vec!["dev".to_owned()]))
        );
    }

    #[test]
    fn whoever_is_named_to_ask_as_brings_no_groups_of_the_file_along() {
        let mut config = Config::new("https://a.example.com".parse().unwrap());
        config.auth_info.impersonate = Some("jane".to_owned());
        config.auth_info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
        let mut place = Place { impersonate: Some("joe".to_owned()), ..Place::default() };
        let who = overridden(config.clone(), &place).unwrap().auth_info;
        assert_eq!((who.impersonate.as_deref(), who.impersonate_groups), (Some("joe"), None));
        place.groups = vec!["ops".to_owned()];
        let who = overridden(config, &place).unwrap().auth_info;
        assert_eq!(who.impersonate_groups, Some(vec!["ops".to_owned()]));
    }

    #[test]
    fn a_server_that_is_named_is_asked_by_its_own_name() {
        let mut config = Config::new("https://a.example.com".parse().unwrap());
        config.tls_server_name = Some("a".to_owned());
        let place = |server: &str| Place { server: Some(server.to_owned()), ..Place::default() };
        let named = overridden(config.clone(), &place("https://b.example.com:6443")).unwrap();
        assert_eq!((named.cluster_url.host(), named.tls_server_name), (Some("b.example.com"), None));
        for wrong in ["b.example.com", "b.example.com:6443", "ftp://b", "https://b c"] {
            assert!(overridden(config.clone(), &place(wrong)).is_err(), "{wrong}");
        }
    }
}
