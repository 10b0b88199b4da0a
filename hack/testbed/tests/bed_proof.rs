//! The bed itself: real drivers accept it, and it fails where a real cluster fails.
//!
//! Run in a bed with one worker at least: `testbed run --nodes 5 -- bed_proof`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::ToSocketAddrs as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::csinode::DRIVER;
use testbed::nodes::UNINITIALIZED;
use testbed::wait::{eventually, throughout};

const SOON: Duration = Duration::from_secs(60);

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The real CPI, told of the bed's vCenter, with the administrator's rights.
fn start_cpi(bed: &Bed) -> Running {
    let vcenter = bed.vcenter(1);
    let config = json!({
        "global": {
            "user": vcenter.user, "password": vcenter.password().unwrap(), "port": 443, "caFile": vcenter.ca},
        "vcenter": {"one": {"server": vcenter.address, "datacenters": ["DC0"]}},
    });
    let file = bed.path("tmp/vsphere.conf");
    fs::write(&file, config.to_string()).unwrap();
    let kubeconfig = bed.kubeconfig().display().to_string();
    let log = fs::File::create(bed.path("log/cpi.log")).unwrap();
    let child = Command::new(bed.program("cpi-1.36.0"))
        .args(["--cloud-provider", "vsphere", "--bind-address", "127.0.0.1", "--secure-port", "10258"])
        .arg("--cloud-config")
        .arg(file)
        .args(["--kubeconfig", &kubeconfig, "--authentication-kubeconfig", &kubeconfig])
        .args(["--authorization-kubeconfig", &kubeconfig])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Running(child)
}

fn nodes(bed: &Bed) -> Vec<Value> {
    bed.get(&["nodes"]).unwrap()["items"].as_array().unwrap().clone()
}

fn waits_for_a_cloud_provider(node: &Value) -> bool {
    node["spec"]["taints"]
        .as_array()
        .is_some_and(|taints| taints.iter().any(|taint| taint["key"] == UNINITIALIZED))
}

fn apply(bed: &Bed, object: &Value) {
    bed.kubectl_with(&["apply", "-f", "-"], &object.to_string()).unwrap();
}

#[test]
fn the_real_cpi_initialises_every_tainted_node() {
    let bed = Bed::from_env();
    assert!(nodes(&bed).iter().all(waits_for_a_cloud_provider), "a bed begins with uninitialised nodes");
    let machines = bed.vcenter(1).machines().unwrap();

    let _cpi = start_cpi(&bed);

    eventually(SOON, "every node has lost its taint", || {
        let waiting: Vec<_> = nodes(&bed)
            .iter()
            .filter(|node| waits_for_a_cloud_provider(node))
            .map(|node| node["metadata"]["name"].clone())
            .collect();
        if waiting.is_empty() {
            Ok(())
        } else {
            Err(format!("{waiting:?}\n{}", bed.log("cpi").unwrap_or_default()))
        }
    });
    for node in nodes(&bed) {
        let machine =
            machines.iter().find(|machine| node["metadata"]["name"] == machine.name.as_str()).unwrap();
        assert_eq!(node["spec"]["providerID"], format!("vsphere://{}", machine.uuid));
    }
    let patches = bed
        .audit()
        .unwrap()
        .accepted_writes()
        .filter(|request| request.resource == "nodes" && request.user_agent.starts_with("cpi-1.36.0/"));
    assert!(patches.count() >= machines.len(), "the audit log shows who did it: {patches:?}");
    let calls = bed.vcenter(1).admin_get("/calls").unwrap();
    assert!(calls["logins"]["ok"].as_u64().unwrap() >= 1, "{calls}");
}

/// What the CSI operator's node DaemonSet looks like to whoever watches it, on every node.
fn node_plugin(namespace: &str) -> Value {
    let container = |name: &str| json!({"name": name, "image": "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.13.0"});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "node-plugin", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "node-plugin"}},
            "template": {
                "metadata": {"labels": {"app": "node-plugin"}},
                "spec": {"tolerations": [{"operator": "Exists"}], "containers": [container("node-driver-registrar")]},
            },
        },
    })
}

fn registered(bed: &Bed) -> Vec<(String, String)> {
    let list = bed.get(&["csinodes"]).unwrap();
    let mut all = Vec::new();
    for row in list["items"].as_array().unwrap() {
        for driver in
            row["spec"]["drivers"].as_array().into_iter().flatten().filter(|driver| driver["name"] == DRIVER)
        {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            all.push((text(&row["metadata"]["name"]), text(&driver["nodeID"])));
        }
    }
    all.sort();
    all
}

