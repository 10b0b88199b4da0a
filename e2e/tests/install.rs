//! From two custom resources to both drivers, judged by the real drivers and by the API server's audit log.
//!
//! One installation, told once: the first test makes it, the others look at what it left.

#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;
use std::time::Duration;

use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{
    CONFIG, OPERATORS, Said, VCENTER, apply_secret, apply_vcenter, await_condition, await_said, both_drivers,
    condition, install_chart, matrix, round_trip,
};
use testbed::audit::Request;
use testbed::bed::{Bed, output_of};
use testbed::wait::{eventually, throughout};

const CPI_ACCOUNT: &str = "system:serviceaccount:vmware-system-cpi:vdo-cpi";
const SOON: Duration = Duration::from_secs(90);

/// What was seen on the way.
struct Story {
    bed: Bed,
    /// What the storage driver said while CPI was held back.
    csi_waits: Said,
    /// What it said while one node was not registered.
    two_of_three: Said,
    ready: Said,
}

fn story() -> &'static Story {
    static STORY: OnceLock<Option<Story>> = OnceLock::new();
    // Told once, whether it ends well or not: the first test shows what went wrong.
    let told = STORY.get_or_init(|| std::panic::catch_unwind(tell).ok());
    told.as_ref().expect("the installation ends well")
}

fn is_csi_workload(request: &Request) -> bool {
    request.namespace == "vmware-system-csi"
        && matches!(request.resource.as_str(), "deployments" | "daemonsets")
}

fn tell() -> Story {
    let bed = Bed::from_env();
    // The runner keeps CPI's pods back, and one node's registrar never speaks.
    bed.hold_pods(&["vsphere-cloud-controller-manager"]).unwrap();
    let nodes = bed.get(&["nodes"]).unwrap();
    let last =
        nodes["items"].as_array().unwrap().last().unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    bed.withhold_csinodes(&[&last]).unwrap();
    install_chart(&bed, &[]);
    let vcenter = bed.vcenter(1).clone();
    apply_secret(&bed, &vcenter.user, &vcenter.password().unwrap());
    apply_vcenter(&bed);
    apply(&bed, &matrix()).unwrap();
    apply(&bed, &both_drivers()).unwrap();
    await_condition(&bed, "vcc", VCENTER, "Ready", "True", SOON);
    eventually(SOON, "CPI's DaemonSet is there", || {
        bed.get(&["daemonset", "-n", "vmware-system-cpi", "vsphere-cloud-controller-manager"])
    });
    throughout(Duration::from_secs(20), "no CSI workload while CPI does not work", || {
        let early = bed.audit()?.filter(|r| r.is_write() && is_csi_workload(r));
        if early.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{early:?}")) }
    });
    let csi_waits = condition(&bed, "vdo", CONFIG, "CSIReady").unwrap();
    bed.hold_pods(&[]).unwrap();
    await_condition(&bed, "vdo", CONFIG, "CPIReady", "True", SOON);
    let two_of_three = await_said(&bed, "vdo", CONFIG, "CSIReady", SOON, |said| {
        said.message.contains("registered on 2 of 3")
    });
    bed.withhold_csinodes(&[]).unwrap();
    await_condition(&bed, "vdo", CONFIG, "CSIReady", "True", SOON);
    let ready = await_condition(&bed, "vdo", CONFIG, "Ready", "True", Duration::from_secs(60));
    Story { bed, csi_waits, two_of_three, ready }
}

#[test]
fn both_drivers_become_ready_and_the_vdoconfig_says_so() {
    let story = story();
    assert_eq!(story.ready.status, "True");
    let config = story.bed.get(&["vdo", CONFIG, "-n", NAMESPACE]).unwrap();
    let status = &config["status"];
    assert_eq!(status["cpi"]["installed"]["release"], "1.36.0", "{status:#}");
    assert_eq!(status["csi"]["installed"]["release"], "3.7.0", "{status:#}");
    assert_eq!(status["nodes"]["initialised"], 3);
    assert_eq!(status["cpi"]["phase"], "Configured");
    assert!(status["csi"]["clusterID"].is_string());
}

