//! What goes wrong ends in one condition that names the object, the cause and the next step. The rows share one bed;
//! each begins and ends with the same baseline.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Result, bail};
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{
    CONFIG, OPERATORS, SECRET, Said, VCENTER, apply_authority, apply_secret, apply_vcenter, await_condition,
    await_said, both_drivers, install_chart, matrix, operator_pods, vcenter_config,
};
use serde_json::{Value, json};
use testbed::audit::AuditLog;
use testbed::bed::{Bed, output_of};
use testbed::wait::{eventually, throughout};

const SOON: Duration = Duration::from_secs(120);

/// One row at a time, whatever the test runner does.
static ROW: Mutex<()> = Mutex::new(());

/// The chart, installed by the first row; it stays as a user's does.
static CHART: OnceLock<()> = OnceLock::new();

/// Begins a row: the chart is there, and nothing else of ours. So it ends.
fn row(work: impl FnOnce(&Bed)) {
    let one = ROW.lock();
    let bed = Bed::from_env();
    CHART.get_or_init(|| install_chart(&bed, &[]));
    let _one = one.unwrap_or_else(|broken| {
        // A row before did not come to its end: it failed for itself, and takes none along.
        clear(&bed);
        broken.into_inner()
    });
    baseline(&bed);
    bed.vcenter(1).admin_post("/calls/reset", &Value::Null).unwrap();
    work(&bed);
    clear(&bed);
    baseline(&bed);
}

/// Takes away what a row made, in the way a user does: the drivers first, while their vCenter is still known.
fn clear(bed: &Bed) {
    let made = [
        "secret/".to_owned() + SECRET,
        "configmap/vcenter-ca".to_owned(),
        "configmap/comp-matrix-config".to_owned(),
    ];
    let away = |names: &[&str]| {
        let args = [&["delete", "-n", NAMESPACE, "--ignore-not-found", "--timeout=90s"], names].concat();
        bed.kubectl(&args).unwrap_or_else(|error| panic!("{error:#}\n{}", e2e::stand::operator_logs(bed)));
    };
    away(&["vdo", CONFIG]);
    away(&["vcc", VCENTER]);
    away(&made.each_ref().map(String::as_str));
}

fn baseline(bed: &Bed) {
    eventually(SOON, "the baseline", || {
        let ours = bed.get(&["vdo,vcc", "-A"])?;
        if !ours["items"].as_array().unwrap().is_empty() {
            bail!("{ours:#}");
        }
        no_driver_object(bed)?;
        // vdo-core has left the vCenter, too. A driver that was killed may leave its session behind.
        let sessions = bed.vcenter(1).admin_get("/sessions")?;
        let ours = |it: &&Value| it["userAgent"].as_str().unwrap_or_default().starts_with("vdo-core");
        match sessions.as_array().unwrap().iter().find(ours) {
            Some(session) => bail!("{session:#}"),
            None => Ok(()),
        }
    });
}

/// Fails if anything of a driver is there, in whatever namespace.
fn no_driver_object(bed: &Bed) -> Result<()> {
    let kinds = "pods,daemonsets,deployments,secrets,configmaps,serviceaccounts,roles,rolebindings,services,\
        clusterroles,clusterrolebindings,csidrivers";
    let found = bed.get(&[kinds, "-A", "-l", "vdo.vmware.com/driver"])?;
    let names: Vec<String> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
        .collect();
    if names.is_empty() { Ok(()) } else { bail!("{names:?}") }
}

