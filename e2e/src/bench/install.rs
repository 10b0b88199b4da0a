//! What an installation of both drivers costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;
use testbed::audit::{AuditLog, Request};
use testbed::bed::Bed;
use testbed::nodes::CONTROL_PLANE;
use testbed::wait::eventually;

use super::{Measured, asked, between, by_kind, count, ours, process, seconds};
use crate::crd::{NAMESPACE, apply};
use crate::stand::{
    CONFIG, OPERATORS, VCENTER, apply_secret, apply_vcenter, await_condition, both_drivers, condition_of,
    helm, install_chart, matrix,
};

/// The DaemonSet of the cloud provider, whose pods are held back to see what waiting costs.
const CPI: &str = "vsphere-cloud-controller-manager";
/// Seconds without a write, after which the next one waited for something.
const A_REST: f64 = 2.0;
/// How long waiting, and the steady state, are watched.
const WATCHED: Duration = Duration::from_secs(60);
/// How long an operator may have something left to say after a change.
const SETTLES: Duration = Duration::from_secs(10);
/// CPI initialises seven nodes a second here, and the storage driver's pods follow.
const PER_NODE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(180);

/// Installs the chart and both drivers, and measures. They stay.
pub fn measure(bed: &Bed, nodes: usize) -> Result<Measured> {
    let patience = PATIENCE + PER_NODE * u32::try_from(nodes)?;
    say(&format!("{nodes} nodes: installing the chart"));
    install_chart(bed, &OPERATORS.map(on_control_plane).each_ref().map(String::as_str));
    let vcenter = bed.vcenter(1).clone();
    vcenter.admin_post("/calls/reset", &Value::Null)?;
    apply_secret(bed, &vcenter.user, &vcenter.password()?);
    apply(bed, &matrix())?;
    apply_vcenter(bed);
    await_condition(bed, "vcc", VCENTER, "Ready", "True", PATIENCE);

    say("a VDOConfig; the pods of the cloud provider are held back, to see what waiting costs");
    bed.hold_pods(&[CPI])?;
    let begin = Timestamp::now();
    apply(bed, &both_drivers())?;
    // Looking costs a core while it lasts, so it begins when the operators have nothing left to do.
    rest(SETTLES);
    eventually(PATIENCE, "the cloud provider is applied", || {
        bed.get(&["ds", CPI, "-n", "vmware-system-cpi"])
    });
    let waiting = Timestamp::now();
    rest(WATCHED);
    let waited = Timestamp::now();

    say("the pods may start; waiting until both drivers work");
    bed.hold_pods(&[])?;
    await_ready(bed, patience)?;
    rest(SETTLES);
    let end = Timestamp::now();

    say("watching the steady state");
    rest(WATCHED);
    let quiet = Timestamp::now();

    let audit = ours(bed)?;
    let (first, second) = (between(&audit, begin, waiting), between(&audit, waited, end));
    let install = AuditLog { requests: [asked(&first).requests, asked(&second).requests].concat() };
    let waiting = asked(&between(&audit, waiting, waited));
    let steady = between(&audit, end, quiet).accepted_writes();
    let core = of_core(&vcenter.admin_get("/calls")?)?;
    let number = |key: &str| -> Result<f64> {
        core.pointer(key).and_then(Value::as_f64).with_context(|| format!("no {key} in {core}"))
    };
    let resident = process::resident()?;
    let figures = BTreeMap::from([
        ("cpiAppliedSeconds", seconds(created(bed)?, applied(&first, "cpi-operator")?)),
        ("csiAppliedSeconds", seconds(cpi_ready(&second)?, applied(&second, "csi-operator")?)),
        ("vcenterCalls", number("/total")?),
        ("vcenterLogins", number("/logins/ok")?),
        ("installRequests", count(&install)?),
        ("waitingRequestsPerMinute", count(&waiting)?),
        ("steadyWrites", count(&steady)?),
        ("residentMiB", process::largest(&resident)),
    ]);
    Ok(Measured {
        nodes,
        figures: figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        details: BTreeMap::from([
            ("installRequests".to_owned(), by_kind(&install)),
            ("waitingRequestsPerMinute".to_owned(), by_kind(&waiting)),
            ("steadyWrites".to_owned(), by_kind(&steady)),
            ("residentMiB".to_owned(), resident),
            ("vcenterCalls".to_owned(), methods(&core)),
        ]),
        ..Measured::default()
    })
}