#[test]
fn csi_waited_for_cpi_and_said_so() {
    let story = story();
    assert_ne!(story.csi_waits.status, "True");
    assert!(story.csi_waits.message.contains("CPI"), "{:?}", story.csi_waits);
    // The API server's own record: no workload of CSI before CPI was seen working.
    let config = story.bed.get(&["vdo", CONFIG, "-n", NAMESPACE]).unwrap();
    let conditions = config["status"]["conditions"].as_array().unwrap().clone();
    let cpi = conditions.iter().find(|c| c["type"] == "CPIReady").unwrap();
    let since = cpi["lastTransitionTime"].as_str().unwrap().parse().unwrap();
    let writes = story.bed.audit().unwrap().accepted_writes().filter(is_csi_workload);
    assert!(!writes.is_empty());
    assert_eq!(writes.since(since).count(), writes.count(), "a CSI workload was written before {since}");
}

#[test]
fn a_node_without_registration_is_named_and_keeps_csi_from_ready() {
    let said = &story().two_of_three;
    assert_ne!(said.status, "True");
    assert!(said.message.contains("registered on 2 of 3 nodes; missing: "), "{said:?}");
}

#[test]
fn every_provider_id_was_written_by_the_cloud_provider_under_its_own_account() {
    let story = story();
    let nodes = story.bed.get(&["nodes"]).unwrap();
    for node in nodes["items"].as_array().unwrap() {
        assert!(node["spec"]["providerID"].as_str().unwrap().starts_with("vsphere://"), "{node:#}");
    }
    let audit = story.bed.audit().unwrap().accepted_writes();
    let by_cpi = audit.filter(|r| r.user == CPI_ACCOUNT && r.resource == "nodes" && r.subresource.is_empty());
    assert!(by_cpi.count() >= 3, "{by_cpi:?}");
    let by_others = audit.filter(|r| {
        r.resource == "nodes"
            && r.subresource.is_empty()
            && r.user.starts_with("system:serviceaccount:")
            && r.user != CPI_ACCOUNT
            && !r.user.starts_with("system:serviceaccount:kube-system:")
    });
    assert!(by_others.is_empty(), "{by_others:?}");
}

#[test]
fn every_operator_and_driver_is_seen_under_its_own_account_and_none_was_ever_refused() {
    let story = story();
    let audit = story.bed.audit().unwrap();
    for (namespace, account) in accounts() {
        // What this very test asks under their names, with kubectl, is not theirs.
        let mine = audit.by_account(namespace, account).filter(|r| !r.user_agent.starts_with("kubectl"));
        assert!(!mine.is_empty(), "nothing was asked by {namespace}/{account}");
        let refused = mine.forbidden();
        assert!(refused.is_empty(), "{namespace}/{account}: {refused:#?}");
    }
}

/// The accounts of the operators and of the drivers.
fn accounts() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = OPERATORS.iter().map(|name| (NAMESPACE, *name)).collect();
    all.push(("vmware-system-cpi", "vdo-cpi"));
    all.push(("vmware-system-csi", "vsphere-csi-controller"));
    all
}

#[test]
fn each_account_is_refused_what_it_has_no_business_with() {
    let bed = &story().bed;
    for (namespace, account) in accounts() {
        let token = bed.kubectl(&["create", "token", account, "-n", namespace]).unwrap();
        // No kubeconfig: a client certificate in it would speak louder than the token.
        let mut kubectl = std::process::Command::new(bed.program("kubectl"));
        kubectl.args(["--kubeconfig=/dev/null", "--server", &std::env::var("APISERVER").unwrap()]);
        kubectl.args(["--certificate-authority", &bed.path("pki/ca.crt").display().to_string()]);
        kubectl.args(["--token", token.trim(), "get", "secrets", "-n", "default"]);
        let error = output_of(&mut kubectl, "").unwrap_err();
        let who = format!("system:serviceaccount:{namespace}:{account}");
        let said = format!("{error:#}");
        assert!(said.contains("forbidden") && said.contains(&who), "{who}: {said}");
    }
}

