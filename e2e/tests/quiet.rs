//! After a history, an operator that has nothing to do writes nothing; and it is awake all the while.

#![allow(clippy::unwrap_used)]

#[path = "daytwo/house.rs"]
#[allow(dead_code, reason = "each part uses some of it")]
mod house;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{CONFIG, OPERATORS};
use serde_json::{Value, json};
use testbed::audit::AuditLog;
use testbed::bed::Bed;
use testbed::wait::{eventually, throughout};

use crate::house::{
    CPI, CPI_SET, CSI, NEW, REPAIR, SOON, applied, chapter, installed, named, passes, pinned, put_back,
    standing,
};

/// The values of the chart.
const VALUES: &[&str] = &["cpi-operator.rolloutSoakSeconds=4", "csi-operator.rolloutSoakSeconds=4"];
const QUIET: Duration = Duration::from_secs(600);
/// After a history there may be a last word.
const LAST_WORD: Duration = Duration::from_secs(60);
/// How often somebody knocks meanwhile. An operator that nothing wakes may sleep for five minutes, and one that is asleep
/// proves nothing.
const KNOCKS: u32 = 12;

/// What is added to the audit log from now on, read once: the whole of it would be too much to read again and again.
struct Tail(File);

impl Tail {
    fn now(bed: &Bed) -> Self {
        let mut file = File::open(bed.path("audit.log")).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        Tail(file)
    }

    /// What our operators wrote since the last look, or tried to, but for their Leases.
    fn written(&mut self) -> Result<AuditLog> {
        let begin = self.0.stream_position()?;
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        // A line that is being written is left for the next look.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.0.seek(SeekFrom::Start(begin + whole as u64))?;
        let log = AuditLog::parse(&String::from_utf8_lossy(&bytes[..whole]))?;
        let ours = |user: &str| {
            OPERATORS.iter().any(|name| user == format!("system:serviceaccount:{NAMESPACE}:{name}"))
        };
        Ok(log.filter(|r| ours(&r.user) && r.is_write() && r.resource != "leases"))
    }
}

/// When the last container of a namespace was started.
fn youngest(bed: &Bed, namespace: &str) -> Result<Value> {
    let pods = bed.get(&["pods", "-n", namespace])?;
    let pods = pods["items"].as_array().context("no list")?.iter();
    let containers = pods.flat_map(|pod| pod["status"]["containerStatuses"].as_array().into_iter().flatten());
    let begun = containers.map(|it| it["state"]["running"]["startedAt"].clone());
    begun.max_by(|one, other| second(one).cmp(second(other))).context("no pod")
}

/// A moment up to its second, which can be compared as text.
fn second(moment: &Value) -> &str {
    moment.as_str().and_then(|text| text.get(..19)).unwrap_or_default()
}

/// Somebody writes what is his own on the VDOConfig, which asks for nothing, and every operator looks at everything.
fn knock(bed: &Bed, number: u32) {
    let before = OPERATORS.map(|operator| passes(bed, operator).unwrap());
    let knock = format!("neighbour.example/knock={number}");
    bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, "--overwrite", &knock]).unwrap();
    for (operator, before) in OPERATORS.into_iter().zip(before) {
        eventually(REPAIR, "it makes a pass", || {
            let now = passes(bed, operator)?;
            ensure!(now > before, "{operator} has made {now}");
            Ok(())
        });
    }
}

#[test]
fn after_a_history_nothing_is_written_for_ten_minutes_and_drift_is_repaired_in_seconds_all_the_same() {
    // A first installation, an upgrade of each driver, drift, and a wish that cannot be granted.
    chapter(("1.33.0", "3.3.1"), |_| ());
    chapter(NEW, |bed| {
        let map = named(bed, "cpi", "ConfigMap").remove(0);
        let before = applied(bed, "cpi");
        bed.kubectl(&["delete", "configmap", &map, "-n", CPI]).unwrap();
        put_back(bed, "cpi", &before);
        apply(bed, &pinned(("1.34.0", NEW.1), &json!({}))).unwrap();
        house::until(bed, "it is held", |config| {
            let said = house::condition(config, "CPIReady");
            ensure!(said["reason"] == "NoReleaseFits", "{said}");
            Ok(())
        });
        apply(bed, &pinned(NEW, &json!({}))).unwrap();
        installed(bed, NEW);
        // A roll-out is watched for so short a time here that a driver counts while the Lease of the pods before is fresh.
        for (namespace, lease, lease_namespace) in
            [(CPI, "cloud-controller-manager", "kube-system"), (CSI, "vsphere-syncer", CSI)]
        {
            eventually(SOON, "a pod that is there leads", || {
                let renewed = bed.get(&["lease", lease, "-n", lease_namespace])?["spec"]["renewTime"].clone();
                let begun = youngest(bed, namespace)?;
                ensure!(
                    second(&renewed) > second(&begun),
                    "{lease} at {renewed}, the youngest pod at {begun}"
                );
                Ok(())
            });
        }

        let mut tail = Tail::now(bed);
        let mut silent = 0;
        eventually(LAST_WORD, "the last word is said", || {
            silent = if tail.written()?.is_empty() { silent + 1 } else { 0 };
            ensure!(silent >= 100, "no word in {silent} looks");
            Ok(())
        });
        let stands = standing(bed);
        let asleep = OPERATORS.map(|operator| passes(bed, operator).unwrap());
        for number in 0..KNOCKS {
            knock(bed, number);
            throughout(QUIET / KNOCKS, "nothing is written", || {
                let written = tail.written()?;
                ensure!(written.is_empty(), "{written:#?}");
                Ok(())
            });
        }
        for (operator, before) in OPERATORS.into_iter().zip(asleep) {
            let made = passes(bed, operator).unwrap() - before;
            assert!(made >= u64::from(KNOCKS), "{made} passes of {operator}");
        }
        assert_eq!(standing(bed), stands);

        let before = applied(bed, "cpi");
        bed.kubectl(&["delete", "daemonset", CPI_SET, "-n", CPI, "--wait=false"]).unwrap();
        eventually(REPAIR, "drift is repaired", || {
            let now = applied(bed, "cpi");
            ensure!(now == before, "{:#?}", now.keys());
            Ok(())
        });
        installed(bed, NEW);
    });
}