/// The API server's own record of the last removal: every workload of CSI was deleted before the first of CPI.
fn csi_went_before_cpi(bed: &Bed) {
    let audit = bed.audit().unwrap().accepted_writes().filter(|r| r.verb == "delete");
    let asked = audit.filter(|r| r.names("vdoconfigs", NAMESPACE, CONFIG));
    let asked = asked.requests.last().expect("the VDOConfig was deleted").received;
    let of = |namespace: &str| {
        let workloads = audit.since(asked).filter(|r| {
            r.namespace == namespace && matches!(r.resource.as_str(), "deployments" | "daemonsets")
        });
        let mut times: Vec<_> = workloads.requests.iter().map(|r| r.received).collect();
        times.sort();
        assert!(!times.is_empty(), "no workload of {namespace} was deleted");
        times
    };
    let (csi, cpi) = (of("vmware-system-csi"), of("vmware-system-cpi"));
    assert!(csi.last() < cpi.first(), "CSI {csi:?}, CPI {cpi:?}");
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

/// How many logins the simulator let in and refused, whoever asked.
fn logins(bed: &Bed) -> (i64, i64) {
    let calls = bed.vcenter(1).admin_get("/calls").unwrap();
    (calls["logins"]["ok"].as_i64().unwrap(), calls["logins"]["refused"].as_i64().unwrap())
}

fn pods_of(bed: &Bed, operator: &str) -> Vec<(String, i64)> {
    let mut pods: Vec<(String, i64)> = operator_pods(bed, operator)
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

/// The pods of vdo-core changed, and one of the new ones leads.
fn another_leads(bed: &Bed, before: &[(String, i64)]) {
    bed.kubectl(&["rollout", "restart", "deployment/vdo-core", "-n", NAMESPACE]).unwrap();
    bed.kubectl(&["rollout", "status", "deployment/vdo-core", "-n", NAMESPACE, "--timeout=60s"]).unwrap();
    let old: Vec<String> = before.iter().map(|(name, _)| name.clone()).collect();
    eventually(SOON, "the pods before are gone, and a new one leads", || {
        let pods = operator_pods(bed, "vdo-core")?;
        let lease = bed.get(&["lease", "vdo-core", "-n", NAMESPACE])?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let is_new = |pod: &Value| !old.iter().any(|name| pod["metadata"]["name"] == name.as_str());
        let leads = |pod: &Value| holder.contains(pod["metadata"]["uid"].as_str().unwrap());
        if pods.len() == 2 && pods.iter().all(is_new) && pods.iter().any(leads) {
            Ok(())
        } else {
            bail!("{holder} leads {pods:#?}")
        }
    });
}

/// The newest connection to the simulator at some time: a pod that was killed leaves older ones open.
struct Connections(i64);

impl Connections {
    fn so_far(bed: &Bed) -> Self {
        Connections(Self::all(bed).iter().map(|it| it["id"].as_i64().unwrap()).max().unwrap_or_default())
    }

    fn since(&self, bed: &Bed) -> Vec<Value> {
        Self::all(bed).into_iter().filter(|it| it["id"].as_i64().unwrap() > self.0).collect()
    }

    fn all(bed: &Bed) -> Vec<Value> {
        bed.vcenter(1).admin_get("/connections").unwrap().as_array().unwrap().clone()
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
        assert_eq!(said.reason, "LoginRefused");
        names_the_next_step(&said, &[SECRET, "Correct the Secret", "kubectl annotate", "retry-login"]);
        let said =
            await_said(bed, "vdo", CONFIG, "Ready", SOON, |said| said.message.contains("refused the login"));
        assert_eq!(said.status, "False", "{said:?}");
        assert_eq!(logins(bed), (0, 1));

        // Both replicas start anew, and the one that leads looks at the vCenter; the refused version is on record.
        let before = pods_of(bed, "vdo-core");
        assert_eq!(before.len(), 2, "{before:?}");
        let earlier = Connections::so_far(bed);
        another_leads(bed, &before);
        eventually(SOON, "the new leader looks", || {
            if earlier.since(bed).is_empty() { Err("nobody knocked") } else { Ok(()) }
        });
        throughout(Duration::from_secs(10), "no second login and no driver", || {
            no_driver_object(bed)?;
            let (ok, refused) = logins(bed);
            if (ok, refused) == (0, 1) { Ok(()) } else { bail!("{ok} logins and {refused} refused") }
        });
        let said = e2e::stand::condition(bed, "vcc", VCENTER, "CredentialsValid").unwrap();
        assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "LoginRefused"), "{said:?}");

        let before = pods_of(bed, "vdo-core");
        apply_secret(bed, &vcenter.user, &right);
        await_condition(bed, "vdo", CONFIG, "Ready", "True", SOON);
        assert_eq!(e2e::stand::condition(bed, "vcc", VCENTER, "Ready").unwrap().status, "True");
        assert_eq!(pods_of(bed, "vdo-core"), before);
        let core = core_calls(bed);
        assert_eq!((&core["logins"]["ok"], &core["logins"]["refused"]), (&json!(1), &json!(1)), "{core:#}");

        clear(bed);
        baseline(bed);
        csi_went_before_cpi(bed);
    });
}

