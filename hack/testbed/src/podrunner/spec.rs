//! Which fields of a pod spec the runner implements.
//!
//! The spec is walked as JSON, before any typed decoding could drop what it does not know.

use serde_json::Value;

/// Fields that the runner acts on. `[]` stands for each element of a list; `**` for everything below.
const IMPLEMENTED: &[&str] = &[
    "nodeName",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "dnsPolicy",
    "hostNetwork",
    "hostAliases[].ip",
    "hostAliases[].hostnames[]",
    "hostname",
    "serviceAccountName",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.runAsNonRoot",
    "securityContext.fsGroup",
    "securityContext.supplementalGroups[]",
    "hostPID=false",
    "hostIPC=false",
    "hostUsers=true",
    "shareProcessNamespace=false",
    "volumes[].name",
    "volumes[].configMap.name",
    "volumes[].configMap.optional",
    "volumes[].configMap.defaultMode",
    "volumes[].configMap.items[].key",
    "volumes[].configMap.items[].path",
    "volumes[].configMap.items[].mode",
    "volumes[].secret.secretName",
    "volumes[].secret.optional",
    "volumes[].secret.defaultMode",
    "volumes[].secret.items[].key",
    "volumes[].secret.items[].path",
    "volumes[].secret.items[].mode",
    "volumes[].downwardAPI.defaultMode",
    "volumes[].downwardAPI.items[].path",
    "volumes[].downwardAPI.items[].mode",
    "volumes[].downwardAPI.items[].fieldRef.apiVersion",
    "volumes[].downwardAPI.items[].fieldRef.fieldPath",
    "volumes[].emptyDir.medium=|Memory",
    "volumes[].emptyDir.sizeLimit",
    "volumes[].hostPath.path",
    "volumes[].hostPath.type=|Directory|DirectoryOrCreate|File|FileOrCreate",
    "volumes[].projected.defaultMode",
    "volumes[].projected.sources[].serviceAccountToken.audience",
    "volumes[].projected.sources[].serviceAccountToken.expirationSeconds",
    "volumes[].projected.sources[].serviceAccountToken.path",
    "volumes[].projected.sources[].configMap.name",
    "volumes[].projected.sources[].configMap.optional",
    "volumes[].projected.sources[].configMap.items[].key",
    "volumes[].projected.sources[].configMap.items[].path",
    "volumes[].projected.sources[].configMap.items[].mode",
    "volumes[].projected.sources[].secret.name",
    "volumes[].projected.sources[].secret.optional",
    "volumes[].projected.sources[].secret.items[].key",
    "volumes[].projected.sources[].secret.items[].path",
    "volumes[].projected.sources[].secret.items[].mode",
    "volumes[].projected.sources[].downwardAPI.items[].path",
    "volumes[].projected.sources[].downwardAPI.items[].mode",
    "volumes[].projected.sources[].downwardAPI.items[].fieldRef.apiVersion",
    "volumes[].projected.sources[].downwardAPI.items[].fieldRef.fieldPath",
];

/// Fields of the pod that are taken and have no effect here, each with its reason.
const WITHOUT_EFFECT: &[&str] = &[
    // The scheduler and the controllers have acted on these before a node sees the pod.
    "affinity.**",
    "nodeSelector.**",
    "tolerations[].**",
    "topologySpreadConstraints[].**",
    "schedulerName",
    "priority",
    "priorityClassName",
    "preemptionPolicy",
    "serviceAccount",
    "automountServiceAccountToken",
    // There is no registry: the image table answers.
    "imagePullSecrets[].**",
    // Not enforced: the bed has no seccomp and no cgroups of its own; see the container's resources.
    "securityContext.seccompProfile.type=RuntimeDefault|Unconfined",
    "securityContext.fsGroupChangePolicy",
    "securityContext.supplementalGroupsPolicy=Merge",
    // Variables of Services are not given; nothing that runs here reads them.
    "enableServiceLinks",
];

/// Fields of a container that the runner acts on.
const CONTAINER: &[&str] = &[
    "name",
    "image",
    "command[]",
    "args[]",
    "workingDir",
    "env[].name",
    "env[].value",
    "env[].valueFrom.fieldRef.apiVersion",
    "env[].valueFrom.fieldRef.fieldPath",
    "env[].valueFrom.secretKeyRef.name",
    "env[].valueFrom.secretKeyRef.key",
    "env[].valueFrom.secretKeyRef.optional",
    "env[].valueFrom.configMapKeyRef.name",
    "env[].valueFrom.configMapKeyRef.key",
    "env[].valueFrom.configMapKeyRef.optional",
    "env[].valueFrom.resourceFieldRef.containerName",
    "env[].valueFrom.resourceFieldRef.resource",
    "env[].valueFrom.resourceFieldRef.divisor",
    "envFrom[].prefix",
    "envFrom[].configMapRef.name",
    "envFrom[].configMapRef.optional",
    "envFrom[].secretRef.name",
    "envFrom[].secretRef.optional",
    "volumeMounts[].name",
    "volumeMounts[].mountPath",
    "volumeMounts[].readOnly",
    "volumeMounts[].subPath",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.runAsNonRoot",
    "securityContext.readOnlyRootFilesystem",
    "securityContext.allowPrivilegeEscalation",
    "securityContext.privileged",
    "securityContext.capabilities.add[]",
    "securityContext.capabilities.drop[]",
    // For init containers; the API server allows no other value.
    "restartPolicy=Always",
    "stdin=false",
    "tty=false",
    // Named ports are looked up by probes.
    "ports[].name",
    "ports[].containerPort",
];

