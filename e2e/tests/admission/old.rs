//! What was stored before there was a rule can still be changed elsewhere.

use std::time::Duration;

use e2e::crd::install;
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::server::Server;
use crate::table::{Case, Row, Table};

const CRDS: [&str; 3] = [
    "vspherecloudconfigs.vdo.vmware.com",
    "vdoconfigs.vdo.vmware.com",
    "compatibilityconfigs.vdo.vmware.com",
];
/// What makes a schema refuse a value of the right type.
const RULES: &[&str] = &[
    "x-kubernetes-validations",
    "pattern",
    "enum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
];
const SOON: Duration = Duration::from_secs(20);

/// The same schema without a rule.
fn lenient(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|key, _| !RULES.contains(&key.as_str()));
            fields.values_mut().for_each(lenient);
        }
        Value::Array(items) => items.iter_mut().for_each(lenient),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Makes these the versions of a CRD, and gives those that it had.
fn replace_versions(bed: &Bed, crd: &str, versions: impl FnOnce(&Value) -> Value) -> Value {
    let before = bed.get(&["crd", crd]).unwrap()["spec"]["versions"].clone();
    let patch = json!([{"op": "replace", "path": "/spec/versions", "value": versions(&before)}]).to_string();
    bed.kubectl(&["patch", "crd", crd, "--type=json", "-p", &patch]).unwrap();
    before
}

fn without_rules(versions: &Value) -> Value {
    let mut versions = versions.clone();
    lenient(versions.pointer_mut("/0/schema/openAPIV3Schema/properties/spec").unwrap());
    versions
}

fn faulty<'a>(table: &'a Table) -> impl Iterator<Item = (&'a Row, &'a Case, String)> {
    let cases = |row: &'a Row| {
        row.case
            .iter()
            .enumerate()
            .map(move |(number, case)| (row, case, format!("{}-{number}-old", row.id.to_lowercase())))
    };
    table.row.iter().flat_map(cases)
}

#[test]
fn what_was_stored_before_a_rule_can_still_be_changed_elsewhere() {
    let bed = Bed::from_env();
    install(&bed);
    let (server, table) = (Server::of(&bed), Table::read());
    // One case of each kind shows whether the API server follows the schema as it is now.
    let probes = || faulty(&table).filter(|(row, _, _)| ["B3", "B62", "B90"].contains(&row.id.as_str()));
    let probe = |name: &str| {
        let tried = probes()
            .map(|(row, case, old)| server.create(&row.with(row.good(&format!("{old}-{name}"), case), case)));
        tried.collect::<Vec<_>>()
    };
    let strict = CRDS.map(|crd| replace_versions(&bed, crd, without_rules));
    let mut tries = 0;
    eventually(SOON, "the rules are gone", || {
        tries += 1;
        probe(&format!("lenient-{tries}")).into_iter().collect::<Result<Vec<_>, _>>()
    });
    let mut stored = Vec::new();
    for (row, case, name) in faulty(&table) {
        // What lacks a field, has one too many, or is no value of its type cannot be there.
        if let Ok(object) = server.create(&row.with(row.good(&name, case), case)) {
            stored.push((row, object));
        }
    }
    println!("{} of {} faults stored without rules", stored.len(), faulty(&table).count());
    assert!(stored.len() > 60, "only {} were stored", stored.len());

    for (crd, versions) in CRDS.into_iter().zip(strict) {
        replace_versions(&bed, crd, |_| versions);
    }
    eventually(SOON, "the rules are back", || {
        let answers = probe("strict");
        if answers.iter().all(Result::is_err) { Ok(()) } else { Err("not yet") }
    });
    let mut wrong = Vec::new();
    for (row, object) in &stored {
        let mut labelled = object.clone();
        labelled["metadata"]["labels"] = json!({"example.com/team": "a"});
        let mut answer = server.update(&labelled);
        // A rule about the spec as a whole speaks again when anything in it changes.
        if let (Ok(object), true) = (&answer, row.field != "spec") {
            let mut changed = object.clone();
            match row.kind.as_str() {
                "VDOConfig" => changed["spec"]["driftRepair"] = json!("Report"),
                "CompatibilityConfig" => changed["spec"]["sha256"] = json!("a".repeat(64)),
                _ => changed["spec"]["port"] = json!(8443),
            }
            answer = server.update(&changed);
        }
        if let Err(said) = answer {
            wrong.push(format!("{} {}: {said}", row.id, row.field));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), stored.len(), wrong.join("\n"));
}
