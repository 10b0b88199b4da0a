//! Without these the bed proves nothing: a pod that is wrong must not look right.
//!
//! Each test has a namespace of its own in one bed: `testbed run --nodes 3 -- podrunner_proof`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::{eventually, throughout};

const CPI: &str = "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const SIDECARS: &str = "registry.k8s.io/sig-storage";
/// A shell with this machine's programs.
const SHELL: &str = "proof.example/shell:1";
const EXITS: &str = "proof.example/exits-with-1:1";
const DRIVER: &str = "proof.example/driver:1";
const SOON: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_secs(4);

/// Tests run side by side, and a table is read, changed and written.
static ROWS: Once = Once::new();

/// One test's namespace in the bed.
struct Place {
    bed: Bed,
    namespace: String,
}

impl Place {
    fn new(namespace: &str) -> Self {
        let bed = Bed::from_env();
        let rows = json!({
            SHELL: {"binary": "/bin/sh", "path": "/sh", "needs_libs": true, "files": {"/usr/bin": "/usr/bin"}},
            EXITS: {"binary": "/bin/false", "needs_libs": true},
            DRIVER: {"binary": "/bin/false", "needs_libs": true, "stand_in_if": "X_CSI_MODE=node"},
        });
        ROWS.call_once(|| bed.add_images(rows.as_object().unwrap()).unwrap());
        let place = Self { bed, namespace: namespace.to_owned() };
        place.apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})]);
        eventually(SOON, "the default ServiceAccount exists", || {
            place.bed.kubectl(&["-n", namespace, "get", "serviceaccount", "default"]).map(drop)
        });
        place
    }

    fn apply(&self, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.bed.kubectl_with(&["apply", "-f", "-"], &list).unwrap();
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.bed.kubectl(&[&["-n", &self.namespace], arguments].concat()).unwrap()
    }

    fn pods(&self) -> Vec<Value> {
        let list = self.bed.get(&["-n", &self.namespace, "pods"]).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The only pod of the namespace that is not on its way out.
    fn pod(&self) -> Result<Value, String> {
        let mut pods = self.pods();
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        if pods.len() == 1 { Ok(pods.remove(0)) } else { Err(format!("{} pods", pods.len())) }
    }

    fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, what, || {
            let pod = self.pod()?;
            if condition(&pod) { Ok(pod) } else { Err(pod["status"].to_string()) }
        })
    }

    fn until_ready(&self) -> Value {
        self.until("the pod is Ready", is_ready)
    }

    /// It is not Ready now and does not become so.
    fn stays_unready(&self) {
        throughout(A_WHILE, "the pod is not Ready", || {
            let pod = self.pod()?;
            if is_ready(&pod) { Err(pod["status"].to_string()) } else { Ok(()) }
        });
    }

    fn log(&self, pod: &str, container: &str) -> String {
        let file = format!("kubelet/logs/{}_{pod}_{container}.log", self.namespace);
        fs::read_to_string(self.bed.path(file)).unwrap_or_default()
    }

    fn a_node(&self) -> String {
        self.bed.get(&["nodes", "-l", CONTROL_PLANE]).unwrap()["items"][0]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A pod on a node of ours that runs a script.
    fn script(&self, name: &str, script: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "nodeName": self.a_node(),
                "dnsPolicy": "Default",
                "containers": [{"name": "main", "image": SHELL, "args": ["-c", script]}]
            }
        })
    }

    fn until_logged(&self, pod: &str, text: &str) -> String {
        eventually(SOON, &format!("the log has {text:?}"), || {
            let log = self.log(pod, "main");
            if log.contains(text) { Ok(log) } else { Err(format!("{log:?}")) }
        })
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn first(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn waits_for(pod: &Value, reason: &str) -> bool {
    first(pod)["state"]["waiting"]["reason"] == reason
}

fn message(pod: &Value) -> String {
    first(pod)["state"]["waiting"]["message"].as_str().unwrap_or_default().to_owned()
}

/// The CPI driver as an operator would deploy it.
struct Driver {
    objects: Vec<Value>,
    workload: Value,
}

impl Driver {
    fn new(place: &Place) -> Self {
        let (namespace, vcenter) = (&place.namespace, place.bed.vcenter(1));
        let server = vcenter.address.to_string();
        let ca = fs::read_to_string(&vcenter.ca).unwrap();
        let password = fs::read_to_string(&vcenter.password_file).unwrap();
        let conf = json!({
            "global": {"secretName": "creds", "secretNamespace": namespace},
            "vcenter": {&server: {"server": server, "port": 443, "insecureFlag": false, "datacenters": ["DC0"],
                "caFile": "/etc/cloud/ca.crt"}}
        });
        let meta = |name: &str| json!({"name": name, "namespace": namespace});
        let account = json!([{"kind": "ServiceAccount", "name": "cpi", "namespace": namespace}]);
        let own = format!("cpi-{namespace}");
        let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        let reference = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        let rbac = "rbac.authorization.k8s.io/v1";
        let objects = vec![
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("cpi")}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("creds"), "stringData": {
                format!("{server}.username"): vcenter.user, format!("{server}.password"): password.trim_end_matches('\n')}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("config"), "data": {
                "vsphere.conf": conf.to_string(), "ca.crt": ca}}),
            json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": own}, "rules": [
                rule("", &["nodes"], &["get", "list", "watch", "update", "patch", "delete"]),
                rule("", &["nodes/status"], &["patch"]),
                rule("", &["events"], &["create", "patch"])]}),
            json!({"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": own},
                "roleRef": reference("ClusterRole", &own), "subjects": account}),
            json!({"apiVersion": rbac, "kind": "Role", "metadata": meta("cpi"), "rules": [
                rule("", &["secrets"], &["list", "watch"]),
                rule("coordination.k8s.io", &["leases"], &["create", "get", "update"])]}),
            json!({"apiVersion": rbac, "kind": "RoleBinding", "metadata": meta("cpi"),
                "roleRef": reference("Role", "cpi"), "subjects": account}),
            json!({"apiVersion": rbac, "kind": "RoleBinding", "metadata": {"name": own, "namespace": "kube-system"},
                "roleRef": reference("Role", "extension-apiserver-authentication-reader"), "subjects": account}),
        ];
        let pod = json!({
            "serviceAccountName": "cpi",
            "dnsPolicy": "Default",
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "Exists"}]}]}}},
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1001, "runAsGroup": 1001, "fsGroup": 1001,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "cpi",
                "image": CPI,
                "args": ["--cloud-provider=vsphere", "--v=2", "--cloud-config=/etc/cloud/vsphere.conf",
                    "--leader-elect-resource-namespace=$(NAMESPACE)"],
                "env": [{"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 10258, "scheme": "HTTPS"}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "200m"}},
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/cloud", "readOnly": true}]
            }],
            "volumes": [{"name": "config", "configMap": {"name": "config"}}]
        });
        let labels = json!({"app": "cpi"});
        let workload = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("cpi"),
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
        });
        Self { objects, workload }
    }

    fn spec(&mut self) -> &mut Value {
        &mut self.workload["spec"]["template"]["spec"]
    }

    fn container(&mut self) -> &mut Value {
        &mut self.spec()["containers"][0]
    }

    fn into_daemon_set(mut self) -> Self {
        self.workload["kind"] = json!("DaemonSet");
        self.spec()["hostNetwork"] = json!(true);
        self
    }

    fn apply(mut self, place: &Place) {
        self.objects.push(self.workload);
        place.apply(&self.objects);
    }

    /// A driver with one thing changed.
    fn apply_with(mut self, place: &Place, change: impl FnOnce(&mut Value)) {
        change(self.container());
        self.apply(place);
    }
}