#[test]
fn the_real_scheduler_placed_the_operators_although_every_node_was_tainted_and_no_cluster_dns_ran() {
    let bed = &story().bed;
    let bound = bed
        .audit()
        .unwrap()
        .accepted_writes()
        .filter(|r| r.resource == "pods" && r.subresource == "binding" && r.namespace == NAMESPACE);
    assert!(bound.count() >= 6, "{bound:?}");
    assert!(bound.filter(|r| r.user != "system:kube-scheduler").is_empty());
    // They were bound before the first node lost its taint.
    let first =
        bed.audit().unwrap().accepted_writes().filter(|r| r.user == CPI_ACCOUNT && r.resource == "nodes");
    let first = first.requests.first().unwrap().received;
    assert!(bound.filter(|r| r.received < first).count() >= 6);
    let dns = bed.get(&["services", "-n", "kube-system"]).unwrap();
    assert!(dns["items"].as_array().unwrap().is_empty(), "a cluster DNS is there");
}

#[test]
fn no_role_holds_a_wildcard_a_right_to_grant_or_cluster_wide_secrets() {
    let bed = &story().bed;
    let mut roles = Vec::new();
    for kind in ["clusterroles", "roles"] {
        let list = bed.get(&[kind, "-A", "-l", "app.kubernetes.io/managed-by in (vdo,Helm)"]).unwrap();
        roles.extend(list["items"].as_array().unwrap().clone());
    }
    assert!(roles.len() >= 8, "{} roles", roles.len());
    for role in roles {
        let name = format!("{} {}", role["kind"], role["metadata"]["name"]);
        for rule in role["rules"].as_array().unwrap() {
            let text = rule.to_string();
            for word in ["\"*\"", "\"escalate\"", "\"bind\"", "\"impersonate\""] {
                assert!(!text.contains(word), "{name}: {text}");
            }
            let secrets = rule["resources"].as_array().is_some_and(|r| r.contains(&"secrets".into()));
            assert!(!(secrets && role["kind"] == "ClusterRole"), "{name}: {text}");
        }
    }
}

#[test]
fn a_volume_is_made_and_deleted_through_the_real_controller() {
    let story = story();
    let bed = &story.bed;
    let said = round_trip(bed, "pvc-e2e", SOON);
    assert!(said.to_lowercase().contains("deleted"), "{said}");
}

#[test]
fn the_operators_rest_once_everything_is_installed() {
    let story = story();
    let writes = || {
        let audit = story.bed.audit().unwrap().accepted_writes();
        let ours = audit.filter(|r| {
            OPERATORS.iter().any(|name| r.user == format!("system:serviceaccount:{NAMESPACE}:{name}"))
                && r.resource != "leases"
                && r.resource != "events"
        });
        ours.count()
    };
    let before = writes();
    throughout(Duration::from_secs(15), "nothing is written in the steady state", || {
        let now = writes();
        if now == before { Ok(()) } else { Err(format!("{} writes more", now - before)) }
    });
}

#[test]
fn one_login_and_few_calls_are_enough_for_an_installation() {
    let story = story();
    let calls = story.bed.vcenter(1).admin_get("/calls").unwrap();
    let core = calls["userAgents"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(agent, _)| agent.starts_with("vdo-core"))
        .map(|(_, counts)| counts.clone())
        .unwrap_or_else(|| panic!("vdo-core never called: {calls:#}"));
    assert_eq!(core["logins"]["ok"], 1, "{core:#}");
    assert_eq!(core["logins"]["refused"], 0, "{core:#}");
}
