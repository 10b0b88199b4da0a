//! Bad input is refused by a real API server with a field path and words, on create and on update, and what means
//! something is accepted: `e2e/bad-input.toml`, row by row. What the original operator stored stays usable.

#![allow(clippy::unwrap_used)]

#[path = "admission/old.rs"]
mod old;
#[path = "admission/server.rs"]
mod server;
#[path = "admission/table.rs"]
mod table;

use e2e::crd::{NAMESPACE, apply, install, refused, vcenter, vdo};
use serde_json::{Value, json};
use server::Server;
use table::{Case, Row, Table, good_vcenter, good_vdo};
use testbed::bed::Bed;

/// A spec with one field changed: a path of keys, and the value.
fn with(mut base: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    base.pointer_mut(parent).unwrap()[key] = value;
    base
}

/// The API server refuses the fault where it is, in the words of the table.
fn is_refused(row: &Row, case: &Case, answer: Result<Value, String>) -> Result<(), String> {
    let said = match answer {
        Ok(_) => return Err("accepted".to_owned()),
        Err(said) => said,
    };
    for part in [case.at.as_ref().unwrap_or(&row.field), case.says.as_ref().unwrap_or(&row.says)] {
        if part.is_empty() || !said.contains(part.as_str()) {
            return Err(format!("refused, but without {part:?}: {said}"));
        }
    }
    match &case.never {
        Some(secret) if said.contains(secret.as_str()) => Err(format!("the answer repeats it: {said}")),
        _ => Ok(()),
    }
}

/// One case: the object without the fault is accepted; with it, neither a new object nor a change of the good one.
fn refuse(server: &Server, row: &Row, number: usize, case: &Case) -> Result<(), String> {
    let name = format!("{}-{number}", row.id.to_lowercase());
    let stored = server.create(&row.good(&name, case)).map_err(|said| format!("the good object: {said}"))?;
    let faulty = row.with(row.good(&format!("{name}-new"), case), case);
    is_refused(row, case, server.create(&faulty)).map_err(|why| format!("on create: {why}"))?;
    let mut changed = row.with(row.good(&name, case), case);
    changed["metadata"] = stored["metadata"].clone();
    is_refused(row, case, server.update(&changed)).map_err(|why| format!("on update: {why}"))?;
    let mut good = row.good(&name, case);
    good["metadata"] = stored["metadata"].clone();
    server.update(&good).map(drop).map_err(|said| format!("the good object again: {said}"))
}

/// One value that means something: in a new object, and as a change of the good one.
fn accept(server: &Server, row: &Row, number: usize, case: &Case) -> Result<(), String> {
    let name = format!("{}-fine-{number}", row.id.to_lowercase());
    server.create(&row.with(row.good(&format!("{name}-new"), case), case))?;
    let stored = server.create(&row.good(&name, case))?;
    let mut changed = row.with(row.good(&name, case), case);
    changed["metadata"] = stored["metadata"].clone();
    server.update(&changed).map(drop)
}

