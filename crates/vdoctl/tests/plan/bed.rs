//! A cluster with drivers in it, as their operators leave it: rendered by their own libraries, applied by their own
//! executor, and remembered in their own journal.

use std::collections::BTreeMap;

use cpi_operator::inputs::NodeDeletion;
use csi_operator::inputs::{Cluster as CsiCluster, ClusterIdSources};
use serde_json::{Value, json};
use vdo_api::{VDOConfigSpec, VsphereCloudConfig};
use vdo_plan::journal::Journal;
use vdo_plan::vcenter::VcenterFacts;
use vdo_plan::{Reading, Revision, credentials};
use vdo_runtime::apply::{Write, execute};
use vdo_runtime::journal::JournalStore;
use vdo_runtime::own::Owner;
use vdoctl::plan::PlanReport;
use vdoctl::plan::observe::report;
use vdoctl::progress::Progress;

use crate::support::{Api, Reply, Seen};

pub const NAMESPACE: &str = "vmware-system-vdo";
pub const PASSWORD: &str = "canary-pa55word";
pub const USER: &str = "canary-user@vsphere.local";
pub const DAEMON_SET: &str =
    "/apis/apps/v1/namespaces/vmware-system-cpi/daemonsets/vsphere-cloud-controller-manager";
const CONFIG: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vdoconfigs/vdo";
const VCENTER: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vspherecloudconfigs/vc1";
const SECRET: &str = "/api/v1/namespaces/vmware-system-vdo/secrets/vc1-credentials";
const UID: &str = "1c3a9a3e-6f2b-4c59-9a3e-6f2b4c59aa01";
const KEY: &[u8] = b"the key of the journal, 32 bytes";
const NAMESPACES: [&str; 3] = ["vmware-system-cpi", "vmware-system-csi", "kube-system"];
const KINDS: [&str; 8] = [
    "/api/v1 serviceaccounts",
    "/api/v1 secrets",
    "/api/v1 configmaps",
    "/api/v1 services",
    "/apis/rbac.authorization.k8s.io/v1 roles",
    "/apis/rbac.authorization.k8s.io/v1 rolebindings",
    "/apis/apps/v1 daemonsets",
    "/apis/apps/v1 deployments",
];
const CLUSTER_WIDE: [&str; 3] = [
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/storage.k8s.io/v1/csidrivers",
];

pub struct Bed {
    pub api: Api,
    /// The ids of what was installed.
    pub ids: Vec<String>,
}