#[test]
fn the_real_cpi_runs_from_its_daemon_set_and_initialises_every_node() {
    let place = Place::new("cpi-daemon-set");
    Driver::new(&place).into_daemon_set().apply(&place);

    let nodes = eventually(SOON, "every node has a provider id and no taint", || {
        let nodes = place.bed.get(&["nodes", "-l", CONTROL_PLANE]).map_err(|fault| fault.to_string())?;
        let nodes = nodes["items"].as_array().unwrap().clone();
        let open = nodes.iter().filter(|node| {
            let id = node["spec"]["providerID"].as_str().unwrap_or_default();
            !id.starts_with("vsphere://") || node["spec"]["taints"].to_string().contains("uninitialized")
        });
        match open.count() {
            0 => Ok(nodes),
            count => Err(format!("{count} nodes to go")),
        }
    });
    assert_eq!(nodes.len(), 3);

    let pods = eventually(SOON, "one Ready pod per node", || {
        let pods = place.pods();
        if pods.len() == 3 && pods.iter().all(is_ready) { Ok(pods) } else { Err(format!("{pods:?}")) }
    });
    for pod in pods {
        assert_eq!(
            pod["status"]["podIP"], pod["status"]["hostIP"],
            "a pod of the host network has the node's address"
        );
    }
}

