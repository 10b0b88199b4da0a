//! The gates: the order protocol's word, and holds of our own that only close. Pure.

use vdo_api::condition::clip;
use vdo_api::status::{ChosenBy, Gate, GateVerdict, Gates, MatrixRef, Need};
use vdo_compat::{Driver, Release};
use vdo_plan::driver::reasons as shared;
use vdo_plan::finding::ROLES;
use vdo_plan::order::{self, Choice, Held, PerDriver, Surroundings, View};
use vdo_plan::{Finding, Reading};

use super::choose::Answer;
use super::nodes::Joined;
use crate::reasons;

/// What the gates are made of, beside the VDOConfig.
pub struct Ground<'a> {
    /// The version of the API server.
    pub kubernetes: &'a str,
    /// The matrix that decided.
    pub matrix: MatrixRef,
    /// The answers for the drivers that are wanted.
    pub answers: &'a PerDriver<Option<Answer>>,
    /// The nodes with their machines.
    pub nodes: &'a Reading<Joined>,
    /// Whether the machines were ever read.
    pub machines_known: bool,
}

/// The gates to publish.
pub fn publish(view: &View<Release, String>, ground: &Ground<'_>) -> Gates {
    let choice = |answer: &Option<Answer>| {
        let chosen = answer.as_ref()?.chosen()?;
        let pinned = chosen.chosen_by == vdo_compat::ChosenBy::Pin;
        Some(Choice { release: chosen.release(), pinned })
    };
    let selected = PerDriver { cpi: choice(&ground.answers.cpi), csi: choice(&ground.answers.csi) };
    let csi_row = ground.answers.csi.as_ref().and_then(Answer::chosen).map(|chosen| chosen.row.needs_cpi);
    let waiting = ground.nodes.present().is_none_or(|joined| joined.waiting > 0);
    let around = Surroundings { row_needs_cpi: csi_row.unwrap_or(true), a_node_waits_for_cpi: waiting };
    let published = order::gates(view, selected, around);
    let gate = |driver: Driver| {
        let answer = ground.answers.of(driver).as_ref()?;
        let gate = published.gates.of(driver);
        let hold = match answer {
            Answer::Held(finding) => Some(finding.clone()),
            Answer::Chosen(_) => published
                .held
                .of(driver)
                .map(|held| words(driver, held))
                .or_else(|| own_hold(driver, view, gate.map(|it| &it.release), ground)),
        };
        Some(Gate {
            release: gate.map(|it| it.release.to_string()),
            chosen_by: if gate.is_some_and(|it| it.pinned) { ChosenBy::Pin } else { ChosenBy::Matrix },
            verdict: if hold.is_none() && gate.is_some() { GateVerdict::Open } else { GateVerdict::Held },
            reason: hold.as_ref().map(|it| it.reason.name.to_owned()).unwrap_or_default(),
            message: hold.map(|it| clip(&it.message, 1024)).unwrap_or_default(),
        })
    };
    // Nodes come and go; where a CPI is wanted anyway the answer must not flip with them.
    let free = csi_row == Some(false) && !view.wants.cpi && !waiting;
    Gates {
        generation: view.generation,
        kubernetes: clip(ground.kubernetes, 64),
        matrix: ground.matrix.clone(),
        cpi: gate(Driver::Cpi),
        csi: gate(Driver::Csi),
        csi_needs_cpi: if free { Need::NotRequired } else { Need::Required },
    }
}

/// What vdo-core alone waits for before a release changes.
fn own_hold(
    driver: Driver,
    view: &View<Release, String>,
    release: Option<&Release>,
    ground: &Ground<'_>,
) -> Option<Finding> {
    let base = view.records.of(driver).base_release();
    if base.is_some() && base == release {
        return None;
    }
    let name = driver.name();
    let joined = match ground.nodes {
        Reading::Present(joined) => joined,
        Reading::Absent => return None,
        Reading::Unreadable(why) => {
            return Some(Finding::hold(
                &reasons::NODES_UNREADABLE,
                format!("{name} waits, since the nodes cannot be read: {why}; {ROLES}"),
            ));
        }
    };
    match driver {
        // Whether every node is a known machine decides how the first CPI is rendered.
        Driver::Cpi if base.is_none() && !ground.machines_known => Some(Finding::hold(
            &reasons::NODES_UNREADABLE,
            format!(
                "{name} waits until the machines of every vCenter were read; see the conditions of the \
                 VsphereCloudConfigs"
            ),
        )),
        Driver::Csi if !joined.network => Some(Finding::hold(
            &reasons::NO_POD_NETWORK,
            format!(
                "{name} waits, since no node is Ready with a working pod network; install one, and see why no node is \
                 Ready"
            ),
        )),
        Driver::Cpi | Driver::Csi => None,
    }
}

fn words(driver: Driver, held: Held) -> Finding {
    let (name, ready) = match driver {
        Driver::Cpi => ("CPI", "CPIReady"),
        Driver::Csi => ("CSI", "CSIReady"),
    };
    match held {
        Held::Leaving => Finding::hold(
            &shared::REMOVING,
            format!("{name} is being removed, and its release stays; see {ready}"),
        ),
        Held::CpiRolling
        | Held::CpiNotInstalled
        | Held::CpiOtherRelease
        | Held::CpiNotReady
        | Held::CpiSilent => {
            Finding::hold(&shared::CPI_NOT_READY, format!("{name} waits for CPI; see CPIReady"))
        }
        Held::CpiStillThere => Finding::hold(
            &shared::CPI_STILL_THERE,
            format!("{name} waits until the CPI that is not wanted any more is gone; see CPIReady"),
        ),
        Held::NeedsCpi => Finding::hold(
            &shared::CLOUD_PROVIDER_REQUIRED,
            format!("the chosen release of {name} needs a cloud provider; set spec.cloudProvider"),
        ),
        Held::NodesWaitForCpi => Finding::hold(
            &shared::CLOUD_PROVIDER_REQUIRED,
            format!("{name} waits, since nodes wait for a cloud provider; set spec.cloudProvider"),
        ),
        Held::NoRelease | Held::NotChosen => {
            let message = format!("no release of {name} fits; see CompatibilityResolved");
            Finding::hold(&shared::NO_RELEASE_FITS, message)
        }
        Held::GatesOfAnotherGeneration
        | Held::GateClosed
        | Held::Downgrade
        | Held::BelowAttempt
        | Held::Refused
        | Held::InputsUnresolved
        | Held::CsiStillThere
        | Held::CsiObjectsSeen
        | Held::CsiObjectsUnreadable
        | Held::Volumes
        | Held::VolumesUnreadable
        | Held::ObjectsUnreadable
        | Held::Quiet => {
            Finding::hold(&shared::GATE_HELD, format!("{name} waits for its operator; see {ready}"))
        }
    }
}

#[cfg(test)]
mod tests;
