use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::*;
use crate::root;

fn every_right(rights: &Rights) -> Vec<&Right> {
    rights.cluster.iter().chain(&rights.here).chain(rights.within.values().flatten()).collect()
}

fn every_rule(rights: &Rights) -> Vec<&PolicyRule> {
    every_right(rights).into_iter().map(|right| &right.rule).collect()
}

/// Whether the operator holds this right there; `None` is the whole cluster.
fn may(rights: &Rights, namespace: Option<&str>, atom: &Atom<'_>) -> bool {
    let local = namespace.and_then(|namespace| rights.within.get(namespace));
    holds(&rights.cluster, atom) || local.is_some_and(|rules| holds(rules, atom))
}

fn uncovered(rights: &Rights, namespace: Option<&str>, granted: &[PolicyRule]) -> Vec<String> {
    let atoms = granted.iter().flat_map(atoms);
    atoms.filter(|atom| !may(rights, namespace, atom)).map(|atom| format!("{namespace:?} {atom:?}")).collect()
}

/// Every object of the golden renders of an operator: of every release, with every kind of input.
fn rendered(folder: &str) -> Vec<Value> {
    let folder = root().unwrap().join("crates").join(folder);
    let mut objects = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let content = text.splitn(3, "---\n").nth(2).unwrap();
        if let Ok(list) = serde_saphyr::from_str::<Vec<Value>>(content) {
            objects.extend(list.into_iter().filter(Value::is_object));
        }
    }
    assert!(objects.len() > 100, "{} golden objects", objects.len());
    objects
}

#[test]
fn no_role_holds_what_none_should() {
    for rights in all() {
        for rule in every_rule(&rights) {
            let words = [&rule.api_groups, &rule.resources, &rule.resource_names];
            for word in words.into_iter().flatten().flatten().chain(&rule.verbs) {
                assert!(
                    !["*", "escalate", "bind", "impersonate"].contains(&word.as_str()),
                    "{}: {rule:?}",
                    rights.operator
                );
            }
            assert!(rule.non_resource_urls.is_none() && !rule.verbs.is_empty(), "{rule:?}");
        }
        for atom in rights.cluster.iter().flat_map(atoms) {
            assert!(!atom.resource.starts_with("secrets"), "{} in the cluster: {atom:?}", rights.operator);
        }
        assert!(every_rule(&rights).len() <= 60, "{}: {}", rights.operator, every_rule(&rights).len());
    }
}

/// Only applies are pinned, so an unpinned right to write is the driver's own, or one of the few below.
#[test]
fn what_an_operator_writes_of_its_own_is_pinned_by_name() {
    let free = |namespace: &str, atom: &Atom<'_>| match (namespace, atom.resource) {
        (CPI_NAMESPACE | CSI_NAMESPACE, "secrets" | "configmaps") => true,
        // The controllers name the pods; an operator restarts them and makes none.
        (CPI_NAMESPACE | CSI_NAMESPACE, "pods") => atom.verb == "delete",
        ("here", "leases" | "secrets" | "configmaps") => atom.verb == "create",
        ("here", "events") => matches!(atom.verb, "create" | "patch"),
        ("here", "vdoconfigs" | "vdoconfigs/status") => atom.verb == "patch",
        (_, "vdoconfigs/status" | "vspherecloudconfigs/status" | "compatibilityconfigs/status") => true,
        _ => false,
    };
    let cpi_granted = cpi_operator::render::granted();
    let csi_granted = csi_operator::render::granted_rules();
    let drivers: Vec<PolicyRule> = [
        cpi_granted.cluster,
        cpi_granted.driver_namespace,
        cpi_granted.kube_system,
        csi_granted.cluster,
        csi_granted.namespaced,
    ]
    .concat();
    for rights in all() {
        let places = [("cluster", &rights.cluster), ("here", &rights.here)];
        for (place, rules) in
            places.into_iter().chain(rights.within.iter().map(|(name, rules)| (*name, rules)))
        {
            for atom in rules.iter().flat_map(atoms).filter(|atom| !READ.contains(&atom.verb)) {
                let pinned = atom.name.is_some();
                assert!(
                    pinned || free(place, &atom) || holds(&drivers, &atom),
                    "{} in {place}: {atom:?}",
                    rights.operator
                );
            }
        }
    }
}

