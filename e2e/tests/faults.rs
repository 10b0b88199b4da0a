//! What goes wrong ends in one condition that names the object, the cause and the next step. The rows share one bed;
//! each begins and ends with the same baseline.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, bail};
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{
    CONFIG, SECRET, Said, VCENTER, apply_secret, apply_vcenter, await_condition, await_said, both_drivers,
    install_chart, matrix, vcenter_config,
};
use serde_json::{Value, json};
use testbed::bed::{Bed, output_of};
use testbed::wait::{eventually, throughout};

const SOON: Duration = Duration::from_secs(60);
const DRIVER_NAMESPACES: [&str; 2] = ["vmware-system-cpi", "vmware-system-csi"];

/// One row at a time, whatever the test runner does.
static ROW: Mutex<()> = Mutex::new(());

/// Begins a row: the chart is there, and nothing else of ours.
fn row(work: impl FnOnce(&Bed)) {
    let _one = ROW.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let bed = Bed::from_env();
    install_chart(&bed, &[]);
    baseline(&bed);
    bed.vcenter(1).admin_post("/calls/reset", &Value::Null).unwrap();
    bed.vcenter(1).admin_post("/connections/reset", &Value::Null).unwrap();
    work(&bed);
    clear(&bed);
    baseline(&bed);
}

/// Takes away what a row made, in the way a user does.
fn clear(bed: &Bed) {
    for (kind, name) in [("vdo", CONFIG), ("vcc", VCENTER), ("secret", SECRET), ("configmap", "vcenter-ca")] {
        let args = ["delete", kind, name, "-n", NAMESPACE, "--ignore-not-found", "--timeout=90s"];
        bed.kubectl(&args).unwrap_or_else(|error| panic!("{error:#}\n{}", e2e::stand::operator_logs(bed)));
    }
    bed.kubectl(&["delete", "configmap", "comp-matrix-config", "-n", NAMESPACE, "--ignore-not-found"])
        .unwrap();
}

fn baseline(bed: &Bed) {
    eventually(SOON, "the baseline", || {
        let ours = bed.get(&["vdo,vcc", "-A"])?;
        if !ours["items"].as_array().unwrap().is_empty() {
            bail!("{ours:#}");
        }
        no_driver_object(bed)
    });
}

/// Fails if anything of a driver is there.
fn no_driver_object(bed: &Bed) -> Result<()> {
    for namespace in DRIVER_NAMESPACES {
        let kinds = "daemonsets,deployments,secrets,configmaps,serviceaccounts,roles,rolebindings,services";
        let found = bed.get(&[kinds, "-n", namespace, "-l", "vdo.vmware.com/driver"])?;
        let names: Vec<&Value> =
            found["items"].as_array().unwrap().iter().map(|o| &o["metadata"]["name"]).collect();
        if !names.is_empty() {
            bail!("{namespace}: {names:?}");
        }
    }
    let found = bed.get(&["clusterroles,clusterrolebindings,csidrivers", "-l", "vdo.vmware.com/driver"])?;
    if found["items"].as_array().unwrap().is_empty() { Ok(()) } else { bail!("{found:#}") }
}

/// What the simulator counted for vdo-core.
fn core_calls(bed: &Bed) -> Value {
    let calls = bed.vcenter(1).admin_get("/calls").unwrap();
    let agents = calls["userAgents"].as_object().cloned().unwrap_or_default();
    agents
        .into_iter()
        .find(|(agent, _)| agent.starts_with("vdo-core"))
        .map_or(Value::Null, |(_, counts)| counts)
}

fn pods_of(bed: &Bed, operator: &str) -> Vec<(String, i64)> {
    let label = format!("app.kubernetes.io/name={operator}");
    let pods = bed.get(&["pods", "-n", NAMESPACE, "-l", &label]).unwrap();
    let mut pods: Vec<(String, i64)> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or_default();
            (pod["metadata"]["name"].as_str().unwrap().to_owned(), restarts)
        })
        .collect();
    pods.sort();
    pods
}