#[test]
fn bad_input_is_refused_with_its_field_and_the_same_object_without_the_fault_is_accepted() {
    let bed = Bed::from_env();
    install(&bed);
    let (server, table) = (Server::of(&bed), Table::read());
    let (mut wrong, mut sent) = (Vec::new(), 0);
    for row in &table.row {
        assert_eq!(row.answer == "refused", !row.case.is_empty(), "{}: is it refused?", row.id);
        for (number, case) in row.case.iter().enumerate() {
            sent += 1;
            if let Err(why) = refuse(&server, row, number, case) {
                wrong.push(format!("{} {} case {number}: {why}", row.id, row.field));
            }
        }
    }
    println!("{} rows: {:?}; {sent} faults refused on create and on update", table.rows, table.answers());
    assert_eq!(table.answers().iter().map(|(_, count)| count).sum::<usize>(), table.rows);
    assert!(wrong.is_empty(), "{} of {sent} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn spellings_that_mean_something_are_accepted() {
    let bed = Bed::from_env();
    install(&bed);
    let (server, table) = (Server::of(&bed), Table::read());
    let (mut wrong, mut sent) = (Vec::new(), 0);
    for row in &table.row {
        for (number, case) in row.fine.iter().enumerate() {
            sent += 1;
            if let Err(said) = accept(&server, row, number, case) {
                wrong.push(format!("{} {} value {number}: {said}", row.id, row.field));
            }
        }
    }
    println!("{sent} values accepted on create and on update");
    assert!(sent > 0 && wrong.is_empty(), "{} of {sent} values:\n{}", wrong.len(), wrong.join("\n"));
    // What no row of the table is about.
    for (number, (field, value)) in [
        ("/vcIp", json!("192.0.2.7")),
        ("/vcIp", json!("2001:db8::7")),
        ("/port", json!(8443)),
        ("/caRef", json!({"name": "ca"})),
    ]
    .into_iter()
    .enumerate()
    {
        server.create(&vcenter(&format!("spelled-{number}"), &with(good_vcenter(), field, value))).unwrap();
    }
}

#[test]
fn what_the_table_does_not_speak_of_is_refused_in_words_too() {
    let bed = Bed::from_env();
    install(&bed);
    let server = Server::of(&bed);
    let images = with(good_vdo(), "/images", json!({"registry": "https://mirror.example.com"}));
    let policy = with(good_vdo(), "/deletionPolicy", json!("Keep"));
    let network = with(good_vdo(), "/networkProvider", json!({"name": "antrea"}));
    let distribution = with(good_vdo(), "/storageProvider/clusterDistribution", json!("a/b"));
    for (object, at, words) in [
        (vcenter("odd", &with(good_vcenter(), "/port", json!(0))), "spec.port", "greater than or equal to 1"),
        (
            vcenter("odd", &with(good_vcenter(), "/port", json!(70000))),
            "spec.port",
            "less than or equal to 65535",
        ),
        (vdo("odd", &policy), "spec.deletionPolicy", "Unsupported value: \"Keep\""),
        (vdo("odd", &images), "spec.images.registry", "a host with an optional port and path"),
        (vdo("odd", &network), "spec.networkProvider", "unknown field"),
        (vdo("odd", &distribution), "spec.storageProvider.clusterDistribution", "a short name of letters"),
    ] {
        let said = server.create(&object).unwrap_err();
        assert!(said.contains(at) && said.contains(words), "{said}");
    }
}

#[test]
fn b35_a_status_that_the_user_writes_at_creation_is_left_out() {
    let bed = Bed::from_env();
    install(&bed);
    let server = Server::of(&bed);
    let mut written = vcenter("b35", &good_vcenter());
    written["status"] = json!({"config": "verified", "message": "trust me"});
    let stored = server.create(&written).unwrap();
    assert_eq!(stored.get("status"), None);
    // Nor does a change of the object bring one in.
    written["metadata"] = stored["metadata"].clone();
    let stored = server.update(&written).unwrap();
    assert_eq!(stored.get("status"), None);
}

#[test]
fn b36_the_longest_names_with_dots_are_accepted() {
    let bed = Bed::from_env();
    install(&bed);
    let server = Server::of(&bed);
    let name = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    assert_eq!(name.len(), 253);
    server.create(&vcenter(&name, &with(good_vcenter(), "/credentials", json!(name)))).unwrap();
    let configs = with(good_vdo(), "/cloudProvider/vsphereCloudConfigs", json!([name]));
    server.create(&vdo(&name, &with(configs, "/storageProvider/vsphereCloudConfig", json!(name)))).unwrap();
}

#[test]
fn b81_an_object_with_200_kib_of_annotations_is_accepted() {
    let bed = Bed::from_env();
    install(&bed);
    let server = Server::of(&bed);
    for mut object in [vdo("b81", &good_vdo()), vcenter("b81", &good_vcenter())] {
        object["metadata"]["annotations"] = json!({"example.com/note": "x".repeat(200 * 1024)});
        object["metadata"]["labels"] = json!({"example.com/team": "a"});
        server.create(&object).unwrap();
    }
}

#[test]
fn b82_an_object_that_is_applied_again_as_it_is_stays_the_same_version() {
    let bed = Bed::from_env();
    install(&bed);
    let server = Server::of(&bed);
    for object in [vdo("b82", &good_vdo()), vcenter("b82", &good_vcenter())] {
        let version = |stored: Value| stored["metadata"]["resourceVersion"].clone();
        let first = version(server.apply(&object, "user").unwrap());
        for _ in 0..5 {
            assert_eq!(version(server.apply(&object, "user").unwrap()), first);
        }
    }
}

#[test]
fn b83_a_field_that_is_null_or_taken_away_goes_back_to_its_default() {
    let bed = Bed::from_env();
    install(&bed);
    let server = Server::of(&bed);
    let policy = |value: Value| vdo("b83", &with(good_vdo(), "/deletionPolicy", value));
    let says = |stored: &Value| stored["spec"]["deletionPolicy"].clone();
    assert_eq!(says(&server.apply(&policy(json!("Orphan")), "user").unwrap()), "Orphan");
    let stored = server.apply(&vdo("b83", &good_vdo()), "user").unwrap();
    assert_eq!(says(&stored), "Remove", "taken away by server-side apply");
    let mut changed = policy(json!("Orphan"));
    changed["metadata"] = stored["metadata"].clone();
    let stored = server.update(&changed).unwrap();
    let mut null = policy(Value::Null);
    null["metadata"] = stored["metadata"].clone();
    assert_eq!((says(&stored), says(&server.update(&null).unwrap())), (json!("Orphan"), json!("Remove")));
    // A field without a default is gone, and nothing of it stays.
    let pinned = with(good_vdo(), "/storageProvider/version", json!("3.7.0"));
    server.apply(&vdo("b83-pin", &pinned), "user").unwrap();
    let stored = server.apply(&vdo("b83-pin", &good_vdo()), "user").unwrap();
    assert_eq!(stored.pointer("/spec/storageProvider/version"), None);
}

#[test]
fn b84_what_an_old_client_does_not_know_it_does_not_take_away() {
    let bed = Bed::from_env();
    install(&bed);
    let server = Server::of(&bed);
    let new = json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}, "driftRepair": "Report",
        "images": {"registry": "mirror.example.com"}});
    server.apply(&vdo("b84", &new), "new-client").unwrap();
    let old = json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}});
    for _ in 0..2 {
        let stored = server.apply(&vdo("b84", &old), "old-client").unwrap();
        assert_eq!(stored["spec"]["driftRepair"], "Report");
        assert_eq!(stored["spec"]["images"]["registry"], "mirror.example.com");
    }
}

