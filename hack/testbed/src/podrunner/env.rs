//! A container's environment and the `$(NAME)` references in its command line. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, ObjectFieldSelector, Pod};

use super::cluster::{Keys, Kind, Objects};

/// What the environment of a container is made from.
pub(super) struct Sources<'a> {
    pub(super) objects: &'a Objects,
    /// The pod as it is now: labels and annotations may change.
    pub(super) pod: &'a Pod,
    pub(super) pod_ip: &'a str,
    pub(super) host_ip: &'a str,
    /// Host and port of the API server.
    pub(super) apiserver: (&'a str, &'a str),
}

/// Makes the environment, or says what is missing as the kubelet does (reason CreateContainerConfigError).
pub(super) fn environment(
    container: &Container,
    from: &Sources<'_>,
) -> Result<BTreeMap<String, String>, String> {
    let (host, port) = from.apiserver;
    let mut env = BTreeMap::from([
        ("KUBERNETES_SERVICE_HOST".to_owned(), host.to_owned()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), port.to_owned()),
        ("KUBERNETES_SERVICE_PORT_HTTPS".to_owned(), port.to_owned()),
    ]);
    for group in container.env_from.iter().flatten() {
        let prefix = group.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional) = match (&group.config_map_ref, &group.secret_ref) {
            (Some(map), _) => (Kind::ConfigMap, &map.name, map.optional),
            (None, Some(secret)) => (Kind::Secret, &secret.name, secret.optional),
            (None, None) => return Err("envFrom names no source".to_owned()),
        };
        let Some(keys) = object(from, kind, name, optional)? else { continue };
        for (key, value) in &keys.values {
            env.insert(format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) => Some(expand(text, &env)),
            (None, Some(source)) => referenced(source, container, from)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            env.insert(variable.name.clone(), value);
        }
    }
    env.entry("PATH".to_owned())
        .or_insert_with(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/".to_owned());
    // As a container runtime does where the image names no home.
    env.entry("HOME".to_owned()).or_insert_with(|| "/".to_owned());
    env.entry("HOSTNAME".to_owned()).or_insert_with(|| host_name(from.pod));
    Ok(env)
}

/// The host name in the pod's namespace: the node's with hostNetwork, as on a real node.
pub(super) fn host_name(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.host_network) == Some(true) {
        return spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    }
    let chosen = spec.and_then(|spec| spec.hostname.clone()).or_else(|| pod.metadata.name.clone());
    chosen.unwrap_or_default().chars().take(63).collect()
}

fn object(
    from: &Sources<'_>,
    kind: Kind,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<std::sync::Arc<Keys>>, String> {
    let namespace = from.pod.metadata.namespace.as_deref().unwrap_or_default();
    match from.objects.find(kind, namespace, name) {
        Some(keys) => Ok(Some(keys)),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("{} \"{name}\" not found", kind.word())),
    }
}

fn referenced(
    source: &EnvVarSource,
    container: &Container,
    from: &Sources<'_>,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return downward(field, from.pod, from.pod_ip, from.host_ip).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        let containers = from.pod.spec.iter().flat_map(|spec| &spec.containers);
        let named = resource.container_name.as_ref();
        let of = containers.into_iter().find(|c| Some(&c.name) == named).unwrap_or(container);
        let (group, name) = resource.resource.split_once('.').ok_or("resource has no group")?;
        let given = of.resources.as_ref().and_then(|resources| match group {
            "limits" => resources.limits.as_ref()?.get(name),
            _ => resources.requests.as_ref()?.get(name),
        });
        let Some(given) = given else {
            return Err(format!(
                "{}: not set, and the runner does not tell the node's allocatable",
                resource.resource
            ));
        };
        let divisor = resource.divisor.as_ref().map_or(1.0, |divisor| quantity(&divisor.0).unwrap_or(1.0));
        let divisor = if divisor == 0.0 { 1.0 } else { divisor };
        let amount = quantity(&given.0).ok_or_else(|| format!("{} is no quantity", given.0))?;
        return Ok(Some(format!("{}", (amount / divisor).ceil())));
    }
    let (kind, name, key, optional) = match (&source.secret_key_ref, &source.config_map_key_ref) {
        (Some(secret), _) => (Kind::Secret, &secret.name, &secret.key, secret.optional),
        (None, Some(map)) => (Kind::ConfigMap, &map.name, &map.key, map.optional),
        (None, None) => return Err("valueFrom names no source".to_owned()),
    };
    let Some(keys) = object(from, kind, name, optional)? else { return Ok(None) };
    let namespace = from.pod.metadata.namespace.as_deref().unwrap_or_default();
    match keys.values.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional == Some(true) => Ok(None),
        None => {
            let kind = if kind == Kind::Secret { "Secret" } else { "ConfigMap" };
            Err(format!("couldn't find key {key} in {kind} {namespace}/{name}"))
        }
    }
}