fn names_the_next_step(said: &Said, words: &[&str]) {
    for word in words {
        assert!(said.message.contains(word), "{word:?} is not in {said:?}");
    }
}

#[test]
fn a_wrong_password_is_tried_once_over_restarts_and_replicas_and_mended_without_one() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        let right = vcenter.password().unwrap();
        apply_secret(bed, &vcenter.user, &format!("{right}x"));
        apply_vcenter(bed);
        apply(bed, &matrix()).unwrap();
        apply(bed, &both_drivers()).unwrap();
        let said = await_condition(bed, "vcc", VCENTER, "CredentialsValid", "False", SOON);
        names_the_next_step(&said, &[SECRET]);
        assert_eq!(core_calls(bed)["logins"]["refused"], 1);

        // Both replicas start anew; the refused version is still on record.
        bed.kubectl(&["rollout", "restart", "deployment/vdo-core", "-n", NAMESPACE]).unwrap();
        bed.kubectl(&["rollout", "status", "deployment/vdo-core", "-n", NAMESPACE, "--timeout=60s"]).unwrap();
        throughout(Duration::from_secs(20), "no second login", || {
            let refused = core_calls(bed)["logins"]["refused"].as_i64().unwrap_or_default();
            no_driver_object(bed)?;
            if refused == 1 { Ok(()) } else { Err(anyhow::anyhow!("{refused} logins")) }
        });

        let before = pods_of(bed, "vdo-core");
        apply_secret(bed, &vcenter.user, &right);
        await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
        await_condition(bed, "vdo", CONFIG, "Ready", "True", SOON);
        assert_eq!(pods_of(bed, "vdo-core"), before);
    });
}

#[test]
fn an_untrusted_certificate_gets_no_byte_of_us_and_its_fingerprint_can_be_accepted() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply(bed, &vcenter_config(bed, &json!({}))).unwrap();
        let said = await_condition(bed, "vcc", VCENTER, "Trusted", "False", SOON);
        let connections = vcenter.admin_get("/connections").unwrap();
        let connections =
            connections.as_array().cloned().or_else(|| connections["connections"].as_array().cloned());
        let connections = connections.unwrap();
        assert!(!connections.is_empty(), "nobody knocked");
        for connection in &connections {
            assert_eq!(connection["applicationBytes"], 0, "{connection:#}");
        }
        assert_eq!(core_calls(bed), Value::Null, "a call was made to an untrusted peer");
        let shown = bed.get(&["vcc", VCENTER, "-n", NAMESPACE]).unwrap();
        let sha256 = shown["status"]["presented"]["sha256"].as_str().unwrap().to_owned();
        assert!(said.message.contains(&sha256), "{said:?}");

        // The message carries the command that accepts this very certificate.
        let (_, command) = said.message.split_once("kubectl ").unwrap();
        let command = command.split_once("}}'").map(|(words, _)| format!("kubectl {words}}}}}'")).unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-c", &command]).env("KUBECONFIG", bed.kubeconfig());
        shell.env("PATH", format!("{}:{}", bed.path("bin").display(), std::env::var("PATH").unwrap()));
        output_of(&mut shell, "").unwrap();
        await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
        assert_eq!(core_calls(bed)["logins"]["ok"], 1);
    });
}

#[test]
fn insecure_is_the_users_explicit_word_and_is_told_loudly() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply(bed, &vcenter_config(bed, &json!({"insecure": true}))).unwrap();
        await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
        assert_eq!(core_calls(bed)["logins"]["ok"], 1);
        let said = e2e::stand::condition(bed, "vcc", VCENTER, "Trusted").unwrap();
        assert_eq!(said.reason, "InsecureByRequest", "{said:?}");
    });
}