#[test]
fn an_untrusted_certificate_gets_no_byte_of_us_and_its_fingerprint_can_be_accepted() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        let earlier = Connections::so_far(bed);
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply(bed, &vcenter_config(bed, &json!({}))).unwrap();
        let said = await_condition(bed, "vcc", VCENTER, "Trusted", "False", SOON);
        // At TCP somebody came; inside TLS nothing was said.
        let connections = earlier.since(bed);
        assert!(connections.iter().any(|it| it["rawBytesReceived"].as_i64() > Some(0)), "nobody knocked");
        for connection in &connections {
            assert_eq!(connection["applicationBytesReceived"], 0, "{connection:#}");
            assert_eq!(connection["requests"], 0, "{connection:#}");
        }
        assert_eq!(core_calls(bed), Value::Null, "a call was made to an untrusted peer");
        let own = vcenter.admin_get("/certificate").unwrap();
        let shown = bed.get(&["vcc", VCENTER, "-n", NAMESPACE]).unwrap();
        let shown = &shown["status"]["presented"];
        for digest in ["sha256", "sha1"] {
            assert_eq!(shown[digest], own[digest], "{shown:#}");
        }
        names_the_next_step(&said, &[shown["sha256"].as_str().unwrap(), "kubectl patch"]);

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
        let earlier = Connections::so_far(bed);
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply(bed, &vcenter_config(bed, &json!({"insecure": true}))).unwrap();
        await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
        assert_eq!(core_calls(bed)["logins"]["ok"], 1);
        let spoken = |it: &Value| it["applicationBytesReceived"].as_i64() > Some(0);
        assert!(earlier.since(bed).iter().any(spoken), "the login is not seen");
        let said = e2e::stand::condition(bed, "vcc", VCENTER, "Trusted").unwrap();
        assert_eq!(said.reason, "InsecureByRequest", "{said:?}");
        names_the_next_step(&said, &["WARNING", "spec.insecure", "spec.thumbprint"]);
    });
}

#[test]
fn a_missing_datacenter_is_named() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply_authority(bed);
        let named = |datacenter: &str| {
            vcenter_config(bed, &json!({"caRef": {"name": "vcenter-ca"}, "datacenters": [datacenter]}))
        };
        apply(bed, &named("Elsewhere")).unwrap();
        let said = await_condition(bed, "vcc", VCENTER, "DatacentersFound", "False", SOON);
        assert_eq!(said.reason, "DatacenterMissing", "{said:?}");
        names_the_next_step(&said, &["Elsewhere", "/DC0", "Correct spec.datacenters"]);
        let object = bed.get(&["vcc", VCENTER, "-n", NAMESPACE]).unwrap();
        assert_eq!(object["status"]["config"], "failed");
        assert!(object["status"]["message"].as_str().unwrap().contains("Elsewhere"));
        apply(bed, &named("DC0")).unwrap();
        await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
    });
}

#[test]
fn an_unreachable_vcenter_is_named() {
    row(|bed| {
        apply_secret(bed, "user@vsphere.local", "irrelevant");
        apply(bed, &vcenter_config(bed, &json!({"vcIp": "no-such-host.example.com"}))).unwrap();
        let said = await_condition(bed, "vcc", VCENTER, "Reachable", "False", SOON);
        assert_eq!(said.reason, "DNSFailure", "{said:?}");
        names_the_next_step(&said, &["no-such-host.example.com", "spec.vcIp"]);
        apply(bed, &vcenter_config(bed, &json!({"vcIp": bed.vcenter(1).address, "port": 4443}))).unwrap();
        let said =
            await_said(bed, "vcc", VCENTER, "Reachable", SOON, |said| said.reason == "ConnectionRefused");
        names_the_next_step(&said, &["4443", "spec.port"]);
    });
}

#[test]
fn a_missing_secret_is_named_and_picked_up_when_it_comes() {
    row(|bed| {
        apply_vcenter(bed);
        let said = await_condition(bed, "vcc", VCENTER, "CredentialsValid", "False", SOON);
        assert_eq!(said.reason, "SecretMissing", "{said:?}");
        let value = "global.credentials.kubeSystemSecrets";
        names_the_next_step(&said, &[SECRET, "kubernetes.io/basic-auth", value, "create it"]);
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        await_condition(bed, "vcc", VCENTER, "Ready", "True", Duration::from_secs(15));
    });
}

#[test]
fn an_unreadable_secret_is_told_apart_from_a_missing_one() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        let right = WithoutSecrets::take(bed);
        // A watch that is open already goes on; a new process has to ask.
        another_leads(bed, &pods_of(bed, "vdo-core"));
        apply_vcenter(bed);
        let said = await_said(bed, "vcc", VCENTER, "CredentialsValid", SOON, |said| {
            said.reason == "SecretUnreadable"
        });
        assert_eq!(said.status, "Unknown", "{said:?}");
        names_the_next_step(&said, &[SECRET, "forbidden", "chart", "global.credentials.kubeSystemSecrets"]);
        assert_eq!(logins(bed), (0, 0));

        let before = pods_of(bed, "vdo-core");
        drop(right);
        await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
        assert_eq!(pods_of(bed, "vdo-core"), before);
    });
}