impl Bed {
    /// A vCenter that was verified, four nodes, both drivers asked for in these releases, and nothing installed.
    pub fn new(cpi: &str, csi: &str) -> Bed {
        let bed = Bed { api: Api::new(), ids: Vec::new() };
        bed.credentials(PASSWORD);
        let gate = |release: &str| json!({"release": release, "chosenBy": "Matrix", "verdict": "Open"});
        bed.api.put(
            CONFIG,
            json!({
                "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
                "metadata": {"name": "vdo", "namespace": NAMESPACE, "generation": 2,
                    "creationTimestamp": "2026-03-01T11:00:00Z"},
                "spec": {"cloudProvider": {"vsphereCloudConfigs": ["vc1"]}, "storageProvider": {"vsphereCloudConfig": "vc1"}},
                "status": {
                    "conditions": [],
                    "nodes": {"expected": 4, "initialised": 4},
                    "gates": {"generation": 2, "kubernetes": "1.35.2", "matrix": {"source": "BuiltIn", "digest": "9c1f"},
                        "cpi": gate(cpi), "csi": gate(csi), "csiNeedsCpi": "Required"},
                },
            }),
        );
        for name in ["cp-1", "cp-2", "cp-3", "w-1"] {
            let role = if name.starts_with("cp") { "node-role.kubernetes.io/control-plane" } else { "role" };
            let metadata = json!({"name": name, "labels": {role: ""}});
            bed.api.put(
                &format!("/api/v1/nodes/{name}"),
                json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata}),
            );
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": UID}});
        bed.api.put("/api/v1/namespaces/kube-system", namespace);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        bed.api.put(&format!("/api/v1/namespaces/{NAMESPACE}"), namespace);
        bed.crd("vdoconfigs.vdo.vmware.com");
        bed
    }

    fn crd(&self, name: &str) {
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {"group": "g", "names": {"kind": "K", "plural": "ks"}, "scope": "Cluster", "versions": []},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        });
        self.api.put(&format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"), crd);
    }

    /// Credentials that vdo-core has verified.
    pub fn credentials(&self, password: &str) {
        let base64 = |text: &str| serde_json::to_value(k8s_openapi::ByteString(text.into())).unwrap();
        let secret = self.api.put(
            SECRET,
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
                "metadata": {"name": "vc1-credentials", "namespace": NAMESPACE},
                "data": {"username": base64(USER), "password": base64(password)},
            }),
        );
        let of = &secret["metadata"];
        self.api.put(
            VCENTER,
            json!({
                "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VsphereCloudConfig",
                "metadata": {"name": "vc1", "namespace": NAMESPACE, "generation": 1},
                "spec": {"vcIp": "vc1.example.com", "credentials": "vc1-credentials", "datacenters": ["/DC0"]},
                "status": {"verified": {
                    "generation": 1, "server": "vc1.example.com", "port": 443, "version": "8.0.3",
                    "apiVersion": "8.0.3.0", "build": "24022515", "datacenters": ["/DC0"],
                    "secret": {"namespace": NAMESPACE, "name": "vc1-credentials", "uid": of["uid"],
                        "resourceVersion": of["resourceVersion"]},
                    "trust": {"mode": "CA", "sha256": "AB", "sha1": "CD"},
                }},
            }),
        );
    }

    pub fn config(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.api.object(CONFIG).unwrap();
        change(&mut config);
        self.api.put(CONFIG, config);
    }

    fn facts(&self) -> VcenterFacts {
        let config: VsphereCloudConfig = serde_json::from_value(self.api.object(VCENTER).unwrap()).unwrap();
        let secret = serde_json::from_value(self.api.object(SECRET).unwrap()).unwrap();
        VcenterFacts {
            name: "vc1".to_owned(),
            config: Reading::Present(config),
            secret: Reading::Present(credentials::read(&secret)),
            ca: Reading::Absent,
        }
    }

    fn spec(&self) -> VDOConfigSpec {
        serde_json::from_value(self.api.object(CONFIG).unwrap()["spec"].clone()).unwrap()
    }

    /// CPI of this release works.
    pub async fn with_cpi(mut self, release: &str) -> Bed {
        let (spec, vcenters) = (self.spec(), [self.facts()]);
        let facts = cpi_operator::inputs::Facts {
            spec: &spec,
            vcenters: &vcenters,
            node_deletion: NodeDeletion::Allowed,
        };
        let inputs = cpi_operator::inputs::Inputs::resolve(release.parse().unwrap(), &facts).unwrap();
        let revision = cpi_operator::render::render(&inputs, KEY);
        self.install(&revision, cpi_operator::observe::OWNER, "CPIReady").await;
        self.lease("kube-system", "cloud-controller-manager");
        self
    }

    /// CSI of this release works.
    pub async fn with_csi(mut self, release: &str) -> Bed {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"clusterID": UID},
            "metadata": {"name": "vdo-csi-cluster-id", "namespace": NAMESPACE}});
        self.api.put(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/vdo-csi-cluster-id"), map);
        self.crd("csinodetopologies.cns.vmware.com");
        let spec = self.spec();
        let facts = csi_operator::inputs::Facts {
            release: release.parse().unwrap(),
            spec: &spec,
            vcenter: self.facts(),
            cluster: CsiCluster {
                nodes: 4,
                control_plane_nodes: 3,
                kubelet_root: None,
                distribution: None,
                snapshot_api: Reading::Absent,
                kept: None,
            },
            cluster_id: ClusterIdSources {
                recorded: Reading::Present(UID.to_owned()),
                drivers_own: Reading::Absent,
                earlier_secret: Reading::Absent,
                kube_system: Reading::Present(UID.to_owned()),
            },
        };
        let inputs = csi_operator::inputs::Inputs::resolve(&facts).unwrap();
        let revision = csi_operator::render::render(&inputs, KEY);
        self.install(&revision, csi_operator::observe::OWNER, "CSIReady").await;
        self.lease("vmware-system-csi", "vsphere-syncer");
        for name in ["cp-1", "cp-2", "cp-3", "w-1"] {
            let drivers = json!([{"name": "csi.vsphere.vmware.com", "nodeID": name, "topologyKeys": null}]);
            let node = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": name},
                "spec": {"drivers": drivers}});
            self.api.put(&format!("/apis/storage.k8s.io/v1/csinodes/{name}"), node);
        }
        self
    }

    async fn install(&mut self, revision: &Revision, owner: Owner, condition: &str) {
        let cluster = self.api.cluster();
        let writes: Vec<Write> = revision.objects().cloned().map(Write::Apply).collect();
        let outcome = execute(&cluster, owner.manager, &writes).await;
        assert!(outcome.is_complete(), "{:?}", outcome.failed);
        for path in [
            "apps/v1/namespaces/vmware-system-cpi/daemonsets/vsphere-cloud-controller-manager",
            "apps/v1/namespaces/vmware-system-csi/daemonsets/vsphere-csi-node",
            "apps/v1/namespaces/vmware-system-csi/deployments/vsphere-csi-controller",
        ] {
            let path = format!("/apis/{path}");
            let Some(mut workload) = self.api.object(&path) else { continue };
            workload["metadata"]["generation"] = 1.into();
            workload["status"] = json!({"observedGeneration": 1, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
                "updatedNumberScheduled": 3, "numberAvailable": 3, "numberMisscheduled": 0, "numberReady": 3,
                "updatedReplicas": 3, "availableReplicas": 3});
            self.api.put(&path, workload);
        }
        let mut journal = Journal { hmac_key: KEY.to_vec(), ..Journal::default() };
        journal.remember(revision);
        journal.installed = Some(revision.key.clone());
        let owned = outcome.applied.into_iter();
        journal.owned_fields =
            owned.filter_map(|(it, applied)| Some((it.to_string(), applied.owned_fields?))).collect();
        let store = JournalStore::new(&cluster, NAMESPACE, owner.driver, owner.manager);
        let seen = store.fetch().await.unwrap();
        store.store(&seen, &journal).await.unwrap();
        self.ids.push(revision.key.id.clone());
        let release = revision.key.release.to_string();
        let name = owner.driver.to_uppercase();
        self.config(|config| {
            let finalizers = config["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            let ours = [Value::from(format!("vdo.vmware.com/{}", owner.driver))];
            config["metadata"]["finalizers"] = finalizers.into_iter().chain(ours).collect();
            config["status"][owner.driver] = json!({"observedGeneration": 2, "installed": {
                "release": release, "revision": revision.key.id, "since": "2026-03-01T11:57:00Z"}});
            let condition = json!({"type": condition, "status": "True", "reason": "Installed", "observedGeneration": 2,
                "message": format!("{name} {release} works"), "lastTransitionTime": "2026-03-01T11:57:00Z"});
            config["status"]["conditions"].as_array_mut().unwrap().push(condition);
        });
    }

    fn lease(&self, namespace: &str, name: &str) {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": namespace},
            "spec": {"holderIdentity": "h", "leaseDurationSeconds": 15, "renewTime": "2099-01-01T00:00:00.000000Z"},
        });
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}");
        self.api.put(&path, lease);
    }

    /// From now on lists are as a real API server gives them, across namespaces and by label; what contains one of
    /// these is refused.
    pub fn serve(&self, refused: &'static [&'static str]) {
        let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let items = |path: &str| self.api.listed(path)["items"].as_array().cloned().unwrap_or_default();
        for kind in KINDS {
            let (root, resource) = kind.split_once(' ').unwrap();
            for namespace in NAMESPACES {
                let path = format!("{root}/namespaces/{namespace}/{resource}");
                lists.entry(format!("{root}/{resource}")).or_default().extend(items(&path));
                lists.insert(path.clone(), items(&path));
            }
        }
        CLUSTER_WIDE.into_iter().for_each(|path| drop(lists.insert(path.to_owned(), items(path))));
        self.api.script(move |seen| {
            if refused.iter().any(|part| seen.path.contains(part)) {
                return Some(Reply::Refuse(403, "is forbidden: User \"jane\" may not"));
            }
            if seen.path == "/apis" {
                return Some(Reply::Answer(200, json!({"kind": "APIGroupList", "groups": []})));
            }
            selected(&lists, seen)
        });
    }

    /// The plan, made by reading and nothing else.
    pub async fn plan(&self) -> PlanReport {
        self.serve(&[]);
        self.planned().await
    }

    pub async fn planned(&self) -> PlanReport {
        let before = self.api.log().len();
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let report = report(&self.api.cluster(), NAMESPACE, now, &Progress::default()).await.unwrap();
        let log = self.api.log();
        assert!(log[before..].iter().all(|seen| seen.method == "GET" && !seen.is_watch()));
        report
    }
}

fn selected(lists: &BTreeMap<String, Vec<Value>>, seen: &Seen) -> Option<Reply> {
    let selector = seen.query.get("labelSelector")?;
    let label =
        |item: &Value| item["metadata"]["labels"]["vdo.vmware.com/driver"].as_str().map(str::to_owned);
    let is_it = |item: &&Value| match label(item) {
        Some(driver) => selector.ends_with(&driver),
        None => !selector.ends_with("cpi") && !selector.ends_with("csi"),
    };
    let items: Vec<&Value> = lists.get(&seen.path)?.iter().filter(is_it).collect();
    Some(Reply::Answer(200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})))
}
