//! The chart as `helm` sees it: what it renders, what it refuses, and what becomes of objects while it comes and goes.

#![allow(clippy::unwrap_used)]

#[path = "chart/lifecycle.rs"]
mod lifecycle;
#[path = "chart/renders.rs"]
mod renders;
#[path = "chart/wrong.rs"]
mod wrong;

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use e2e::crd::NAMESPACE;
use e2e::stand::{built_chart, helm, rendered_objects};
use serde_json::Value;
use testbed::bed::Bed;

/// Rendered objects by kind, namespace and name.
type Objects = BTreeMap<String, Value>;

/// Whoever renders without a cluster has to say that it knows our kinds.
const KINDS_KNOWN: [&str; 2] = ["--api-versions", "vdo.vmware.com/v1alpha1/VDOConfig"];

/// Renders the chart with these values, without asking an API server.
fn render(bed: &Bed, values: &Value) -> Result<Objects> {
    let file = values_file(bed, values)?;
    let mut objects = Objects::new();
    for object in rendered_objects(bed, "vdo", &[&["--values", &file], &KINDS_KNOWN[..]].concat())? {
        let word = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let namespace = word("/metadata/namespace");
        let key = format!("{} {namespace}/{}", word("/kind"), word("/metadata/name"));
        let key = key.replace(" /", " ");
        assert!(objects.insert(key.clone(), object.clone()).is_none(), "{key} is rendered twice");
    }
    Ok(objects)
}

/// Installs or upgrades the chart with these values. In this bed no pod ever runs, so nobody waits for one.
fn install(bed: &Bed, values: &Value) -> Result<String> {
    let chart = built_chart(bed)?.display().to_string();
    let file = values_file(bed, values)?;
    let arguments = ["upgrade", "--install", "vdo", &chart, "--namespace", NAMESPACE, "--create-namespace"];
    helm(bed, &[&arguments[..], &["--values", &file]].concat())
}

fn uninstall(bed: &Bed) -> Result<String> {
    helm(bed, &["uninstall", "vdo", "--namespace", NAMESPACE, "--wait"])
}

fn values_file(bed: &Bed, values: &Value) -> Result<String> {
    let file = bed.path("tmp/values.json");
    fs::write(&file, values.to_string())?;
    Ok(file.display().to_string())
}