#[test]
fn a_sound_driver_pod_of_a_deployment_gets_ready() {
    let place = Place::new("sound");
    Driver::new(&place).apply(&place);

    let pod = place.until_ready();

    assert_eq!(pod["status"]["phase"], "Running");
    assert_ne!(pod["status"]["podIP"], pod["status"]["hostIP"]);
    assert_eq!(first(&pod)["restartCount"], 0);
}

#[test]
fn a_planted_exit_1_keeps_a_driver_pod_from_ready() {
    let place = Place::new("exits");
    Driver::new(&place).apply_with(&place, |container| container["image"] = json!(EXITS));

    let pod = place.until("it is in a crash loop", |pod| {
        waits_for(pod, "CrashLoopBackOff") && first(pod)["restartCount"] != 0
    });

    let last = &first(&pod)["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(1), &json!("Error")));
    place.stays_unready();
}

#[test]
fn a_driver_that_refuses_its_flags_leaves_its_last_words() {
    let place = Place::new("last-words");
    Driver::new(&place).apply_with(&place, |container| container["args"] = json!(["--no-such-flag"]));

    let pod = place.until("it is in a crash loop", |pod| waits_for(pod, "CrashLoopBackOff"));

    let said = first(&pod)["lastState"]["terminated"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("no-such-flag"), "{said}");
}

#[test]
fn a_wrong_image_keeps_a_driver_pod_from_ready() {
    let place = Place::new("wrong-image");
    let wrong = CPI.replace("v1.36.0", "v1.36.99");
    Driver::new(&place).apply_with(&place, |container| container["image"] = json!(wrong));

    let pod = place.until("the image is not found", |pod| waits_for(pod, "ErrImagePull"));

    assert!(message(&pod).contains(&wrong), "{}", message(&pod));
    place.stays_unready();
}

#[test]
fn a_failing_probe_keeps_a_driver_pod_from_ready() {
    let place = Place::new("probe");
    // The CPI answers 404 there.
    Driver::new(&place).apply_with(&place, |container| {
        container["readinessProbe"]["httpGet"]["path"] = json!("/no-such-path")
    });

    place.until("it runs", |pod| !first(pod)["state"]["running"].is_null());

    place.stays_unready();
}

#[test]
fn a_failing_liveness_probe_restarts_a_driver() {
    let place = Place::new("liveness");
    Driver::new(&place).apply_with(&place, |container| {
        container["livenessProbe"] =
            json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 2});
    });

    place.until("it was restarted", |pod| first(pod)["restartCount"] != 0);
}

#[test]
fn a_missing_mount_keeps_a_driver_pod_from_ready() {
    let place = Place::new("mount");
    Driver::new(&place).apply_with(&place, |container| container["volumeMounts"] = json!([]));

    let pod = place.until("it is in a crash loop", |pod| waits_for(pod, "CrashLoopBackOff"));

    assert_ne!(first(&pod)["lastState"]["terminated"]["exitCode"], 0);
    place.stays_unready();
}

#[test]
fn a_missing_config_map_keeps_a_driver_pod_in_creation_until_it_appears() {
    let place = Place::new("config-map");
    let mut driver = Driver::new(&place);
    let config = driver.objects.iter().position(|object| object["kind"] == "ConfigMap").unwrap();
    let config = driver.objects.remove(config);
    driver.apply(&place);

    let pod =
        place.until("it says what is missing", |pod| message(pod).contains("configmap \"config\" not found"));
    assert!(waits_for(&pod, "ContainerCreating"));
    place.stays_unready();

    place.apply(&[config]);
    place.until_ready();
}