#[test]
fn insecure_with_a_thumbprint_is_refused_but_an_old_object_with_both_can_still_be_changed() {
    let bed = Bed::from_env();
    install(&bed);
    let both =
        with(with(good_vcenter(), "/insecure", json!(true)), "/thumbprint", json!("AA:".repeat(19) + "AA"));
    refused(&bed, &vcenter("both", &both), "thumbprint has no effect when insecure is true").unwrap();
    // As the original's CRD allowed it: stored while the rule was not there.
    let crd = "vspherecloudconfigs.vdo.vmware.com";
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
    let rules = bed.get(&["crd", crd]).unwrap().pointer(path).unwrap().clone();
    let without = json!([{"op": "remove", "path": path}]).to_string();
    bed.kubectl(&["patch", "crd", crd, "--type=json", "-p", &without]).unwrap();
    testbed::wait::eventually(std::time::Duration::from_secs(20), "the rule is gone", || {
        apply(&bed, &vcenter("both", &both))
    });
    let back = json!([{"op": "add", "path": path, "value": rules}]).to_string();
    bed.kubectl(&["patch", "crd", crd, "--type=json", "-p", &back]).unwrap();
    testbed::wait::eventually(std::time::Duration::from_secs(20), "the rule is back", || {
        refused(&bed, &vcenter("another", &both), "thumbprint has no effect")
    });
    let renamed = with(both, "/credentials", json!("other-creds"));
    apply(&bed, &vcenter("both", &renamed)).unwrap();
}

#[test]
fn what_the_original_stored_still_loads_and_updates() {
    let bed = Bed::from_env();
    install(&bed);
    let config = json!({"vcIp": "10.1.1.1", "insecure": true, "credentials": "vc-creds", "datacenters": []});
    apply(&bed, &vcenter("original", &config)).unwrap();
    let spec = json!({
        "storageProvider": {"vsphereCloudConfig": "original", "clusterDistribution": "OpenShift"},
        "cloudProvider": {"vsphereCloudConfigs": ["original"]},
    });
    apply(&bed, &vdo("original", &spec)).unwrap();
    let status = json!({"status": {
        "cpi": {"phase": "Configured", "nodeStatus ": {"node-1": "ready"}}, "csi": {"phase": "Deployed"}}});
    let patch = status.to_string();
    let status_of =
        ["patch", "vdoconfig", "original", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p"];
    bed.kubectl(&[&status_of[..], &[&patch]].concat()).unwrap();
    let stored = bed.get(&["vdoconfig", "original", "-n", NAMESPACE]).unwrap();
    assert_eq!(stored["status"]["cpi"]["nodeStatus "]["node-1"], "ready");
    apply(&bed, &vdo("original", &with(spec, "/storageProvider/clusterDistribution", json!("Vanilla"))))
        .unwrap();
}

#[test]
fn kinds_have_short_names_a_category_and_columns() {
    let bed = Bed::from_env();
    install(&bed);
    apply(&bed, &vcenter("columns", &good_vcenter())).unwrap();
    let list = bed.kubectl(&["get", "vcc", "-n", NAMESPACE]).unwrap();
    assert!(
        list.starts_with("NAME") && list.contains("VCENTER") && list.contains("vc.example.com"),
        "{list}"
    );
    assert!(bed.kubectl(&["get", "vdo", "-n", NAMESPACE]).is_ok());
    let explained = bed.kubectl(&["explain", "vspherecloudconfig.spec.insecure"]).unwrap();
    assert!(explained.contains("certificate"), "{explained}");
}
