//! What nobody may do with the accounts of VDO is tried with their own tokens on a real API server, and refused. Rows of
//! `e2e/threats.toml`, by their ids; no node is there, so nothing of the chart runs.

#![allow(clippy::unwrap_used)]

#[path = "threats/attempts.rs"]
mod attempts;
#[path = "threats/world.rs"]
mod world;

use attempts::{administrator, everything, rbac};
use e2e::crd::NAMESPACE;
use kube::Client;
use serde_json::{Value, json};
use testbed::bed::Bed;
use world::{
    ACCOUNTS, Answer, Attempt, CPI_NAMESPACE, CSI_NAMESPACE, VICTIM, World, account, path, rendered,
};

/// How many things each account must be refused, at the least.
const LEAST: usize = 40;

/// Refused because this account has no right to it, and for no other reason.
fn is_refused(answer: &Answer, namespace: &str, name: &str) -> bool {
    let who = format!("User \"system:serviceaccount:{namespace}:{name}\" cannot ");
    answer.code == 403 && answer.message.contains(&who)
}

/// One thing of its daily work, which each account may do.
fn daily_work(account: &str) -> Attempt {
    Attempt::get(match account {
        "vdo-core" => "/apis/vdo.vmware.com/v1alpha1/vdoconfigs".to_owned(),
        "cpi-operator" | "csi-operator" => {
            format!("/apis/vdo.vmware.com/v1alpha1/namespaces/{NAMESPACE}/vdoconfigs")
        }
        "vdo-cpi" => "/api/v1/nodes".to_owned(),
        "vsphere-csi-controller" => "/api/v1/persistentvolumes".to_owned(),
        "vsphere-csi-node" => format!("/api/v1/namespaces/{CSI_NAMESPACE}/configmaps"),
        other => panic!("nobody said what {other} does"),
    })
}

