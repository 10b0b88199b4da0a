//! Where the bytes come from that are searched.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use e2e::http::{ask_operator, request};
use serde_json::{Value, json};
use testbed::bed::Bed;

/// What was collected, by where it was.
pub type Parts = BTreeMap<String, Vec<u8>>;

const ETCD: (&str, u16) = ("127.0.0.1", 2379);
const PATIENCE: Duration = Duration::from_secs(30);

/// What an operator answers.
pub fn http_get(address: &str, path: &str) -> Result<String> {
    ask_operator(address, path, PATIENCE)
}

fn text(value: &Value) -> Result<Vec<u8>> {
    let decoded = BASE64_STANDARD.decode(value.as_str().unwrap_or_default());
    decoded.map_err(|error| anyhow!("{error}"))
}

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Every version of every key that etcd still has, one after the other: what was overwritten or deleted was there, too.
pub fn etcd_history() -> Result<Parts> {
    // From the first key to after the last.
    let all = json!({"key": "AA==", "range_end": "AA=="});
    let mut count = all.clone();
    count["count_only"] = true.into();
    let reader = request(ETCD, "POST /v3/kv/range", &count.to_string(), PATIENCE)?;
    let now = number(&serde_json::from_reader::<_, Value>(reader)?["header"]["revision"]);
    ensure!(now > 1, "etcd is empty");
    let mut from = 1;
    loop {
        match versions(&all, from, now)? {
            Ok(parts) => return Ok(parts),
            Err(oldest) => {
                ensure!(oldest > from, "etcd has nothing since {oldest}");
                from = oldest;
            }
        }
    }
}

/// The versions between these revisions; or the oldest revision that there still is.
fn versions(keys: &Value, from: u64, to: u64) -> Result<Result<Parts, u64>> {
    let mut create = keys.clone();
    create["start_revision"] = from.to_string().into();
    create["fragment"] = true.into();
    let mut parts = Parts::new();
    let mut seen = 0;
    for line in request(ETCD, "POST /v3/watch", &json!({"create_request": create}).to_string(), PATIENCE)?
        .split(b'\n')
    {
        let mut answer: Value = serde_json::from_slice(&line?)?;
        let result = answer["result"].take();
        ensure!(result.is_object(), "etcd's watch failed: {answer}");
        let oldest = number(&result["compact_revision"]);
        if oldest > 0 {
            return Ok(Err(oldest));
        }
        for event in result["events"].as_array().into_iter().flatten() {
            let kv = &event["kv"];
            let part = parts.entry(String::from_utf8_lossy(&text(&kv["key"])?).into_owned()).or_default();
            part.extend(text(&kv["value"])?);
            part.push(b'\n');
            seen = seen.max(number(&kv["mod_revision"]));
        }
        // Every revision changes a key.
        if seen >= to && result["fragment"] != true {
            return Ok(Ok(parts));
        }
    }
    anyhow::bail!("etcd's watch ended at revision {seen} of {to}")
}

/// Arguments and environment of every process of the bed.
pub fn processes() -> Parts {
    let mut parts = Parts::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.parse::<u32>().is_err() {
            continue;
        }
        // One that ends meanwhile has none. Programs that have to be there are asked for by name.
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let (arguments, environment) = (read("cmdline"), read("environ"));
        let first = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(first).rsplit('/').next().unwrap_or_default().to_owned();
        for (what, bytes) in [("arguments", arguments), ("environment", environment)] {
            if !bytes.is_empty() {
                parts.insert(format!("{pid} {name}: {what}"), bytes);
            }
        }
    }
    parts
}

/// The Secrets of a namespace.
pub fn secrets(bed: &Bed, namespace: &str) -> Result<Vec<Value>> {
    let list = bed.get(&["secrets", "-n", namespace])?;
    list["items"].as_array().cloned().context("no list")
}

/// What a Secret holds, all of it.
pub fn decoded(secret: &Value) -> Vec<u8> {
    let values = secret["data"].as_object().into_iter().flat_map(|data| data.values());
    values.flat_map(|value| text(value).unwrap_or_default()).collect()
}