/// Waits until both drivers work and the cloud provider is through with the nodes, and looks seldom: each look is a program
/// that takes the time of what is measured.
fn await_ready(bed: &Bed, within: Duration) -> Result<()> {
    let begin = Instant::now();
    loop {
        rest(SETTLES);
        let config = bed.get(&["vdo", CONFIG, "-n", NAMESPACE])?;
        let (said, nodes) = (condition_of(&config, "Ready"), &config["status"]["nodes"]);
        let is_through = nodes["expected"].is_u64() && nodes["initialised"] == nodes["expected"];
        if said.status == "True" && is_through {
            return Ok(());
        }
        ensure!(begin.elapsed() <= within, "not Ready after {within:?}: {said:?}, nodes {nodes}");
    }
}

/// Uninstalls the chart and gives the number of logouts.
pub fn logouts(bed: &Bed) -> Result<f64> {
    say("uninstalling the chart, for its logout");
    helm(bed, &["uninstall", "vdo", "-n", NAMESPACE, "--wait", "--timeout", "90s"])?;
    Ok(eventually(PATIENCE, "vdo-core has logged out", || {
        match of_core(&bed.vcenter(1).admin_get("/calls")?)?["logouts"].as_f64() {
            Some(count) if count > 0.0 => Ok(count),
            other => bail!("{other:?} logouts"),
        }
    }))
}

/// The value that keeps an operator where pods really run: a simulated node only says so.
fn on_control_plane(operator: &str) -> String {
    format!(r"{operator}.nodeSelector.{}=", CONTROL_PLANE.replace('.', r"\."))
}

pub(super) fn say(what: &str) {
    println!("[{}] {what}", Timestamp::now().strftime("%H:%M:%S"));
}

/// Lets time pass in which nothing is expected to happen: it is what is measured.
fn rest(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// When the VDOConfig was created.
fn created(bed: &Bed) -> Result<Timestamp> {
    let audit = AuditLog::read_lines(&bed.path("audit.log"), "/vdoconfigs")?.accepted_writes();
    let creation = audit.requests.iter().find(|it| it.verb == "create" && it.resource == "vdoconfigs");
    Ok(creation.context("nobody created a VDOConfig")?.stage_timestamp)
}

/// When the last object of a driver was applied that need not wait for another one to work: what is not a status, a
/// journal or an event, and follows the one before without a rest.
fn applied(audit: &AuditLog, operator: &str) -> Result<Timestamp> {
    let of_driver = |request: &&Request| {
        request.subresource.is_empty() && request.namespace != NAMESPACE && request.resource != "events"
    };
    let writes = audit.by_account(NAMESPACE, operator).accepted_writes();
    let mut writes: Vec<&Request> = writes.requests.iter().filter(of_driver).collect();
    writes.sort_by_key(|request| request.received);
    let mut last: Option<Timestamp> = None;
    for write in writes {
        if last.is_some_and(|last| seconds(last, write.received) > A_REST) {
            break;
        }
        last = last.max(Some(write.stage_timestamp));
    }
    last.with_context(|| format!("{operator} applied nothing"))
}

/// When CPI was reported to work: the last status that its operator wrote before CSI's operator made its journal.
fn cpi_ready(audit: &AuditLog) -> Result<Timestamp> {
    let csi = audit.by_account(NAMESPACE, "csi-operator").accepted_writes();
    let journal = csi.requests.iter().find(|request| request.resource == "secrets");
    let begins = journal.context("csi-operator made no journal")?.received;
    let cpi = audit.by_account(NAMESPACE, "cpi-operator").accepted_writes();
    let reports = cpi.requests.iter().filter(|it| it.subresource == "status" && it.stage_timestamp <= begins);
    reports.map(|request| request.stage_timestamp).max().context("CPI never was reported")
}

/// How often each method of the vCenter was called.
fn methods(core: &Value) -> BTreeMap<String, f64> {
    let calls = core["calls"].as_object().into_iter().flatten();
    calls.filter_map(|(method, count)| Some((method.clone(), count.as_f64()?))).collect()
}

/// The vCenter's counters of the operators' requests.
fn of_core(calls: &Value) -> Result<Value> {
    let agents = calls["userAgents"].as_object().context("no user agents")?;
    let core = agents.iter().find(|(agent, _)| agent.starts_with("vdo-core"));
    Ok(core.context("vdo-core never called")?.1.clone())
}