#[test]
fn a_missing_datacenter_is_named() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply_vcenter(bed);
        apply(
            bed,
            &vcenter_config(bed, &json!({"caRef": {"name": "vcenter-ca"}, "datacenters": ["Elsewhere"]})),
        )
        .unwrap();
        let said = await_condition(bed, "vcc", VCENTER, "DatacentersFound", "False", SOON);
        names_the_next_step(&said, &["Elsewhere"]);
        let object = bed.get(&["vcc", VCENTER, "-n", NAMESPACE]).unwrap();
        assert_eq!(object["status"]["config"], "failed");
        assert!(object["status"]["message"].as_str().unwrap().contains("Elsewhere"));
    });
}

#[test]
fn an_unreachable_vcenter_is_named() {
    row(|bed| {
        apply_secret(bed, "user@vsphere.local", "irrelevant");
        apply(bed, &vcenter_config(bed, &json!({"vcIp": "no-such-host.example.com"}))).unwrap();
        let said = await_condition(bed, "vcc", VCENTER, "Reachable", "False", SOON);
        assert_eq!(said.reason, "DNSFailure", "{said:?}");
        names_the_next_step(&said, &["no-such-host.example.com"]);
        apply(bed, &vcenter_config(bed, &json!({"vcIp": bed.vcenter(1).address, "port": 4443}))).unwrap();
        let said =
            await_said(bed, "vcc", VCENTER, "Reachable", SOON, |said| said.reason == "ConnectionRefused");
        names_the_next_step(&said, &["4443"]);
    });
}

#[test]
fn a_missing_secret_is_named_and_picked_up_when_it_comes() {
    row(|bed| {
        apply_vcenter(bed);
        let said = await_condition(bed, "vcc", VCENTER, "CredentialsValid", "False", SOON);
        names_the_next_step(&said, &[SECRET, "kubernetes.io/basic-auth"]);
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        await_condition(bed, "vcc", VCENTER, "Ready", "True", Duration::from_secs(15));
    });
}

#[test]
fn an_unreadable_secret_is_told_apart_from_a_missing_one() {
    row(|bed| {
        let role = bed.get(&["role", "vdo-core", "-n", NAMESPACE]).unwrap();
        let mut without = role.clone();
        let rules = without["rules"].as_array_mut().unwrap();
        rules.retain(|rule| !rule["resources"].as_array().is_some_and(|r| r.contains(&"secrets".into())));
        without["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        bed.kubectl_with(&["replace", "-f", "-"], &without.to_string()).unwrap();
        // A watch that is open already goes on; a new process has to ask.
        bed.kubectl(&["rollout", "restart", "deployment/vdo-core", "-n", NAMESPACE]).unwrap();
        bed.kubectl(&["rollout", "status", "deployment/vdo-core", "-n", NAMESPACE, "--timeout=60s"]).unwrap();
        apply_vcenter(bed);
        let said = await_said(bed, "vcc", VCENTER, "CredentialsValid", SOON, |said| {
            said.reason.contains("Unreadable")
        });
        names_the_next_step(&said, &["chart"]);
        let mut with = role;
        with["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        bed.kubectl_with(&["replace", "-f", "-"], &with.to_string()).unwrap();
    });
}

#[test]
fn no_match_names_the_nearest_row_and_the_bound_that_fails() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply_vcenter(bed);
        let mut old = matrix();
        let content = old["data"]["versionConfigContent"].as_str().unwrap();
        let content = content.replace("\"skewVersion\":\"1.36\"", "\"skewVersion\":\"1.30\"");
        old["data"]["versionConfigContent"] = content.into();
        apply(bed, &old).unwrap();
        apply(bed, &both_drivers()).unwrap();
        let said = await_condition(bed, "vdo", CONFIG, "CompatibilityResolved", "False", SOON);
        names_the_next_step(&said, &["1.36.0", "1.30", "1.36.3"]);
        no_driver_object(bed).unwrap();
    });
}
