//! What a request asks for, in the words of the audit log, and whether it counts as a write.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use serde::{Deserialize, Serialize};

/// What is asked for. An apply is a verb of its own here; the audit log calls it a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Apply,
    Delete,
    DeleteCollection,
    /// OPTIONS and the like.
    Other,
}

/// What a request does to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Changes nothing: get, list, and paths that are no resource.
    Read,
    /// A watch.
    Watch,
    /// Can change an object, by decision of the client. These are numbered.
    Write,
    /// A write to a Lease or an event. These come by time and not by decision, so they have numbers of their own.
    Timed,
    /// Has the verb of a write and changes nothing: dry runs, reviews, tokens.
    Trial,
}

/// A classified request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// What it does to the cluster.
    pub kind: Kind,
    /// What is asked for.
    pub verb: Verb,
    /// API group; empty for the core group and for paths that are no resource.
    pub group: String,
    /// API version; empty for paths that are no resource.
    pub version: String,
    /// Plural resource; empty for paths such as `/readyz`.
    pub resource: String,
    /// Namespace; empty for cluster-wide requests.
    pub namespace: String,
    /// Object name. A plain create has it in its body (read if that is JSON), a list or watch of one object in its field
    /// selector.
    pub name: String,
    /// status, scale, token, …
    pub subresource: String,
    /// The client's own name for itself.
    pub user_agent: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent.
    pub query: String,
    /// What the client accepts: lists that differ in it are different lists.
    #[serde(skip)]
    pub accept: String,
}

/// The resource that a path names.
#[derive(Default)]
struct Place {
    group: String,
    version: String,
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

/// Subresources of a Namespace; any other word in their place is a resource inside of it.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];

/// Parameters in which two requests for the same list may differ.
const NOT_THE_LIST: [&str; 3] = ["resourceVersion", "resourceVersionMatch", "timeoutSeconds"];

impl Request {
    /// Classifies a request. The body is only searched for the name of an object to create.
    pub(super) fn read(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Request {
        let mut place = Place::read(uri.path());
        let query = uri.query().unwrap_or_default().to_owned();
        let pairs = pairs(&query);
        let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let text =
            |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let one = !place.name.is_empty() || place.resource.is_empty();
        let verb = if method == Method::GET || method == Method::HEAD {
            match value("watch") {
                _ if one => Verb::Get,
                Some("true" | "1" | "") => Verb::Watch,
                _ => Verb::List,
            }
        } else if method == Method::POST {
            Verb::Create
        } else if method == Method::PUT {
            Verb::Update
        } else if method == Method::PATCH {
            let kind = text(CONTENT_TYPE).unwrap_or_default();
            if kind.starts_with("application/apply-patch") { Verb::Apply } else { Verb::Patch }
        } else if method == Method::DELETE {
            if one { Verb::Delete } else { Verb::DeleteCollection }
        } else {
            Verb::Other
        };
        if place.name.is_empty() {
            place.name = match verb {
                Verb::List | Verb::Watch => selected_name(value("fieldSelector").unwrap_or_default()),
                Verb::Create if place.subresource.is_empty() => name_in(body),
                _ => String::new(),
            };
        }
        let kind = place.kind(verb, value("dryRun").is_some());
        Request {
            kind,
            verb,
            group: place.group,
            version: place.version,
            resource: place.resource,
            namespace: place.namespace,
            name: place.name,
            subresource: place.subresource,
            user_agent: text(USER_AGENT).unwrap_or_default(),
            path: uri.path().to_owned(),
            query,
            accept: text(ACCEPT).unwrap_or_default(),
        }
    }

    /// What two requests for the same list have in common, whatever version they ask for.
    pub(super) fn list_key(&self) -> String {
        let mut pairs = pairs(&self.query);
        pairs.retain(|(name, _)| !NOT_THE_LIST.contains(&name.as_str()));
        pairs.sort();
        format!("{}?{pairs:?} {}", self.path, self.accept)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.verb, self.path)
    }
}

impl Place {
    fn read(path: &str) -> Place {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Place::default(),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, inside, ..] if !OF_NAMESPACES.contains(inside) => {
                (*namespace, &rest[2..])
            }
            // The audit log, too, says of a Namespace that it lies in itself.
            ["namespaces", namespace, ..] => (*namespace, rest),
            _ => ("", rest),
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        Place {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: part(0),
            namespace: namespace.to_owned(),
            name: part(1),
            subresource: part(2),
        }
    }

    fn kind(&self, verb: Verb, dry_run: bool) -> Kind {
        match verb {
            Verb::Get | Verb::List | Verb::Other => return Kind::Read,
            Verb::Watch => return Kind::Watch,
            Verb::Create
            | Verb::Update
            | Verb::Patch
            | Verb::Apply
            | Verb::Delete
            | Verb::DeleteCollection => {}
        }
        match (self.group.as_str(), self.resource.as_str()) {
            _ if dry_run || self.subresource == "token" => Kind::Trial,
            ("authorization.k8s.io" | "authentication.k8s.io", _) => Kind::Trial,
            ("coordination.k8s.io", "leases") | ("" | "events.k8s.io", "events") => Kind::Timed,
            _ => Kind::Write,
        }
    }
}