#[test]
fn an_operator_holds_whatever_it_grants_to_its_driver() {
    let (cpi, granted) = (cpi(), cpi_operator::render::granted());
    assert_eq!(uncovered(&cpi, None, &granted.cluster), [""; 0]);
    assert_eq!(uncovered(&cpi, Some(CPI_NAMESPACE), &granted.driver_namespace), [""; 0]);
    assert_eq!(uncovered(&cpi, Some(KUBE_SYSTEM), &granted.kube_system), [""; 0]);

    let (csi, granted) = (csi(), csi_operator::render::granted_rules());
    assert_eq!(uncovered(&csi, None, &granted.cluster), [""; 0]);
    assert_eq!(uncovered(&csi, Some(CSI_NAMESPACE), &granted.namespaced), [""; 0]);

    assert_ne!(uncovered(&core(), None, &granted.cluster), [""; 0], "vdo-core grants nothing");
}

#[test]
fn an_operator_may_apply_and_delete_whatever_it_renders() {
    for (rights, folder) in [(cpi(), "cpi-operator/tests/snapshots"), (csi(), "csi-operator/tests/golden")] {
        for object in rendered(folder) {
            let api_version = object["apiVersion"].as_str().unwrap();
            let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
            let resource = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            let namespace = object["metadata"]["namespace"].as_str();
            let name = object["metadata"]["name"].as_str();
            assert!(name.is_some(), "{object}");
            for verb in APPLY {
                let atom = Atom { group, resource: &resource, verb, name };
                assert!(may(&rights, namespace, &atom), "{} lacks {namespace:?} {atom:?}", rights.operator);
            }
        }
    }
}

#[test]
fn an_operator_may_not_apply_what_it_does_not_render() {
    for rights in all() {
        let other = |group, resource, verb| Atom { group, resource, verb, name: Some("other") };
        for verb in ["create", "patch", "delete"] {
            for namespace in [None, Some(KUBE_SYSTEM), Some(CPI_NAMESPACE), Some(CSI_NAMESPACE)] {
                for kind in ["roles", "rolebindings", "clusterroles", "clusterrolebindings"] {
                    assert!(!may(&rights, namespace, &other(RBAC, kind, verb)), "{}", rights.operator);
                }
                for kind in ["daemonsets", "deployments"] {
                    assert!(!may(&rights, namespace, &other("apps", kind, verb)), "{}", rights.operator);
                }
            }
        }
    }
}

#[test]
fn a_right_to_one_name_includes_neither_another_nor_all() {
    let held = [named(rule(CORE, &["secrets"], &["get"], "."), &["a", "b"])];
    let atom = |name| Atom { group: CORE, resource: "secrets", verb: "get", name };
    assert!(holds(&held, &atom(Some("a"))) && holds(&held, &atom(Some("b"))));
    assert!(!holds(&held, &atom(Some("c"))) && !holds(&held, &atom(None)));
    assert!(!holds(&held, &Atom { verb: "list", ..atom(Some("a")) }));
    assert!(!holds(&held, &Atom { group: "apps", ..atom(Some("a")) }));
    assert!(!holds(&held, &Atom { resource: "secrets/x", ..atom(Some("a")) }));
    let all = [rule(CORE, &["secrets"], &["get"], ".")];
    assert!(holds(&all, &atom(Some("a"))) && holds(&all, &atom(None)));
}