/// vdo-core without the right to its Secrets, until this is dropped.
struct WithoutSecrets<'a> {
    bed: &'a Bed,
    role: String,
}

impl<'a> WithoutSecrets<'a> {
    fn take(bed: &'a Bed) -> Self {
        let mut role = bed.get(&["role", "vdo-core", "-n", NAMESPACE]).unwrap();
        role["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let with = WithoutSecrets { bed, role: role.to_string() };
        for rule in role["rules"].as_array_mut().unwrap() {
            rule["resources"].as_array_mut().unwrap().retain(|resource| resource != "secrets");
        }
        role["rules"].as_array_mut().unwrap().retain(|rule| rule["resources"] != json!([]));
        assert_ne!(role.to_string(), with.role, "vdo-core had no right to lose");
        bed.kubectl_with(&["replace", "-f", "-"], &role.to_string()).unwrap();
        with
    }
}

impl Drop for WithoutSecrets<'_> {
    fn drop(&mut self) {
        self.bed.kubectl_with(&["replace", "-f", "-"], &self.role).unwrap();
    }
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
        names_the_next_step(&said, &["nearest row", "1.36.0", "1.30", "1.36.3"]);
        let hosts = || bed.get(&["vcc", VCENTER, "-n", NAMESPACE]).unwrap()["status"]["esxi"].clone();
        assert_eq!(hosts(), Value::Null, "no row asked for them");

        // A bound that no host meets: from now on hosts are looked at, at once and over the session that is there.
        let asking = json!({"schemaVersion": 1, "rows": [{"driver": "CPI", "release": "1.36.0",
            "kubernetes": {"min": "1.30"}, "vsphere": {"min": "7.0"}, "esxi": {"min": "9.9"}}]});
        old["data"]["versionConfigContent"] = asking.to_string().into();
        apply(bed, &old).unwrap();
        let said = await_said(bed, "vdo", CONFIG, "CompatibilityResolved", SOON, |said| {
            said.reason == "NoReleaseFits" && said.message.contains("ESXi")
        });
        names_the_next_step(
            &said,
            &["1.36.0 needs ESXi 9.9 or newer", "a host of vCenter vcenter runs 8.0.2"],
        );
        assert_eq!(hosts()["versions"], json!(["8.0.2"]));
        assert_eq!(core_calls(bed)["logins"]["ok"], 1);
        throughout(Duration::from_secs(5), "nothing is installed", || no_driver_object(bed));
    });
}

/// A namespace in which nothing counts.
const ELSEWHERE: &str = "shop";

/// Objects beside those of the row, in both namespaces; gone when this is dropped.
struct Beside<'a> {
    bed: &'a Bed,
    names: Vec<[String; 3]>,
}

impl<'a> Beside<'a> {
    fn new(bed: &'a Bed) -> Self {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}});
        apply(bed, &namespace).unwrap();
        Beside { bed, names: Vec::new() }
    }

    /// Applies an object under another name, in this namespace.
    fn add(&mut self, mut object: Value, namespace: &str, name: &str) -> Result<()> {
        object["metadata"]["namespace"] = namespace.into();
        object["metadata"]["name"] = name.into();
        apply(self.bed, &object)?;
        let kind = object["kind"].as_str().unwrap().to_owned();
        self.names.push([kind, namespace.to_owned(), name.to_owned()]);
        Ok(())
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        for [kind, namespace, name] in &self.names {
            self.bed.kubectl(&["delete", kind, name, "-n", namespace, "--timeout=60s"]).ok();
        }
    }
}

/// Waits until this condition of an object in whatever namespace has this reason, and gives the object.
fn told(bed: &Bed, object: [&str; 3], type_: &str, reason: &str) -> (Said, Value) {
    let [kind, namespace, name] = object;
    eventually(SOON, &format!("{type_} of {kind} {namespace}/{name}"), || {
        let object = bed.get(&[kind, name, "-n", namespace])?;
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let Some(found) = conditions.iter().find(|it| it["type"] == type_ && it["reason"] == reason) else {
            bail!("{object:#}")
        };
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        let said = Said {
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            generation: found["observedGeneration"].as_i64().unwrap_or_default(),
        };
        assert_eq!((said.status.as_str(), said.generation), ("False", 1), "{said:?}");
        Ok((said, object))
    })
}

