//! The one thing to do now: the first thing that stands in the way, and its remedy. Pure.

use vdo_api::names::{CPI_NAMESPACE, CSI_NAMESPACE};
use vdo_api::status::Verb;
use vdo_api::{Reason, Truth};
use vdo_compat::Driver;
use vdo_plan::Reading;
use vdo_plan::driver::reasons::{NOT_WORKING, REVISION_REFUSED};

use crate::explain;
use crate::screen::span;
use crate::seen::{DriverReport, Report, Said, Seen};

/// What a person does next.
pub fn step(seen: &Seen, report: &Report) -> String {
    let namespace = &seen.namespace;
    match &seen.configs {
        Reading::Absent => {
            return format!(
                "install the chart: helm upgrade --install vdo charts/vdo --namespace {namespace} --create-namespace --wait"
            );
        }
        Reading::Unreadable(_) => return "mend what keeps the VDOConfigs from being read".to_owned(),
        Reading::Present(_) => {}
    }
    if let Some(broken) = seen.broken.first() {
        return format!("correct {}, which does not decode", broken.0);
    }
    if report.vdo_config.is_none() {
        return format!(
            "create a VDOConfig, with a VsphereCloudConfig for each vCenter, in namespace {namespace}"
        );
    }
    if report.ready {
        return improve(report);
    }
    if seen.operators.present().is_some_and(Vec::is_empty) {
        return format!("install the operators: no Deployment of the chart vdo is in namespace {namespace}");
    }
    if let Some(operator) = report.operators.iter().find(|it| it.available == 0 && !it.is_whole()) {
        return format!(
            "see why no pod of {0} works: kubectl describe deployment -n {namespace} {0}",
            operator.name
        );
    }
    if let Some(vcenter) = report.vcenters.iter().find(|it| it.condition.status == Truth::False) {
        return remedy(&format!("VsphereCloudConfig {}: ", vcenter.name), &vcenter.condition);
    }
    if let Some(wrong) =
        report.conditions.iter().find(|it| it.type_ != "Degraded" && it.status == Truth::False)
    {
        return remedy("", wrong);
    }
    let behind = |it: &&DriverReport| it.condition.status != Truth::True || it.attempt.is_some();
    if let Some(driver) = report.drivers.iter().find(behind) {
        return mend(driver, seen);
    }
    // CSI before CPI: what holds a removal is held by CSI first.
    if let Some(driver) = report.drivers.iter().rev().find(|it| it.has_news()) {
        return advice(driver);
    }
    "wait a minute; if this stays, see the conditions of the VDOConfig".to_owned()
}

/// What could be better about a cluster that is ready.
fn improve(report: &Report) -> String {
    if let Some(degraded) = report.conditions.iter().find(|it| it.type_ == "Degraded") {
        return remedy("", degraded);
    }
    if let Some(driver) = report.drivers.iter().find(|it| it.has_news()) {
        return advice(driver);
    }
    if report.nodes.as_ref().is_some_and(|nodes| !nodes.findings.is_empty()) {
        return "see what is wrong with which node: `vdoctl nodes`".to_owned();
    }
    "nothing to do".to_owned()
}

/// What to do about a driver that is not where it should be.
fn mend(driver: &DriverReport, seen: &Seen) -> String {
    let name = driver.driver.name();
    match &driver.attempt {
        Some(attempt) if attempt.deadline > seen.now => {
            let what = match attempt.verb {
                Verb::Roll => "roll-out",
                Verb::Remove => "removal",
            };
            format!("wait for the {what} of {name}; at most {} are left", span(seen.now, attempt.deadline))
        }
        Some(_) | None => advice(driver),
    }
}

/// The remedy of what a driver's operator says, without what it says to its praise.
fn advice(driver: &DriverReport) -> String {
    let name = driver.driver.name();
    if driver.condition.reason == NOT_WORKING.name {
        // What does not work stands above; who wants to know more asks its pods.
        let namespace = match driver.driver {
            Driver::Cpi => CPI_NAMESPACE,
            Driver::Csi => CSI_NAMESPACE,
        };
        return format!("{name}: see what its pods say: kubectl describe pods -n {namespace}");
    }
    let said = Said { message: driver.beyond().to_owned(), ..driver.condition.clone() };
    remedy(&format!("{name}: "), &said)
}

/// The remedy of a reason, or the message where the remedy only points at it or at another condition.
fn remedy(prefix: &str, said: &Said) -> String {
    let points = |reason: &Reason| {
        let remedy = reason.remedy.to_ascii_lowercase();
        // The message of what was rolled back begins with what it failed at, which stands above.
        reason != &REVISION_REFUSED && (remedy.contains("message") || remedy.starts_with("see the condition"))
    };
    match explain::find(&said.reason) {
        Some(reason) if !points(reason) => format!("{prefix}{}", reason.remedy),
        Some(_) | None => format!("{prefix}{}", said.message),
    }
}