#[test]
fn a_missing_secret_key_keeps_a_driver_pod_from_ready_until_it_appears() {
    let place = Place::new("secret-key");
    Driver::new(&place).apply_with(&place, |container| {
        let key = json!({"secretKeyRef": {"name": "creds", "key": "absent"}});
        let variables = container["env"].as_array_mut().unwrap();
        variables.push(json!({"name": "EXTRA", "valueFrom": key}));
    });

    let pod = place.until("it waits", |pod| waits_for(pod, "CreateContainerConfigError"));
    assert_eq!(message(&pod), "couldn't find key absent in Secret secret-key/creds");
    place.stays_unready();

    place.kubectl(&["patch", "secret", "creds", "-p", r#"{"stringData": {"absent": "here"}}"#]);
    place.until_ready();
}

#[test]
fn a_missing_key_of_a_mounted_secret_keeps_a_driver_pod_in_creation() {
    let place = Place::new("mounted-key");
    let mut driver = Driver::new(&place);
    let item = json!([{"key": "absent", "path": "x"}]);
    let volumes = driver.spec()["volumes"].as_array_mut().unwrap();
    volumes.push(json!({"name": "creds", "secret": {"secretName": "creds", "items": item}}));
    driver.apply(&place);

    place.until("it says what is missing", |pod| {
        message(pod).contains("references non-existent secret key: absent")
    });
    place.stays_unready();
}

#[test]
fn a_field_that_is_not_implemented_refuses_the_pod() {
    let place = Place::new("refused");
    let mut pod = place.script("refused", "exec sleep 1000");
    pod["spec"]["hostPID"] = json!(true);
    pod["spec"]["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 1}}});
    place.apply(&[pod]);

    let pod = place.until("it is refused", |pod| pod["status"]["reason"] == "UnimplementedField");

    let message = pod["status"]["message"].as_str().unwrap();
    assert!(message.contains("spec.hostPID") && message.contains("spec.containers[].lifecycle"), "{message}");
    assert_eq!(pod["status"]["phase"], "Pending");
    place.stays_unready();
}

#[test]
fn a_rotated_secret_reaches_a_running_container() {
    let place = Place::new("rotation");
    let secret = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "rotation"},
            "stringData": {"password": value}})
    };
    // Both parts of a line are of one folder, even if the link moves in between.
    let script = "last=; while sleep 0.1; do folder=$(readlink /creds/..data); \
        value=$(cat /creds/$folder/password) || continue; now=\"$folder/$value\"; \
        [ \"$now\" = \"$last\" ] || { echo \"saw $now\"; last=$now; }; done";
    let mut pod = place.script("reader", script);
    pod["spec"]["volumes"] = json!([{"name": "creds", "secret": {"secretName": "s"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "creds", "mountPath": "/creds"}]);
    place.apply(&[secret("first"), pod]);
    place.until_logged("reader", "/first\n");

    place.apply(&[secret("second")]);
    let log = place.until_logged("reader", "/second\n");

    let folders: Vec<&str> =
        log.lines().filter_map(|line| line.strip_prefix("saw ")?.split_once('/')).map(|(f, _)| f).collect();
    assert!(folders.len() == 2 && folders[0] != folders[1], "the link moved once: {log}");
    assert_eq!(first(&place.pod().unwrap())["restartCount"], 0);
}

#[test]
fn a_pod_has_its_grace_period_after_sigterm() {
    let place = Place::new("grace");
    let script = "trap 'echo asked; sleep 2; echo done; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    place.apply(&[place.script("polite", script)]);
    place.until_logged("polite", "up");

    place.kubectl(&["delete", "pod", "polite", "--wait=false"]);
    place.until_logged("polite", "asked");
    assert_eq!(place.pods().len(), 1, "the object stays while the program ends");
    place.until_logged("polite", "done");
    eventually(SOON, "the pod is gone", || if place.pods().is_empty() { Ok(()) } else { Err("still there") });
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_after_the_grace_period() {
    let place = Place::new("stubborn");
    let mut pod = place.script("stubborn", "trap '' TERM; echo up; while :; do sleep 0.1; done");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(2);
    place.apply(&[pod]);
    place.until_logged("stubborn", "up");

    place.kubectl(&["delete", "pod", "stubborn", "--wait=false"]);
    throughout(Duration::from_secs(1), "it lives in its grace period", || {
        if place.pods().is_empty() { Err("gone") } else { Ok(()) }
    });
    eventually(SOON, "the pod is gone", || if place.pods().is_empty() { Ok(()) } else { Err("still there") });
}

#[test]
fn a_restricted_container_really_is_restricted() {
    let place = Place::new("restricted");
    let script = "cat /proc/self/status; id -u; id -g; touch /x && echo wrote; touch /scratch/x && echo scratch; \
        ls /; hostname; exec sleep 1000";
    let mut pod = place.script("restricted", script);
    pod["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65531, "fsGroup": 65530});
    pod["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    let container = &mut pod["spec"]["containers"][0];
    container["securityContext"] = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]}});
    container["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    place.apply(&[pod]);

    let log = place.until_logged("restricted", "\nrestricted\n");

    let line = |name: &str| -> Vec<&str> {
        let line = log.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().skip(1).collect()
    };
    assert_eq!(line("Uid:"), ["65532"; 4]);
    assert_eq!(line("Gid:"), ["65531"; 4]);
    assert!(line("Groups:").contains(&"65530"));
    assert_eq!(
        (line("NoNewPrivs:"), line("CapBnd:"), line("CapEff:")),
        (vec!["1"], vec!["0000000000000000"], vec!["0000000000000000"])
    );
    assert!(!log.contains("wrote"), "the root is read-only");
    assert!(log.contains("scratch"), "a volume is writable for the pod's group");
    assert!(
        !log.lines().any(|line| matches!(line, "home" | "root" | "work")),
        "nothing of this machine is seen: {log}"
    );
}