/// What the operators wrote to the objects of one namespace since the first `before` requests.
fn written_to(bed: &Bed, namespace: &str, before: usize) -> Vec<[String; 3]> {
    let audit = AuditLog { requests: bed.audit().unwrap().requests[before..].to_vec() };
    let writes = audit.accepted_writes();
    let mut rows: Vec<[String; 3]> = OPERATORS
        .iter()
        .flat_map(|operator| writes.by_account(NAMESPACE, operator).requests)
        .filter(|request| request.namespace == namespace)
        .map(|request| [request.resource, request.subresource, request.name])
        .collect();
    rows.sort();
    rows
}

#[test]
fn an_object_of_another_namespace_is_told_so_once_and_nothing_else_happens_to_it() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        let before = bed.audit().unwrap().requests.len();
        let mut beside = Beside::new(bed);
        // Everything that would make it count, if it were where the operators are.
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "metadata": {},
            "stringData": {"username": vcenter.user, "password": "not the right one"},
        });
        beside.add(secret, ELSEWHERE, SECRET).unwrap();
        beside.add(vcenter_config(bed, &json!({"insecure": true})), ELSEWHERE, VCENTER).unwrap();
        beside.add(both_drivers(), ELSEWHERE, CONFIG).unwrap();
        let reason = "NotInOperatorsNamespace";
        for type_ in ["Accepted", "Ready"] {
            let (said, object) = told(bed, ["vdo", ELSEWHERE, CONFIG], type_, reason);
            names_the_next_step(&said, &[NAMESPACE, "create it there"]);
            assert!(object["metadata"]["finalizers"].is_null(), "{object:#}");
            let parts: Vec<&String> = object["status"].as_object().unwrap().keys().collect();
            assert_eq!(parts, ["conditions", "observedGeneration"]);
        }
        let (said, object) = told(bed, ["vcc", ELSEWHERE, VCENTER], "Ready", reason);
        names_the_next_step(&said, &[NAMESPACE, "create it there"]);
        assert_eq!(object["status"]["config"], "failed");
        assert_eq!(object["status"]["conditions"].as_array().unwrap().len(), 1, "{object:#}");

        // The one that counts becomes what it was meant to be, and no pass on the way there looks at the others.
        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply_vcenter(bed);
        apply(bed, &matrix()).unwrap();
        apply(bed, &both_drivers()).unwrap();
        await_condition(bed, "vdo", CONFIG, "Ready", "True", SOON);
        let core = core_calls(bed);
        assert_eq!((&core["logins"]["ok"], &core["logins"]["refused"]), (&json!(1), &json!(0)), "{core:#}");

        // A new process finds its word on them, and tells only the one that came meanwhile.
        another_leads(bed, &pods_of(bed, "vdo-core"));
        beside.add(both_drivers(), ELSEWHERE, "later").unwrap();
        told(bed, ["vdo", ELSEWHERE, "later"], "Accepted", reason);
        let status = |kind: &str, name: &str| [kind, "status", name].map(str::to_owned);
        assert_eq!(
            written_to(bed, ELSEWHERE, before),
            [
                status("vdoconfigs", "later"),
                status("vdoconfigs", CONFIG),
                status("vspherecloudconfigs", VCENTER)
            ]
        );
        let audit = bed.audit().unwrap();
        let secrets = audit
            .by_account(NAMESPACE, "vdo-core")
            .filter(|it| it.resource == "secrets" && (it.namespace.is_empty() || it.namespace == ELSEWHERE));
        assert!(secrets.is_empty(), "{secrets:#?}");
    });
}

/// A CRD whose spec takes anything, until this is dropped.
struct Loosened<'a> {
    bed: &'a Bed,
    crd: String,
    spec: Value,
}

impl<'a> Loosened<'a> {
    const PATH: &'static str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

    fn new(bed: &'a Bed, crd: &str) -> Self {
        let crd = format!("{crd}.vdo.vmware.com");
        let spec = bed.get(&["crd", &crd]).unwrap().pointer(Self::PATH).unwrap().clone();
        let loosened = Loosened { bed, crd, spec };
        loosened.replace(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        loosened
    }

    fn replace(&self, spec: &Value) {
        let patch = json!([{"op": "replace", "path": Self::PATH, "value": spec}]).to_string();
        self.bed.kubectl(&["patch", "crd", &self.crd, "--type=json", "-p", &patch]).unwrap();
    }
}

impl Drop for Loosened<'_> {
    fn drop(&mut self) {
        self.replace(&self.spec);
    }
}