/// A field of the pod, for variables and downward API files.
pub(super) fn downward(
    field: &ObjectFieldSelector,
    pod: &Pod,
    pod_ip: &str,
    host_ip: &str,
) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let path = field.field_path.as_str();
    let lines = |map: &Option<BTreeMap<String, String>>| {
        let rows = map.iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
        rows.collect::<Vec<_>>().join("\n")
    };
    let of = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.iter()
            .flatten()
            .find(|(name, _)| name.as_str() == key)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    };
    let text = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(lines(&meta.labels)),
        "metadata.annotations" => Some(lines(&meta.annotations)),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(pod_ip.to_owned()),
        "status.hostIP" | "status.hostIPs" => Some(host_ip.to_owned()),
        _ => {
            let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
            match (key("metadata.labels['"), key("metadata.annotations['")) {
                (Some(label), _) => Some(of(&meta.labels, label)),
                (None, Some(annotation)) => Some(of(&meta.annotations, annotation)),
                (None, None) => return Err(format!("fieldPath {path} is not implemented")),
            }
        }
    };
    Ok(text.unwrap_or_default())
}

/// Replaces `$(NAME)` by the variable; `$$` is a dollar; what is unknown stays as written.
pub(super) fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// Reads a Kubernetes quantity.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "cpi"}},
            "spec": {"nodeName": "cp-1", "containers": []}
        }))
        .unwrap()
    }

    fn made(container: serde_json::Value, objects: &Objects) -> Result<BTreeMap<String, String>, String> {
        let container: Container = serde_json::from_value(container).unwrap();
        let pod = pod();
        let from = Sources {
            objects,
            pod: &pod,
            pod_ip: "10.0.0.5",
            host_ip: "192.0.2.5",
            apiserver: ("192.0.2.1", "6443"),
        };
        environment(&container, &from)
    }

    fn secret() -> Objects {
        let objects = Objects::default();
        let values = BTreeMap::from([("user".to_owned(), b"admin".to_vec())]);
        objects.put(Kind::Secret, "n", "s", Keys { values, immutable: false });
        objects
    }

    #[test]
    fn references_expand_to_what_was_defined_before() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expand("x=$(A) $$(A) $(B) $A $", &env), "x=1 $(A) $(B) $A $");
    }

    #[test]
    fn variables_come_from_fields_secrets_and_limits() {
        let env = made(
            json!({"name": "c", "resources": {"limits": {"memory": "64Mi"}},
                "envFrom": [{"prefix": "S_", "secretRef": {"name": "s"}}],
                "env": [
                    {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                    {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                    {"name": "USER_NAME", "valueFrom": {"secretKeyRef": {"name": "s", "key": "user"}}},
                    {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                    {"name": "URL", "value": "https://$(NS).$(APP)"}]}),
            &secret(),
        )
        .unwrap();
        let of = |name: &str| env.get(name).map(String::as_str);
        assert_eq!(
            [
                of("NS"),
                of("APP"),
                of("USER_NAME"),
                of("MEM"),
                of("URL"),
                of("S_user"),
                of("KUBERNETES_SERVICE_HOST")
            ],
            ["n", "cpi", "admin", "64", "https://n.cpi", "admin", "192.0.2.1"].map(Some)
        );
    }

    #[test]
    fn a_missing_key_is_named_unless_it_is_optional() {
        let one = |optional: bool| {
            json!({"name": "c", "env": [{"name": "X", "valueFrom":
                {"secretKeyRef": {"name": "s", "key": "absent", "optional": optional}}}]})
        };
        assert_eq!(made(one(false), &secret()), Err("couldn't find key absent in Secret n/s".to_owned()));
        assert!(!made(one(true), &secret()).unwrap().contains_key("X"));
        assert_eq!(made(one(false), &Objects::default()), Err("secret \"s\" not found".to_owned()));
    }

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(
            [quantity("500m"), quantity("2Gi"), quantity("3")],
            [Some(0.5), Some(2_147_483_648.0), Some(3.0)]
        );
        assert_eq!(quantity("7x"), None);
    }
}