#[test]
fn root_is_refused_where_the_pod_must_not_run_as_root() {
    let place = Place::new("non-root");
    let mut pod = place.script("root", "exec sleep 1000");
    pod["spec"]["securityContext"] = json!({"runAsNonRoot": true});
    place.apply(&[pod]);

    let pod = place.until("it waits", |pod| waits_for(pod, "CreateContainerConfigError"));

    assert_eq!(message(&pod), "container has runAsNonRoot and image will run as root");
}

#[test]
fn init_containers_run_in_order_and_to_their_end() {
    let place = Place::new("init");
    let mut pod = place.script("init", "cat /shared/log; exec sleep 1000");
    // The first one fails once.
    let flaky = "[ -e /shared/tried ] || { touch /shared/tried; exit 3; }; echo one >> /shared/log";
    let init = |name: &str, script: &str| json!({"name": name, "image": SHELL, "args": ["-c", script], "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]});
    pod["spec"]["initContainers"] = json!([init("a", flaky), init("b", "echo two >> /shared/log")]);
    pod["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    place.apply(&[pod]);

    let pod = place.until_ready();

    place.until_logged("init", "one\ntwo\n");
    let statuses = &pod["status"]["initContainerStatuses"];
    assert_eq!((&statuses[0]["restartCount"], &statuses[1]["restartCount"]), (&json!(1), &json!(0)));
}

#[test]
fn a_held_pod_starts_when_it_is_let_go() {
    let place = Place::new("held");
    let hold = place.bed.path("kubelet/hold");
    fs::write(&hold, "held-\n").unwrap();
    place.apply(&[place.script("held-1", "exec sleep 1000")]);

    place.until("it waits", |pod| waits_for(pod, "ContainerCreating") && message(pod).contains("held"));
    place.stays_unready();

    fs::remove_file(hold).unwrap();
    place.until_ready();
}

#[test]
fn chosen_pods_are_told_another_api_server() {
    let place = Place::new("override");
    fs::write(place.bed.path("kubelet/api-override.json"), r#"{"override/chosen": "192.0.2.99:7443"}"#)
        .unwrap();
    let script = "echo at $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT; exec sleep 1000";
    place.apply(&[place.script("chosen-1", script), place.script("other-1", script)]);

    place.until_logged("chosen-1", "at 192.0.2.99:7443\n");
    place.until_logged("other-1", "at 192.0.2.10:6443\n");
}

#[test]
fn a_job_ends_as_its_program_ends() {
    let place = Place::new("job");
    let spec = |script: &str| {
        let mut pod = place.script("x", script)["spec"].clone();
        pod["restartPolicy"] = json!("Never");
        pod
    };
    let job = |name: &str, script: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "job"},
            "spec": {"backoffLimit": 0, "template": {"spec": spec(script)}}})
    };
    place.apply(&[job("good", "exit 0"), job("bad", "exit 7")]);

    place.kubectl(&["wait", "--for=condition=Complete", "job/good", "--timeout=60s"]);
    place.kubectl(&["wait", "--for=condition=Failed", "job/bad", "--timeout=60s"]);
}