#[test]
fn t1_no_account_of_ours_is_a_way_to_the_rest_of_the_cluster() {
    let world = World::of(Bed::from_env());
    let all = attempts::all();
    let mut wrong = Vec::new();
    // For an administrator each of them is a real request, so a refusal is one of the right.
    for (attempt, _) in &all {
        let Answer { code, message } = world.ask_as_admin(attempt);
        let unknown = code == 404 && message.contains("could not find the requested resource");
        if unknown || [401, 403, 405].contains(&code) {
            wrong.push(format!("administrator: {} {}: {code} {message}", attempt.method, attempt.path));
        }
    }
    for (namespace, name) in ACCOUNTS {
        let client = world.account(namespace, name);
        let usual = world.ask(&client, &daily_work(name));
        assert_eq!(usual.code, 200, "{name}: {usual:?}");
        let mut refused = 0;
        for (attempt, granted) in &all {
            let answer = world.ask(&client, attempt);
            let is_refused = is_refused(&answer, namespace, name);
            if is_refused == granted.contains(&name) {
                wrong.push(format!("{name}: {} {}: {answer:?}", attempt.method, attempt.path));
            }
            refused += usize::from(is_refused);
        }
        println!("{name}: {refused} of {} attempts refused", all.len());
        assert!(refused >= LEAST, "{name}: {refused}\n{}", wrong.join("\n"));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Asks to write what must not be written under names that an operator may write, and then what it does write there.
#[track_caller]
fn not_widened(world: &World, client: &Client, right: &[Value], wrong: &[Value]) {
    for object in wrong {
        let answer = world.ask(client, &Attempt::apply(object));
        assert!(
            answer.code == 403 && answer.message.contains("to grant RBAC permissions not currently held"),
            "{}: {answer:?}",
            path(object)
        );
    }
    for object in right {
        let answer = world.ask(client, &Attempt::apply(object));
        assert_eq!(answer.code, 200, "{}: {answer:?}", path(object));
    }
}

#[test]
fn t1_what_an_operator_may_write_it_may_not_widen() {
    let world = World::of(Bed::from_env());
    for (operator, driver, namespace, cluster, local) in [
        ("cpi-operator", "cpi", CPI_NAMESPACE, "vdo-cpi", "vdo-cpi-credentials"),
        ("csi-operator", "csi", CSI_NAMESPACE, "vdo-csi-controller", "vdo-csi-controller"),
    ] {
        let client = world.account(NAMESPACE, operator);
        let objects = rendered(&world.bed, driver);
        let grants: Vec<Value> =
            objects.into_iter().filter(|it| it["apiVersion"] == "rbac.authorization.k8s.io/v1").collect();
        assert!(grants.len() >= 4, "{grants:#?}");
        // A binding that is there cannot be turned to another role by anybody: this one is new.
        for kind in ["clusterrolebinding", "rolebinding"] {
            let name = if kind == "clusterrolebinding" { cluster } else { local };
            world.bed.kubectl(&["delete", kind, name, "-n", namespace, "--ignore-not-found"]).unwrap();
        }
        let secrets =
            json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]});
        let escalating = json!({"rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "verbs": ["escalate", "bind"]}]});
        let impersonating =
            json!({"rules": [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]});
        let wrong = [
            rbac("ClusterRole", None, cluster, everything()),
            rbac("ClusterRole", None, cluster, secrets),
            rbac("ClusterRole", None, cluster, escalating),
            rbac("ClusterRole", None, cluster, impersonating),
            rbac("ClusterRoleBinding", None, cluster, administrator(NAMESPACE, operator)),
            rbac("Role", Some(namespace), local, everything()),
            rbac("RoleBinding", Some(namespace), local, administrator(NAMESPACE, operator)),
        ];
        not_widened(&world, &client, &grants, &wrong);
    }
}

#[test]
fn t2_t12_the_chart_gives_no_user_a_right_to_our_kinds() {
    let world = World::of(Bed::from_env());
    // Roles of users that a cluster puts together by itself take nothing of ours in.
    let roles = world.bed.get(&["clusterroles"]).unwrap();
    let mut gathered = 0;
    for role in roles["items"].as_array().unwrap() {
        let labels = role["metadata"]["labels"].as_object().into_iter().flatten();
        if labels.into_iter().any(|(key, _)| key.starts_with("rbac.authorization.k8s.io/aggregate-to-")) {
            gathered += 1;
            assert!(!role["rules"].to_string().contains("vdo.vmware.com"), "{role:#}");
        }
    }
    assert!(gathered >= 3, "{gathered}");

    // Somebody who may edit whatever else is in the namespace.
    world.apply(&account(VICTIM, "editor"));
    let edits = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": VICTIM}],
    });
    world.apply(&rbac("RoleBinding", Some(NAMESPACE), "editor", edits));
    let editor = world.account(VICTIM, "editor");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}});
    let answer =
        world.ask(&editor, &Attempt::create(format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), map));
    assert_eq!(answer.code, 200, "{answer:?}");
    let place = format!("/apis/vdo.vmware.com/v1alpha1/namespaces/{NAMESPACE}");
    let ready = json!({"status": {"conditions": []}});
    let mut attempts = Vec::new();
    for kind in ["vdoconfigs", "vspherecloudconfigs", "compatibilityconfigs"] {
        attempts.extend([
            Attempt::create(format!("{place}/{kind}"), json!({})),
            Attempt::change(format!("{place}/{kind}/vdo"), json!({"spec": {}})),
            Attempt::change(format!("{place}/{kind}/vdo/status"), ready.clone()),
            Attempt::replace(format!("{place}/{kind}/vdo/status"), ready.clone()),
            Attempt::delete(format!("{place}/{kind}/vdo")),
        ]);
    }
    for attempt in attempts {
        let answer = world.ask(&editor, &attempt);
        assert!(is_refused(&answer, VICTIM, "editor"), "{} {}: {answer:?}", attempt.method, attempt.path);
        assert_ne!(world.ask_as_admin(&attempt).code, 403, "{}", attempt.path);
    }
}

#[test]
fn t11_whoever_has_only_signed_in_reads_nothing_of_ours() {
    let world = World::of(Bed::from_env());
    world.apply(&account(VICTIM, "somebody"));
    let somebody = world.account(VICTIM, "somebody");
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer =
        world.ask(&somebody, &Attempt::create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review));
    assert!(answer.message.contains(&format!("system:serviceaccount:{VICTIM}:somebody")), "{answer:?}");
    let secrets = world.bed.get(&["secrets", "-n", CSI_NAMESPACE]).unwrap();
    let secrets = secrets["items"].as_array().unwrap();
    let secret = secrets.first().expect("the driver's configuration")["metadata"]["name"].as_str().unwrap();
    let mut paths = vec![format!("/api/v1/namespaces/{CSI_NAMESPACE}/secrets/{secret}")];
    for namespace in [NAMESPACE, CPI_NAMESPACE, CSI_NAMESPACE] {
        for kind in ["secrets", "configmaps", "pods", "serviceaccounts"] {
            paths.push(format!("/api/v1/namespaces/{namespace}/{kind}"));
        }
        paths.push(format!("/apis/vdo.vmware.com/v1alpha1/namespaces/{namespace}/vdoconfigs"));
    }
    for path in paths {
        let answer = world.ask(&somebody, &Attempt::get(&path));
        assert!(is_refused(&answer, VICTIM, "somebody"), "{path}: {answer:?}");
        assert_eq!(world.ask_as_admin(&Attempt::get(&path)).code, 200, "{path}");
    }
    // Nor is a group of users given anything.
    let mut bindings = Vec::new();
    for kind in ["rolebindings", "clusterrolebindings"] {
        let list = world.bed.get(&[kind, "-A", "-l", "app.kubernetes.io/managed-by in (vdo,Helm)"]).unwrap();
        bindings.extend(list["items"].as_array().unwrap().clone());
    }
    assert!(bindings.len() >= 12, "{}", bindings.len());
    for binding in bindings {
        for subject in binding["subjects"].as_array().unwrap() {
            let whom = (subject["namespace"].as_str().unwrap_or_default(), subject["name"].as_str().unwrap());
            assert!(subject["kind"] == "ServiceAccount" && ACCOUNTS.contains(&whom), "{binding:#}");
        }
    }
}