/// The parameters of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    match reqwest::Url::parse(&format!("http://proxy/?{query}")) {
        Ok(url) => url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
        Err(_) => Vec::new(),
    }
}

fn selected_name(selector: &str) -> String {
    let name = selector.split(',').find_map(|term| term.strip_prefix("metadata.name="));
    name.unwrap_or_default().trim_start_matches('=').to_owned()
}

fn name_in(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        name: String,
    }
    serde_json::from_slice(body).map(|object: Object| object.metadata.name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(method: &str, uri: &str, content: &str, body: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content.parse().unwrap());
        let method = method.parse().unwrap();
        Request::read(&method, &uri.parse().unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn verbs_and_kinds_are_those_of_the_audit_log() {
        const CONFIG_MAPS: &str = "/api/v1/namespaces/vdo/configmaps";
        const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/vdo/leases/vdo-core";
        const APPLY: &str = "application/apply-patch+yaml";
        let one = format!("{CONFIG_MAPS}/a");
        let table = [
            ("GET", CONFIG_MAPS.to_owned(), "", Verb::List, Kind::Read),
            ("GET", one.clone(), "", Verb::Get, Kind::Read),
            ("GET", format!("{CONFIG_MAPS}?watch=1"), "", Verb::Watch, Kind::Watch),
            ("GET", format!("{CONFIG_MAPS}?watch=false"), "", Verb::List, Kind::Read),
            ("GET", "/readyz?watch=1".to_owned(), "", Verb::Get, Kind::Read),
            ("GET", "/apis/apps/v1".to_owned(), "", Verb::Get, Kind::Read),
            ("POST", CONFIG_MAPS.to_owned(), "", Verb::Create, Kind::Write),
            ("PUT", one.clone(), "", Verb::Update, Kind::Write),
            ("PATCH", one.clone(), "application/merge-patch+json", Verb::Patch, Kind::Write),
            ("PATCH", one.clone(), APPLY, Verb::Apply, Kind::Write),
            ("PATCH", format!("{one}?dryRun=All"), APPLY, Verb::Apply, Kind::Trial),
            ("DELETE", one.clone(), "", Verb::Delete, Kind::Write),
            ("DELETE", CONFIG_MAPS.to_owned(), "", Verb::DeleteCollection, Kind::Write),
            ("PATCH", LEASE.to_owned(), APPLY, Verb::Apply, Kind::Timed),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/vdo/events".to_owned(),
                "",
                Verb::Create,
                Kind::Timed,
            ),
            (
                "POST",
                "/api/v1/namespaces/vdo/serviceaccounts/a/token".to_owned(),
                "",
                Verb::Create,
                Kind::Trial,
            ),
            (
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
                "",
                Verb::Create,
                Kind::Trial,
            ),
        ];
        for (method, uri, content, verb, kind) in table {
            let request = classified(method, &uri, content, "");

            assert_eq!((request.verb, request.kind), (verb, kind), "{method} {uri} {content}");
        }
    }

    #[test]
    fn a_path_names_group_namespace_object_and_subresource() {
        let request = classified("GET", "/apis/vdo.io/v1alpha1/namespaces/vdo/things/a/status", "", "");

        assert_eq!((request.group.as_str(), request.version.as_str()), ("vdo.io", "v1alpha1"));
        assert_eq!((request.namespace.as_str(), request.resource.as_str()), ("vdo", "things"));
        assert_eq!((request.name.as_str(), request.subresource.as_str()), ("a", "status"));
    }

    #[test]
    fn a_namespace_is_an_object_and_not_only_a_place() {
        let finalize = classified("PUT", "/api/v1/namespaces/vdo/finalize", "", "");
        let plain = classified("GET", "/api/v1/namespaces/vdo", "", "");

        assert_eq!(
            (finalize.resource.as_str(), finalize.name.as_str(), finalize.subresource.as_str()),
            ("namespaces", "vdo", "finalize")
        );
        assert_eq!((plain.resource.as_str(), plain.name.as_str()), ("namespaces", "vdo"));
    }

    #[test]
    fn a_create_has_its_name_in_the_body_and_a_watch_of_one_object_in_its_selector() {
        let body = r#"{"kind":"ConfigMap","metadata":{"name":"a"}}"#;
        let create = classified("POST", "/api/v1/namespaces/vdo/configmaps", "", body);
        let selector = "fieldSelector=metadata.name%3Db&watch=true";
        let watch = classified("GET", &format!("/api/v1/namespaces/vdo/secrets?{selector}"), "", "");

        assert_eq!(create.name, "a");
        assert_eq!((watch.verb, watch.name.as_str()), (Verb::Watch, "b"));
    }

    #[test]
    fn the_same_list_is_the_same_at_every_version_and_not_for_another_selector() {
        let key = |query: &str| classified("GET", &format!("/api/v1/pods?{query}"), "", "").list_key();

        assert_eq!(key("limit=5&labelSelector=a"), key("labelSelector=a&resourceVersion=0&limit=5"));
        assert_ne!(key("labelSelector=a"), key("labelSelector=b"));
    }
}