#[test]
fn a_rule_that_others_include_is_left_out_once_and_its_reason_stays() {
    let narrow = rule(CORE, &["nodes"], &["get"], "Looks.");
    let wide = rule(CORE, &["nodes"], READ, "Follows.");
    let kept = lean(vec![narrow.clone(), wide.clone(), wide.clone()], &mut []);
    let both = Right { why: vec!["Follows.", "Looks."], ..wide.clone() };
    assert_eq!(kept, std::slice::from_ref(&both));
    let mut above = [wide];
    assert_eq!(lean(vec![narrow.clone()], &mut above), []);
    assert_eq!(above, [both]);
    assert_eq!(lean(vec![narrow.clone()], &mut []), [narrow]);
}

#[test]
fn every_rule_of_an_operator_says_what_it_is_for() {
    let mut count = 0;
    for rights in all() {
        for right in every_right(&rights) {
            count += 1;
            let sentences = right.why.iter().all(|why| why.len() > 20 && why.ends_with('.'));
            assert!(!right.why.is_empty() && sentences, "{}: {right:?}", rights.operator);
        }
    }
    println!("{count} rules");
    assert!(count > 60, "{count}");
}

/// The table of what drivers need is written by hand; what is granted is not.
#[test]
fn what_a_driver_needs_is_what_it_is_granted_and_every_account_of_it_says_so() {
    let mut used = BTreeSet::new();
    let cpi_granted = cpi_operator::render::granted();
    let csi_granted = csi_operator::render::granted_rules();
    for (driver, granted) in [
        (CPI, [cpi_granted.cluster, cpi_granted.driver_namespace, cpi_granted.kube_system].concat()),
        (CSI, [csi_granted.cluster, csi_granted.namespaced].concat()),
    ] {
        for rule in granted {
            let need =
                driver::need(driver, &rule).unwrap_or_else(|| panic!("{driver}: nobody says why {rule:?}"));
            used.insert((driver, need.verbs, need.resources));
        }
    }
    assert_eq!(used.len(), driver::NEEDS.len(), "a reason for a rule that is not granted");

    let key = |rule: &PolicyRule| serde_json::to_string(rule).unwrap();
    for (folder, account) in [
        ("cpi-operator/tests/snapshots", "vdo-cpi"),
        ("csi-operator/tests/golden", "vsphere-csi-controller"),
        ("csi-operator/tests/golden", "vsphere-csi-node"),
    ] {
        let objects = rendered(folder);
        // A role of Kubernetes itself is bound and not rendered.
        let mut found = BTreeSet::new();
        let bindings = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Binding"));
        for binding in bindings.filter(|binding| binding["subjects"][0]["name"] == account) {
            for role in objects.iter().filter(|role| {
                role["kind"] == binding["roleRef"]["kind"]
                    && role["metadata"]["name"] == binding["roleRef"]["name"]
                    && role["metadata"]["namespace"] == binding["metadata"]["namespace"]
            }) {
                for rule in role["rules"].as_array().unwrap() {
                    let place = role["metadata"]["namespace"].as_str().map(str::to_owned);
                    found.insert((place, key(&serde_json::from_value(rule.clone()).unwrap())));
                }
            }
        }
        let told = driver::accounts().into_iter().find(|told| told.name == account).unwrap();
        let mut shown = BTreeSet::new();
        for (place, rights) in told.places {
            shown.extend(rights.iter().map(|right| (place.map(str::to_owned), key(&right.rule))));
        }
        if account == "vdo-cpi" {
            shown.retain(|(_, rule)| !rule.contains("extension-apiserver-authentication"));
        }
        assert_eq!(shown, found, "{account}");
    }
}

#[test]
fn the_page_has_a_row_for_every_rule() {
    let text = page::page(&all());
    let rules: usize = all().iter().map(|rights| every_right(rights).len()).sum();
    let accounts = driver::accounts();
    let granted: usize = accounts.iter().flat_map(|account| account.places.values()).map(Vec::len).sum();
    // And one for the Secrets that a chart value names.
    let rows = text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, rules + granted + 1);
    println!("{rules} rules of operators, {granted} of drivers");
}