#[test]
fn a_node_plugin_registers_on_every_node_but_the_withheld_one() {
    let bed = Bed::from_env();
    let machines = bed.vcenter(1).machines().unwrap();
    let mut everyone: Vec<_> =
        machines.iter().map(|machine| (machine.name.clone(), machine.uuid.clone())).collect();
    everyone.sort();
    let all_but_the_last = &everyone[..everyone.len() - 1];
    let (last, _) = everyone.last().unwrap();
    bed.withhold_csinodes(&[last]).unwrap();
    apply(&bed, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "plugin"}}));
    let is = |wanted: &[(String, String)]| {
        let seen = registered(&bed);
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    };

    apply(&bed, &node_plugin("plugin"));

    eventually(SOON, "all but the withheld node are registered", || is(all_but_the_last));
    throughout(Duration::from_secs(2), "the withheld node stays out", || is(all_but_the_last));

    bed.withhold_csinodes(&[]).unwrap();
    eventually(SOON, "every node is registered under its machine's UUID", || is(&everyone));

    bed.kubectl(&["delete", "daemonset", "node-plugin", "-n", "plugin"]).unwrap();
    eventually(SOON, "no node is registered any more", || is(&[]));
}

#[test]
fn a_name_that_nobody_has_does_not_exist_rather_than_to_be_asked_for_again() {
    let bed = Bed::from_env();

    let known = ("vcenter-1.testbed.example", 443).to_socket_addrs().unwrap().next().unwrap();
    let unknown = ("vcenter-77.testbed.example", 443).to_socket_addrs().unwrap_err();

    assert_eq!(known.ip().to_string(), bed.vcenter(1).address);
    assert!(unknown.to_string().contains("Name or service not known"), "{unknown}");
}

#[test]
fn the_audit_log_knows_who_asked_and_what_was_answered() {
    let bed = Bed::from_env();
    let refused = bed.kubectl(&["get", "secrets", "-A", "--as", "system:serviceaccount:default:nobody"]);

    let rows = eventually(SOON, "the request is in the log", || {
        let rows = bed.audit().unwrap().by_account("default", "nobody").forbidden();
        if rows.is_empty() { Err("it is not") } else { Ok(rows) }
    });

    assert!(refused.unwrap_err().to_string().contains("forbidden"));
    assert!(rows.requests[0].user_agent.starts_with("kubectl/"), "{rows:?}");
    assert!(
        rows.requests.iter().all(|request| request.resource == "secrets" && request.verb == "list"),
        "{rows:?}"
    );
}

#[test]
fn a_frozen_vcenter_answers_nothing_until_it_is_thawed() {
    let bed = Bed::from_env();
    let answers = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "1"])
            .arg("--cacert")
            .arg(&bed.vcenter(1).ca);
        testbed::bed::output_of(
            curl.arg(format!("https://{}/sdk/vimServiceVersions.xml", bed.vcenter(1).address)),
            "",
        )
    };
    answers().unwrap();

    bed.freeze("vcenter-1").unwrap();
    let frozen = answers();
    bed.thaw("vcenter-1").unwrap();

    assert!(frozen.unwrap_err().to_string().contains("timed out"));
    eventually(SOON, "the vCenter answers again", answers);
}

#[test]
fn the_control_plane_says_its_version() {
    let version = Bed::from_env().kubectl(&["get", "--raw", "/version"]).unwrap();

    assert_eq!(serde_json::from_str::<Value>(&version).unwrap()["gitVersion"], testbed::tools::KUBERNETES);
}

#[test]
fn a_token_of_a_service_account_is_accepted() {
    let bed = Bed::from_env();
    let token = bed.kubectl(&["create", "token", "default", "-n", "kube-system"]).unwrap();

    let who = testbed::bed::output_of(
        Command::new(bed.program("kubectl"))
            .args([
                "--server",
                &std::env::var("APISERVER").unwrap(),
                "--token",
                token.trim(),
                "auth",
                "whoami",
                "-o",
                "json",
            ])
            .arg("--certificate-authority")
            .arg(bed.path("pki/ca.crt"))
            .env("KUBECONFIG", "/dev/null"),
        "",
    )
    .unwrap();

    let who: Value = serde_json::from_str(&who).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:kube-system:default");
}
