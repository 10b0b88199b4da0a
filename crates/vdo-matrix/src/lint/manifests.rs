//! What the manifests would do that a row names. No operator applies them; their author may, and should know.

use serde_json::Value;
use vdo_compat::Row;

use super::images::judge;
use super::{Manifest, Manifests, Notes, placeholder, rows_of};
use crate::objects::objects;
use crate::parse::Parsed;
use crate::places::Position;
use crate::rule::Rule;

/// What no node has had since Kubernetes 1.24
/// (<https://github.com/kubernetes/enhancements/tree/master/keps/sig-cluster-lifecycle/kubeadm/2067-rename-master-label-taint>).
const OLD_ROLE: &str = "node-role.kubernetes.io/master";
/// With it OpenShift puts the authority of a webhook in its place; nobody else does.
const OPENSHIFT_AUTHORITY: &str = "service.beta.openshift.io/inject-cabundle";
/// With one of these cert-manager does
/// (<https://cert-manager.io/docs/concepts/ca-injector/>).
const CERT_MANAGER_AUTHORITY: [&str; 3] = [
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
];
/// What templates write where the authority comes later: a line with nothing in it, in base64.
const EMPTY_LINE: &str = "Cg==";
/// Where a namespace says which pods it refuses.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// An object, and where it stands.
struct Placed<'m> {
    at: String,
    manifest: &'m Manifest,
    object: Value,
}

pub(super) fn look(parsed: &Parsed, manifests: &Manifests, notes: &mut Notes) {
    for (row, row_at) in rows_of(parsed) {
        let mut objects = Vec::new();
        for (index, path) in row.deployment_path.iter().enumerate() {
            let at = format!("{row_at}/deploymentPath/{index}");
            let Some(manifest) = manifests.get(path) else {
                if !manifests.is_empty() {
                    notes.add(
                        Rule::MissingManifest,
                        &at,
                        format!("{path} was not found, and not looked through"),
                    );
                }
                continue;
            };
            match read(&manifest.text) {
                Ok(found) => {
                    objects.extend(found.into_iter().map(|object| Placed {
                        at: at.clone(),
                        manifest,
                        object,
                    }));
                }
                Err((fault, position)) => {
                    let message = format!("{}: {fault}", manifest.file);
                    let file = Some(manifest.file.clone());
                    notes.push(Rule::UnreadableManifest, &at, file, position, message);
                }
            }
        }
        for placed in &objects {
            texts(placed, notes);
            images(row, placed, notes);
            selector(placed, notes);
            webhook(placed, notes);
        }
        pod_security(&objects, notes);
    }
}

fn read(text: &str) -> Result<Vec<Value>, (String, Option<Position>)> {
    let mut objects = objects(text, 200_000, 8 * 1024 * 1024).map_err(|fault| {
        let place = fault.location().map(|it| Position::of(&it));
        (fault.to_string(), place)
    })?;
    objects.retain(|object| !object.is_null());
    if objects.iter().any(|object| !object.is_object()) {
        return Err(("it holds something that is no object".to_owned(), None));
    }
    Ok(objects)
}

fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Calls `see` with every text in a value and the name of the field that it is in.
fn walk<'v>(value: &'v Value, field: &str, see: &mut impl FnMut(&str, &'v str)) {
    match value {
        Value::String(text) => see(field, text),
        Value::Array(items) => items.iter().for_each(|item| walk(item, field, see)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(value, name, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn texts(placed: &Placed<'_>, notes: &mut Notes) {
    let Placed { at, manifest, object } = placed;
    // Schemas, scripts and rules have placeholders of their own.
    let own = ["CustomResourceDefinition", "ConfigMap", "PrometheusRule"];
    if object["kind"].as_str().is_some_and(|kind| own.contains(&kind)) {
        return;
    }
    walk(object, "", &mut |field, text| {
        let is_script = matches!(field, "command" | "args");
        if let Some(hole) = placeholder(text).filter(|hole| !is_script && !hole.starts_with('<')) {
            let message = format!("{}: {} still holds {hole} in {field}", manifest.file, name(object));
            notes.add_in(Rule::Placeholder, at, manifest, hole, message);
        }
    });
}

fn images(row: &Row, placed: &Placed<'_>, notes: &mut Notes) {
    let Placed { at, manifest, object } = placed;
    walk(object, "", &mut |field, image| {
        if field == "image" {
            for (rule, words) in judge(row, image) {
                let message = format!("{}: {} {words}", manifest.file, name(object));
                notes.add_in(rule, at, manifest, image, message);
            }
        }
    });
}

/// The pods that an object makes.
fn template(object: &Value) -> Option<&Value> {
    let spec =
        if object["kind"] == "Pod" { &object["spec"] } else { object.pointer("/spec/template/spec")? };
    spec.is_object().then_some(spec)
}

fn selector(placed: &Placed<'_>, notes: &mut Notes) {
    let Placed { at, manifest, object } = placed;
    let Some(pods) = template(object) else { return };
    let needle = if pods["nodeSelector"].get(OLD_ROLE).is_some() {
        OLD_ROLE
    } else if has_dead_affinity(pods) {
        // A toleration may name the role before it.
        "nodeAffinity"
    } else {
        return;
    };
    let message = format!("{}: {} selects {OLD_ROLE}, which no node has", manifest.file, name(object));
    notes.add_in(Rule::DeadSelector, at, manifest, needle, message);
}

/// Whether the affinity of pods leaves no way without the old role. One term is enough for a node; in a term all labels
/// count.
fn has_dead_affinity(pods: &Value) -> bool {
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = pods.pointer(required).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let needs_it = |term: &Value| {
        let mut labels = term["matchExpressions"].as_array().into_iter().flatten();
        labels
            .any(|it| it["key"] == OLD_ROLE && it["operator"] != "DoesNotExist" && it["operator"] != "NotIn")
    };
    !terms.is_empty() && terms.iter().all(needs_it)
}

fn webhook(placed: &Placed<'_>, notes: &mut Notes) {
    let Placed { at, manifest, object } = placed;
    let annotations = object.pointer("/metadata/annotations");
    let asks = |name: &str| annotations.is_some_and(|it| it.get(name).is_some());
    let hooks = object["webhooks"].as_array().into_iter().flatten();
    let mut must_answer = hooks.filter(|hook| {
        let authority = hook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
        hook["failurePolicy"] != "Ignore" && (authority.is_empty() || authority == EMPTY_LINE)
    });
    if asks(OPENSHIFT_AUTHORITY) {
        if must_answer.next().is_none() {
            return;
        }
        let message = format!(
            "{}: {} refuses what it watches until OpenShift has given it an authority; no other cluster does",
            manifest.file,
            name(object)
        );
        notes.add_in(Rule::DeadWebhook, at, manifest, OPENSHIFT_AUTHORITY, message);
    } else if !CERT_MANAGER_AUTHORITY.iter().any(|name| asks(name)) {
        // At an address of its own a webhook may have a certificate that everybody trusts.
        let Some(hook) = must_answer.find(|hook| hook["clientConfig"]["url"].is_null()) else { return };
        let hook = hook["name"].as_str().unwrap_or("webhooks");
        let message = format!(
            "{}: {} refuses what {hook} watches until somebody gives it a caBundle; no annotation asks for that",
            manifest.file,
            name(object)
        );
        notes.add_in(Rule::WebhookWithoutAuthority, at, manifest, hook, message);
    }
}

/// Namespaces that refuse the pods that come into them.
fn pod_security(objects: &[Placed<'_>], notes: &mut Notes) {
    let namespaces = objects.iter().filter(|it| it.object["kind"] == "Namespace");
    for Placed { at, manifest, object } in namespaces {
        let labels = &object["metadata"]["labels"];
        let Some(level) = labels[ENFORCE].as_str().filter(|level| *level != "privileged") else { continue };
        let space = &object["metadata"]["name"];
        let refused = objects.iter().find(|it| {
            let pods = if it.object["metadata"]["namespace"] == *space { template(&it.object) } else { None };
            // Hardly any pod is written for the level `restricted`.
            pods.is_some_and(|pods| level == "restricted" || needs_more(pods))
        });
        if let Some(refused) = refused {
            let message = format!(
                "{}: {} enforces {level}, which refuses the pods of {}",
                manifest.file,
                name(object),
                name(&refused.object)
            );
            notes.add_in(Rule::PodSecurity, at, manifest, ENFORCE, message);
        }
    }
}

/// Whether pods do what the level `baseline` forbids: privileged containers, the host's folders and namespaces
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline>).
fn needs_more(pods: &Value) -> bool {
    let list = |name: &str| pods[name].as_array().into_iter().flatten();
    let mut containers = list("containers").chain(list("initContainers"));
    ["hostNetwork", "hostPID", "hostIPC"].iter().any(|name| pods[*name] == true)
        || containers.any(|it| it["securityContext"]["privileged"] == true)
        || list("volumes").any(|it| it.get("hostPath").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_affinity_is_dead_only_if_every_term_needs_the_old_role() {
        let of = |terms: Value| {
            let required = "requiredDuringSchedulingIgnoredDuringExecution";
            has_dead_affinity(
                &json!({"affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": terms}}}}),
            )
        };
        let label = |key: &str, operator: &str| json!({"key": key, "operator": operator});
        let term = |labels: &[&Value]| json!({"matchExpressions": labels});
        let old = label(OLD_ROLE, "Exists");
        let new = label("node-role.kubernetes.io/control-plane", "Exists");
        assert!(of(json!([term(&[&old])])));
        assert!(of(json!([term(&[&new, &old]), term(&[&label(OLD_ROLE, "In")])])));
        assert!(!of(json!([term(&[&new]), term(&[&old])])), "one term is enough");
        assert!(!of(json!([term(&[&label(OLD_ROLE, "DoesNotExist")])])));
        assert!(!of(json!([term(&[&label(OLD_ROLE, "NotIn")])])));
        assert!(!of(json!([])) && !has_dead_affinity(&json!({})));
        let wish = json!({"preference": term(&[&old]), "weight": 1});
        let wish = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}});
        assert!(!has_dead_affinity(&json!({"affinity": wish})));
    }

    #[test]
    fn a_list_is_its_items_and_an_empty_document_nothing() {
        let text = "---\n---\nkind: List\nitems:\n- {kind: A}\n- {kind: B}\n---\nkind: C\n";
        let kinds: Vec<String> =
            read(text).unwrap().iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        for no_object in ["a: [", "hello", "- a", "1"] {
            assert!(read(no_object).is_err(), "{no_object}");
        }
    }
}
