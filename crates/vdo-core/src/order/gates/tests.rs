use vdo_api::VDOConfig;
use vdo_api::status::{CpiStatus, DriverRecord, Installed, VDOConfigStatus};
use vdo_api::vdoconfig::{CloudProvider, StorageProvider, VDOConfigSpec};
use vdo_plan::driver::view;

use vdo_plan::finding::next_step;

use super::*;
use crate::order::choose::{Question, Wish, answer};
use crate::order::matrix;
use crate::vcenter::tests::{config, verified};

const NOW: k8s_openapi::jiff::Timestamp = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;

fn vdo() -> VDOConfig {
    let mut vdo = VDOConfig::new(
        "vdo",
        VDOConfigSpec {
            cloud_provider: Some(CloudProvider {
                vsphere_cloud_configs: vec!["a".into()],
                ..CloudProvider::default()
            }),
            storage_provider: Some(StorageProvider {
                vsphere_cloud_config: "a".into(),
                ..StorageProvider::default()
            }),
            ..VDOConfigSpec::default()
        },
    );
    vdo.metadata.generation = Some(1);
    vdo
}

fn answers(kubernetes: &str) -> PerDriver<Option<Answer>> {
    let vc = verified(config("a"), "8.0.3");
    let matrix = Ok(matrix::built_in());
    let ask = |driver| {
        Some(answer(&Question {
            driver,
            kubernetes,
            vcenters: vec![("a", Reading::Present(&vc))],
            wish: Wish::default(),
            installed: None,
            attempted: None,
            refused: None,
            matrix: &matrix,
        }))
    };
    PerDriver { cpi: ask(Driver::Cpi), csi: ask(Driver::Csi) }
}

fn nodes(network: bool) -> Reading<Joined> {
    Reading::Present(Joined { network, ..Joined::default() })
}

fn publish_for(vdo: &VDOConfig, kubernetes: &str, nodes: &Reading<Joined>, machines_known: bool) -> Gates {
    let answers = answers(kubernetes);
    let ground =
        Ground { kubernetes, matrix: MatrixRef::default(), answers: &answers, nodes, machines_known };
    publish(&view(vdo, NOW), &ground)
}

fn seen(gate: &Option<Gate>) -> (bool, bool, &str) {
    let gate = gate.as_ref().unwrap();
    (gate.release.is_some(), gate.verdict == GateVerdict::Open, gate.reason.as_str())
}

fn with_cpi_installed(kubernetes: &str) -> VDOConfig {
    let mut vdo = vdo();
    let release = answers(kubernetes).cpi.unwrap().chosen().unwrap().release().to_string();
    let installed = Some(Installed {
        release,
        revision: "r".into(),
        since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW),
    });
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW);
    vdo.status = Some(VDOConfigStatus {
        cpi: Some(CpiStatus {
            record: DriverRecord { installed, observed_generation: Some(1), ..DriverRecord::default() },
            ..CpiStatus::default()
        }),
        conditions: vec![vdo_api::Condition::new(
            "CPIReady",
            vdo_api::Truth::True,
            &shared::INSTALLED,
            "",
            1,
            now,
        )],
        ..VDOConfigStatus::default()
    });
    vdo
}

/// Whether the message of a gate is read without the gate: it names the driver and ends in a next step.
fn holds_without_its_context(driver: Driver, message: &str) {
    assert!(message.contains(driver.name()), "{message:?} does not name {driver}");
    assert!(next_step(message).is_some(), "{message:?} has no next step");
}

#[test]
fn whatever_closes_a_gate_is_told_with_the_driver_and_a_next_step() {
    for driver in [Driver::Cpi, Driver::Csi] {
        for held in Held::ALL {
            holds_without_its_context(driver, &words(driver, held).message);
        }
    }
    let dark = Reading::Unreadable("x".into());
    for (nodes, machines_known) in [(&nodes(true), false), (&dark, true)] {
        let gate = publish_for(&vdo(), "1.35.0", nodes, machines_known).cpi.unwrap();
        holds_without_its_context(Driver::Cpi, &gate.message);
    }
    let gate = publish_for(&with_cpi_installed("1.35.0"), "1.35.0", &nodes(false), true).csi.unwrap();
    holds_without_its_context(Driver::Csi, &gate.message);
}

#[test]
fn a_first_install_opens_cpi_and_holds_csi() {
    let gates = publish_for(&vdo(), "1.35.0", &nodes(true), true);
    assert_eq!(seen(&gates.cpi), (true, true, ""));
    assert_eq!(seen(&gates.csi), (true, false, "CPINotReady"));
    assert_eq!(gates.csi_needs_cpi, Need::Required);
}

#[test]
fn nothing_is_installed_before_nodes_and_machines_were_read() {
    let gates = publish_for(&vdo(), "1.35.0", &nodes(true), false);
    assert_eq!(seen(&gates.cpi), (true, false, "NodesUnreadable"));
    let gates = publish_for(&vdo(), "1.35.0", &Reading::Unreadable("x".into()), true);
    assert_eq!(seen(&gates.cpi), (true, false, "NodesUnreadable"));
}

#[test]
fn csi_opens_after_cpi_where_there_is_a_pod_network() {
    let vdo = with_cpi_installed("1.35.0");
    // What is installed is not held by machines that are not read yet.
    let gates = publish_for(&vdo, "1.35.0", &nodes(true), false);
    assert_eq!((seen(&gates.cpi), seen(&gates.csi)), ((true, true, ""), (true, true, "")));
    let gates = publish_for(&vdo, "1.35.0", &nodes(false), true);
    assert_eq!(seen(&gates.csi), (true, false, "NoPodNetwork"));
}

#[test]
fn no_match_is_a_hold_without_a_release() {
    let gates = publish_for(&vdo(), "1.3.0", &nodes(true), true);
    assert_eq!(seen(&gates.cpi), (false, false, "NoReleaseFits"));
    assert!(gates.cpi.unwrap().message.contains("nearest row"));
}

#[test]
fn a_driver_that_is_not_wanted_has_no_gate() {
    let mut vdo = vdo();
    vdo.spec.storage_provider = None;
    let ground_answers = PerDriver { cpi: answers("1.35.0").cpi, csi: None };
    let ground = Ground {
        kubernetes: "1.35.0",
        matrix: MatrixRef::default(),
        answers: &ground_answers,
        nodes: &nodes(true),
        machines_known: true,
    };
    let gates = publish(&view(&vdo, NOW), &ground);
    assert!(gates.cpi.is_some() && gates.csi.is_none());
}

#[test]
fn csi_waits_until_a_cpi_that_nobody_wants_any_more_is_gone() {
    let mut vdo = with_cpi_installed("1.35.0");
    vdo.spec.cloud_provider = None;
    let mut answers = answers("1.35.0");
    answers.cpi = None;
    // A row that needs no cloud provider.
    let Some(Answer::Chosen(chosen)) = &mut answers.csi else { panic!("a release fits") };
    chosen.row.needs_cpi = false;
    let nodes = nodes(true);
    let ground = Ground {
        kubernetes: "1.35.0",
        matrix: MatrixRef::default(),
        answers: &answers,
        nodes: &nodes,
        machines_known: true,
    };
    assert_eq!(seen(&publish(&view(&vdo, NOW), &ground).csi), (true, false, "CPIStillThere"));
}