#[test]
fn a_stand_in_answers_only_while_the_driver_s_socket_does() {
    let place = Place::new("stand-in");
    let mut pod = place.script("node", "");
    pod["spec"]["volumes"] = json!([{"name": "socket", "emptyDir": {}}]);
    let mounts = json!([{"name": "socket", "mountPath": "/csi"}]);
    let driver = |mode: &str| {
        json!({"name": "driver", "image": DRIVER, "volumeMounts": mounts,
            "env": [{"name": "X_CSI_MODE", "value": mode}, {"name": "CSI_ENDPOINT", "value": "unix:///csi/csi.sock"}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "healthz"}, "periodSeconds": 1},
            "ports": [{"name": "healthz", "containerPort": 9808}]})
    };
    let registrar = json!({"name": "registrar", "image": format!("{SIDECARS}/csi-node-driver-registrar:v2.13.0"),
        "livenessProbe": {"exec": {"command": ["/csi-node-driver-registrar", "--mode=kubelet-registration-probe"]},
            "periodSeconds": 1, "failureThreshold": 1}});
    let probe = json!({"name": "probe", "image": format!("{SIDECARS}/livenessprobe:v2.15.0"),
        "args": ["--csi-address=/csi/csi.sock"], "volumeMounts": mounts});
    pod["spec"]["containers"] = json!([driver("node"), registrar, probe]);
    let mut broken = pod.clone();
    broken["metadata"]["name"] = json!("broken");
    broken["spec"]["containers"][0] = driver("controller"); // this image's program exits at once
    place.apply(&[pod]);
    let sound = place.until_ready();
    let restarts: BTreeMap<_, _> = sound["status"]["containerStatuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap().to_owned(), one["restartCount"].as_u64()))
        .collect();
    assert_eq!(restarts["registrar"], Some(0));

    place.kubectl(&["delete", "pod", "node"]);
    place.apply(&[broken]);
    place.until("its driver crashes", |pod| waits_for(pod, "CrashLoopBackOff"));
    place.stays_unready();
}

#[test]
fn the_real_csi_controller_and_syncer_run_from_one_pod_of_their_deployment() {
    let place = Place::new("csi-controller");
    let vcenter = place.bed.vcenter(1);
    let password = fs::read_to_string(&vcenter.password_file).unwrap();
    let conf = format!(
        "[Global]\ncluster-id = \"proof\"\ncluster-distribution = \"Vanilla\"\n[VirtualCenter \"{}\"]\nuser = \"{}\"\n\
         password = \"{}\"\nport = \"443\"\ninsecure-flag = \"false\"\nca-file = \"/etc/cloud/ca.crt\"\ndatacenters = \"DC0\"\n",
        vcenter.address,
        vcenter.user,
        password.trim_end_matches('\n')
    );
    let ca = fs::read_to_string(&vcenter.ca).unwrap();
    let meta = |name: &str| json!({"name": name, "namespace": "csi-controller"});
    let socket = json!({"name": "socket-dir", "mountPath": "/csi"});
    let config = json!({"name": "config", "mountPath": "/etc/cloud", "readOnly": true});
    let env = json!([
        {"name": "CSI_ENDPOINT", "value": "unix:///csi/csi.sock"},
        {"name": "X_CSI_MODE", "value": "controller"},
        {"name": "VSPHERE_CSI_CONFIG", "value": "/etc/cloud/csi-vsphere.conf"},
        {"name": "LOGGER_LEVEL", "value": "PRODUCTION"},
        {"name": "CLUSTER_FLAVOR", "value": "VANILLA"},
        {"name": "CSI_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}]);
    let args = json!(["--fss-name=features", "--fss-namespace=$(CSI_NAMESPACE)"]);
    let user = json!({"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532});
    let driver = "registry.k8s.io/csi-vsphere";
    let labels = json!({"app": "csi"});
    let attacher = json!({"name": "csi-attacher", "image": format!("{SIDECARS}/csi-attacher:v4.9.0"),
        "args": ["--csi-address=$(ADDRESS)"], "env": [{"name": "ADDRESS", "value": "/csi/csi.sock"}], "volumeMounts": [socket]});
    let probe = json!({"name": "liveness-probe", "image": format!("{SIDECARS}/livenessprobe:v2.15.0"),
        "args": ["--csi-address=/csi/csi.sock"], "volumeMounts": [socket]});
    let healthz =
        json!({"httpGet": {"path": "/healthz", "port": "healthz"}, "periodSeconds": 1, "timeoutSeconds": 10});
    let controller = json!({"name": "vsphere-csi-controller", "image": format!("{driver}/driver:v3.7.0"), "args": args, "env": env,
        "securityContext": user, "volumeMounts": [socket, config],
        "ports": [{"name": "healthz", "containerPort": 9808}, {"name": "prometheus", "containerPort": 2112}],
        "readinessProbe": healthz});
    let syncer = json!({"name": "vsphere-syncer", "image": format!("{driver}/syncer:v3.7.0"),
        "args": ["--leader-election", "--fss-name=features", "--fss-namespace=$(CSI_NAMESPACE)"], "env": env,
        "securityContext": user, "volumeMounts": [config]});
    place.apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("csi")}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "csi-proof"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "csi", "namespace": "csi-controller"}]}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("config"),
            "stringData": {"csi-vsphere.conf": conf, "ca.crt": ca}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("features"), "data": {"trigger-csi-fullsync": "false"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("csi"), "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": "csi", "dnsPolicy": "Default", "tolerations": [{"operator": "Exists"}],
                "securityContext": {"fsGroup": 65532},
                "containers": [attacher, controller, probe, syncer],
                "volumes": [{"name": "socket-dir", "emptyDir": {}}, {"name": "config", "secret": {"secretName": "config"}}]}}}}),
    ]);

    let pod = place.until_ready();

    let name = pod["metadata"]["name"].as_str().unwrap();
    let lease = eventually(SOON, "the syncer holds its lease", || {
        let lease = place
            .bed
            .get(&["-n", "csi-controller", "lease", "vsphere-syncer"])
            .map_err(|fault| fault.to_string())?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned).ok_or_else(|| lease.to_string())
    });
    assert!(lease.starts_with(name), "the host name is the pod's: {lease}");
}