#[test]
fn t13_what_was_granted_under_a_name_and_label_of_ours_is_gone_after_an_apply() {
    let world = World::of(Bed::from_env());
    for (operator, driver) in [("cpi-operator", "cpi"), ("csi-operator", "csi")] {
        let client = world.account(NAMESPACE, operator);
        let objects = rendered(&world.bed, driver);
        let mut hostile = 0;
        for object in &objects {
            let mut planted = object.clone();
            if object.get("rules").is_some() {
                planted["rules"] = everything()["rules"].clone();
            } else if object.get("subjects").is_some() {
                planted["subjects"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"kind": "ServiceAccount", "name": "default", "namespace": VICTIM}));
            } else {
                continue;
            }
            world.apply(&planted);
            let there = world.ask_as_admin(&Attempt::get(path(object))).message;
            assert!(there.contains(VICTIM) || there.contains("\"*\""), "{there}");
            hostile += 1;
        }
        assert!(hostile >= 4, "{hostile}");
        // With its own token, as the operator does: it may write all of it.
        for object in &objects {
            let answer = world.ask(&client, &Attempt::apply(object).for_good());
            assert_eq!(answer.code, 200, "{}: {answer:?}", path(object));
            let now: Value = serde_json::from_str(&answer.message).unwrap();
            for field in ["rules", "subjects", "roleRef"] {
                assert_eq!(now.get(field), object.get(field), "{}", path(object));
            }
        }
        println!("{operator}: {} objects applied over {hostile} planted ones", objects.len());
    }
}

#[test]
fn t18_the_pods_of_the_operators_meet_the_level_restricted() {
    const RESTRICTED: &str = "restricted";
    let world = World::of(Bed::from_env());
    world.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RESTRICTED,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}));
    let violates = |pod: &Value| {
        let answer = world
            .ask_as_admin(&Attempt::create(format!("/api/v1/namespaces/{RESTRICTED}/pods"), pod.clone()));
        match (answer.code, answer.message.contains("violates PodSecurity \"restricted")) {
            (200, _) => false,
            (403, true) => true,
            _ => panic!("{answer:?}"),
        }
    };
    let deployments = world.bed.get(&["deployments", "-n", NAMESPACE]).unwrap();
    let deployments = deployments["items"].as_array().unwrap();
    assert_eq!(deployments.len(), 3);
    for deployment in deployments {
        let name = deployment["metadata"]["name"].as_str().unwrap();
        world.apply(&account(RESTRICTED, name));
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
        pod["spec"] = deployment["spec"]["template"]["spec"].clone();
        assert!(!violates(&pod), "{pod:#}");
        let with = |change: fn(&mut Value)| {
            let mut worse = pod["spec"].clone();
            change(&mut worse);
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": worse})
        };
        for worse in [
            with(|spec| spec["containers"][0]["securityContext"] = json!({"privileged": true})),
            with(|spec| spec["containers"][0]["securityContext"]["capabilities"] = json!({})),
            with(|spec| spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into()),
            with(|spec| spec["securityContext"]["seccompProfile"] = json!({"type": "Unconfined"})),
            with(|spec| spec["securityContext"]["runAsNonRoot"] = false.into()),
            // What global.bootstrap.hostNetwork asks for, and the docs say.
            with(|spec| spec["hostNetwork"] = true.into()),
            with(|spec| spec["volumes"] = json!([{"name": "node", "hostPath": {"path": "/"}}])),
        ] {
            assert!(violates(&worse), "{worse:#}");
        }
    }
}