/// No vdo-core, until this is dropped: what is done meanwhile it finds all at once.
struct Stopped<'a>(&'a Bed);

impl<'a> Stopped<'a> {
    fn new(bed: &'a Bed) -> Self {
        let stopped = Stopped(bed);
        stopped.scale(0);
        eventually(SOON, "no vdo-core", || {
            let pods = pods_of(bed, "vdo-core");
            if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
        });
        stopped
    }

    fn scale(&self, replicas: usize) {
        let replicas = format!("--replicas={replicas}");
        self.0.kubectl(&["scale", "deployment/vdo-core", "-n", NAMESPACE, &replicas]).unwrap();
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.scale(2);
    }
}

#[test]
fn an_object_that_does_not_decode_is_told_the_field_once_and_stops_no_other() {
    row(|bed| {
        let vcenter = bed.vcenter(1).clone();
        let mut beside = Beside::new(bed);
        let before = bed.audit().unwrap().requests.len();
        let mut unknown = both_drivers();
        unknown["spec"]["deletionPolicy"] = "Perhaps".into();
        let mut misshapen = both_drivers();
        misshapen["spec"]["cloudProvider"] = "vcenter".into();
        let mut beyond = vcenter_config(bed, &json!({"insecure": true}));
        beyond["spec"]["port"] = 4_000_000_000_u32.into();
        // They are older than the one that counts: what cannot be read takes no place.
        let stopped = Stopped::new(bed);
        for (crd, object, name) in [
            ("vdoconfigs", &unknown, "unknown"),
            ("vdoconfigs", &misshapen, "misshapen"),
            ("vspherecloudconfigs", &beyond, "beyond"),
        ] {
            let loosened = Loosened::new(bed, crd);
            eventually(SOON, "the schema takes anything", || beside.add(object.clone(), NAMESPACE, name));
            drop(loosened);
            eventually(SOON, "the schema is what it was", || {
                let trial = ["create", "--dry-run=server", "-f", "-"];
                match bed.kubectl_with(&trial, &object.to_string()) {
                    Ok(_) => bail!("accepted: {object}"),
                    Err(_) => Ok(()),
                }
            });
        }
        drop(stopped);

        for type_ in ["Accepted", "Ready"] {
            let (said, _) = told(bed, ["vdo", NAMESPACE, "unknown"], type_, "NotDecodable");
            names_the_next_step(&said, &["spec.deletionPolicy", "Perhaps", "correct"]);
        }
        let (said, object) = told(bed, ["vcc", NAMESPACE, "beyond"], "Ready", "NotDecodable");
        names_the_next_step(&said, &["spec.port", "correct"]);
        assert_eq!(object["status"]["config"], "failed");
        // No status can be written to one whose fields have the wrong shape: the API server refuses. An event can.
        eventually(SOON, "an event about the misshapen one", || {
            let events = bed.get(&["events.events.k8s.io", "-n", NAMESPACE])?;
            let about =
                |it: &&Value| it["regarding"]["name"] == "misshapen" && it["reason"] == "NotDecodable";
            match events["items"].as_array().unwrap().iter().find(about) {
                Some(event) if event["note"].as_str().unwrap_or_default().contains("spec.cloudProvider") => {
                    Ok(())
                }
                found => bail!("{found:?}"),
            }
        });

        apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
        apply_vcenter(bed);
        apply(bed, &matrix()).unwrap();
        apply(bed, &both_drivers()).unwrap();
        await_condition(bed, "vdo", CONFIG, "Ready", "True", SOON);
        assert_eq!(e2e::stand::condition(bed, "vdo", CONFIG, "Accepted").unwrap().status, "True");
        // Over all the passes that this took, each was told once, or tried once.
        let audit = AuditLog { requests: bed.audit().unwrap().requests[before..].to_vec() };
        let audit = audit.by_account(NAMESPACE, "vdo-core").filter(|it| it.is_write());
        for (resource, name, accepted) in [
            ("vdoconfigs", "unknown", true),
            ("vdoconfigs", "misshapen", false),
            ("vspherecloudconfigs", "beyond", true),
        ] {
            let tried = audit.filter(|it| it.names(resource, NAMESPACE, name));
            assert_eq!(tried.count(), 1, "{tried:#?}");
            assert_eq!(!tried.accepted_writes().is_empty(), accepted, "{tried:#?}");
        }
    });
}