#[test]
fn a_node_plug_in_with_host_paths_runs_on_every_node() {
    let place = Place::new("csi-node");
    let labels = json!({"app": "node"});
    let folder =
        |name: &str, path: &str, kind: &str| json!({"name": name, "hostPath": {"path": path, "type": kind}});
    let plugin = "/var/lib/kubelet/plugins/csi.vsphere.vmware.com";
    let socket = json!({"name": "plugin-dir", "mountPath": "/csi"});
    let driver = json!({"name": "vsphere-csi-node", "image": DRIVER,
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
            {"name": "CSI_ENDPOINT", "value": "unix:///csi/csi.sock"}, {"name": "X_CSI_MODE", "value": "node"}],
        "securityContext": {"privileged": true, "capabilities": {"add": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": true},
        "ports": [{"name": "healthz", "containerPort": 9808, "protocol": "TCP"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "healthz"}, "initialDelaySeconds": 2, "periodSeconds": 1},
        "volumeMounts": [socket,
            {"name": "pods-mount-dir", "mountPath": "/var/lib/kubelet", "mountPropagation": "Bidirectional"},
            {"name": "device-dir", "mountPath": "/dev"}, {"name": "blocks-dir", "mountPath": "/sys/block"}]});
    let registrar = json!({"name": "node-driver-registrar", "image": format!("{SIDECARS}/csi-node-driver-registrar:v2.13.0"),
        "args": ["--v=5", "--csi-address=$(ADDRESS)", "--kubelet-registration-path=$(PLUGIN)"],
        "env": [{"name": "ADDRESS", "value": "/csi/csi.sock"}, {"name": "PLUGIN", "value": format!("{plugin}/csi.sock")}],
        "livenessProbe": {"exec": {"command": ["/csi-node-driver-registrar", "--mode=kubelet-registration-probe"]},
            "initialDelaySeconds": 1, "periodSeconds": 1},
        "volumeMounts": [socket, {"name": "registration-dir", "mountPath": "/registration"}]});
    let probe = json!({"name": "liveness-probe", "image": format!("{SIDECARS}/livenessprobe:v2.15.0"),
        "args": ["--v=4", "--csi-address=/csi/csi.sock"], "volumeMounts": [socket]});
    place.apply(&[json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "node", "namespace": "csi-node"}, "spec": {
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": {"metadata": {"labels": labels}, "spec": {
            "priorityClassName": "system-node-critical", "nodeSelector": {"kubernetes.io/os": "linux", CONTROL_PLANE: ""},
            "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet",
            "tolerations": [{"effect": "NoExecute", "operator": "Exists"}, {"effect": "NoSchedule", "operator": "Exists"}],
            "containers": [registrar, driver, probe],
            "volumes": [folder("registration-dir", "/var/lib/kubelet/plugins_registry", "Directory"),
                folder("plugin-dir", plugin, "DirectoryOrCreate"), folder("pods-mount-dir", "/var/lib/kubelet", "Directory"),
                folder("device-dir", "/dev", ""), folder("blocks-dir", "/sys/block", "Directory")]}}}})]);

    let status = eventually(SOON, "three Ready pods", || {
        let set =
            place.bed.get(&["-n", "csi-node", "daemonset", "node"]).map_err(|fault| fault.to_string())?;
        if set["status"]["numberReady"] == 3 {
            Ok(set["status"].clone())
        } else {
            Err(set["status"].to_string())
        }
    });
    assert_eq!(status["desiredNumberScheduled"], 3);
    // The probes have asked by now.
    throughout(A_WHILE, "no container restarts", || {
        let restarted = place.pods().iter().any(|pod| {
            let rows = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
            rows.iter().any(|one| one["restartCount"] != 0)
        });
        if restarted { Err("a container restarted") } else { Ok(()) }
    });
}