/// Fields of a container that are taken and have no effect here.
const CONTAINER_WITHOUT_EFFECT: &[&str] = &[
    // The scheduler has counted requests; limits are told through resourceFieldRef and not enforced.
    "resources.**",
    "resizePolicy[].**",
    // The image table is read at each start.
    "imagePullPolicy",
    // Every port of a pod is reachable; a host port is the port itself with hostNetwork, and refused without.
    "ports[].protocol",
    "ports[].hostPort",
    "securityContext.seccompProfile.type=RuntimeDefault|Unconfined",
    // Only node plug-ins use it, and those are stand-ins.
    "volumeMounts[].mountPropagation",
];

const PROBES: &[&str] = &["livenessProbe", "readinessProbe", "startupProbe"];

const PROBE: &[&str] = &[
    "httpGet.host",
    "httpGet.path",
    "httpGet.port",
    "httpGet.scheme",
    "httpGet.httpHeaders[].name",
    "httpGet.httpHeaders[].value",
    "tcpSocket.host",
    "tcpSocket.port",
    "exec.command[]",
    "initialDelaySeconds",
    "periodSeconds",
    "timeoutSeconds",
    "successThreshold",
    "failureThreshold",
    "terminationGracePeriodSeconds",
];

/// Names every field of the spec that the runner does not implement; empty when it can run the pod.
pub(super) fn refusals(spec: &Value) -> Vec<String> {
    let mut refused = Vec::new();
    walk(spec, "", &mut |path, value| {
        if !allowed(path, value) {
            refused.push(path.to_owned());
        }
    });
    let host_network = spec["hostNetwork"] == Value::Bool(true);
    let ports = spec["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|c| c["ports"].as_array().into_iter().flatten());
    if !host_network && ports.into_iter().any(|port| !port["hostPort"].is_null()) {
        refused.push("containers[].ports[].hostPort without hostNetwork".to_owned());
    }
    refused.sort();
    refused.dedup();
    refused
}

fn allowed(path: &str, value: &Value) -> bool {
    for list in ["containers[].", "initContainers[]."] {
        if let Some(rest) = path.strip_prefix(list) {
            let probe = PROBES.iter().find_map(|probe| rest.strip_prefix(probe)?.strip_prefix('.'));
            return match probe {
                Some(rest) => matches(PROBE, rest, value),
                None => matches(CONTAINER, rest, value) || matches(CONTAINER_WITHOUT_EFFECT, rest, value),
            };
        }
    }
    matches(IMPLEMENTED, path, value) || matches(WITHOUT_EFFECT, path, value)
}

fn matches(rules: &[&str], path: &str, value: &Value) -> bool {
    rules.iter().any(|rule| {
        if let Some(prefix) = rule.strip_suffix("**") {
            // An empty object is seen without the dot.
            return path.starts_with(prefix) || path == prefix.trim_end_matches('.');
        }
        match rule.split_once('=') {
            Some((field, values)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                path == field && values.split('|').any(|one| one == text)
            }
            None => path == *rule || (is_empty(value) && rule.starts_with(path) && is_boundary(rule, path)),
        }
    })
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn is_boundary(rule: &str, path: &str) -> bool {
    matches!(rule.as_bytes().get(path.len()), Some(b'.' | b'['))
}

/// Calls `leaf` for each scalar and each empty object or list, with its path.
fn walk(value: &Value, path: &str, leaf: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, inner) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(inner, &path, leaf);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for inner in items {
                walk(inner, &format!("{path}[]"), leaf);
            }
        }
        Value::Null => {}
        other => leaf(path, other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(extra: Value) -> Value {
        let mut spec = json!({
            "nodeName": "cp-1", "dnsPolicy": "Default", "restartPolicy": "Always", "securityContext": {},
            "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {"x": 1}},
            "containers": [{"name": "a", "image": "b:1", "resources": {},
                "securityContext": {"capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": 1}, "periodSeconds": 1}}],
            "volumes": [{"name": "v", "emptyDir": {}}]
        });
        for (name, value) in extra.as_object().unwrap() {
            spec[name] = value.clone();
        }
        spec
    }

    #[test]
    fn a_usual_driver_pod_is_taken() {
        assert_eq!(refusals(&with(json!({}))), Vec::<String>::new());
    }

    #[test]
    fn each_field_that_is_not_implemented_is_named() {
        let spec = with(
            json!({"hostPID": true, "readinessGates": [{"conditionType": "x"}], "volumes": [{"name": "v", "nfs": {}}]}),
        );
        assert_eq!(refusals(&spec), ["hostPID", "readinessGates[].conditionType", "volumes[].nfs"]);
    }

    #[test]
    fn unimplemented_fields_of_containers_and_probes_are_named() {
        let spec = with(json!({"containers": [
            {"name": "a", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
            {"name": "b", "readinessProbe": {"grpc": {"port": 1}}, "ports": [{"hostPort": 5, "containerPort": 5}]}]}));
        assert_eq!(
            refusals(&spec),
            [
                "containers[].lifecycle.preStop.sleep.seconds",
                "containers[].ports[].hostPort without hostNetwork",
                "containers[].readinessProbe.grpc.port"
            ]
        );
    }

    #[test]
    fn only_the_listed_values_of_a_field_are_taken() {
        let memory = with(json!({"volumes": [{"name": "v", "emptyDir": {"medium": "HugePages"}}]}));
        assert_eq!(refusals(&memory), ["volumes[].emptyDir.medium"]);
        assert_eq!(refusals(&with(json!({"hostPID": false}))), Vec::<String>::new());
        let seccomp = with(
            json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}}}),
        );
        assert_eq!(
            refusals(&seccomp),
            ["securityContext.seccompProfile.localhostProfile", "securityContext.seccompProfile.type"]
        );
    }

    #[test]
    fn an_unknown_field_that_is_empty_is_named_too() {
        assert_eq!(refusals(&with(json!({"brandNew": {}}))), ["brandNew"]);
    }
}