#[test]
fn a_sidecar_starts_before_the_others_and_ends_after_them() {
    let place = Place::new("sidecar");
    let shared = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut pod = place.script("sidecar", "cat /shared/up; echo main ends");
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = shared.clone();
    let script =
        "trap 'echo sidecar ends; exit 0' TERM; echo sidecar up > /shared/up; while :; do sleep 0.1; done";
    pod["spec"]["initContainers"] = json!([{"name": "side", "image": SHELL, "args": ["-c", script], "restartPolicy": "Always",
        "startupProbe": {"exec": {"command": ["/sh", "-c", "test -e /shared/up"]}, "periodSeconds": 1},
        "volumeMounts": shared}]);
    place.apply(&[pod]);

    place.until("it is over", |pod| pod["status"]["phase"] == "Succeeded");

    assert_eq!(place.log("sidecar", "main"), "sidecar up\nmain ends\n");
    eventually(SOON, "the sidecar was asked to end", || {
        let log = place.log("sidecar", "side");
        if log.contains("sidecar ends") { Ok(()) } else { Err(log) }
    });
}

#[test]
fn a_pod_sees_the_api_server_the_names_and_the_files_of_its_own_place() {
    let place = Place::new("inside");
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    let script = format!(
        "hostname; cat /etc/hosts /etc/resolv.conf; ls -1 {token}; cut -d. -f2 {token}/token | tr '_-' '/+' | base64 -d 2>/dev/null; \
         echo; ls -A /proc | grep -c '^[0-9]'; echo end; exec sleep 1000"
    );
    place.apply(&[place.script("inside-1", &script)]);

    let log = place.until_logged("inside-1", "\nend\n");
    let pod = place.until_ready();

    assert!(log.starts_with("inside-1\n"), "{log}");
    let line = format!("{}\tinside-1", pod["status"]["podIP"].as_str().unwrap());
    assert!(log.contains(&line) && log.contains("nameserver 192.0.2.1"), "{log}");
    assert!(log.contains("ca.crt\nnamespace\ntoken\n"), "{log}");
    // A token of this pod, not of its account only.
    assert!(log.contains(&format!("\"uid\":{}", pod["metadata"]["uid"])), "{log}");
}

#[test]
fn a_node_without_kwok_s_mark_becomes_ready_and_its_pods_end_even_after_it() {
    let place = Place::new("extra-node");
    place.apply(&[json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "extra-node"},
        "spec": {"taints": [{"key": "proof", "effect": "NoSchedule"}]}})]);
    let node = eventually(SOON, "the node is Ready", || {
        let node = place.bed.get(&["node", "extra-node"]).map_err(|fault| fault.to_string())?;
        if is_ready(&node) { Ok(node) } else { Err(node["status"].to_string()) }
    });
    let lease = place.bed.get(&["-n", "kube-node-lease", "lease", "extra-node"]).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], node["metadata"]["name"]);
    let mut pod =
        place.script("left-behind", "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done");
    pod["spec"]["nodeName"] = json!("extra-node");
    place.apply(&[pod]);
    place.until_logged("left-behind", "up");

    place.kubectl(&["delete", "node", "extra-node"]);
    place.kubectl(&["delete", "pod", "left-behind", "--timeout=30s"]);

    place.until_logged("left-behind", "asked");
}

#[test]
fn a_read_only_root_is_one_for_root_too_and_a_writable_one_is_not_shared() {
    let place = Place::new("root");
    let script = "touch /x && echo wrote; ls -A /; echo end; exec sleep 1000";
    let mut sealed = place.script("sealed", script);
    sealed["spec"]["containers"][0]["securityContext"] = json!({"readOnlyRootFilesystem": true});
    place.apply(&[sealed, place.script("open", script)]);

    assert!(!place.until_logged("sealed", "end\n").contains("wrote"));
    let open = place.until_logged("open", "end\n");
    assert!(open.contains("wrote") && open.contains("\nx\n"), "{open}");
    assert!(!std::path::Path::new("/x").exists(), "what a container writes stays in its root");
}

#[test]
fn a_failed_init_container_that_is_not_repeated_fails_its_pod() {
    let place = Place::new("failed-init");
    let mut pod = place.script("never", "echo main ran");
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["initContainers"] = json!([{"name": "i", "image": SHELL, "args": ["-c", "exit 3"]}]);
    place.apply(&[pod]);

    let pod = place.until("it failed", |pod| pod["status"]["phase"] == "Failed");

    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    assert_eq!(place.log("never", "main"), "", "the other containers never ran");
}
