use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use vdo_api::status::{Gates, MatrixRef, Need, NodesSummary};
use vdo_api::{Condition, Truth};

use super::{News, Part};
use crate::reasons;

fn said(type_: &str, truth: Truth, message: &str) -> Condition {
    Condition::new(type_, truth, &reasons::NODES_WAIT, message, 1, Time(Timestamp::UNIX_EPOCH))
}

fn part() -> Part {
    Part {
        observed_generation: Some(1),
        conditions: vec![said("NodesInitialised", Truth::False, "3 of 9"), said("Ready", Truth::False, "")],
        gates: Some(Gates {
            generation: 1,
            kubernetes: "1.36.3".to_owned(),
            matrix: MatrixRef::default(),
            cpi: None,
            csi: None,
            csi_needs_cpi: Need::default(),
        }),
        nodes: Some(NodesSummary { expected: 9, initialised: 3, ..NodesSummary::default() }),
    }
}

fn initialised(count: i64) -> Part {
    let mut part = part();
    part.nodes.as_mut().unwrap().initialised = count;
    part
}

#[test]
fn words_and_counts_alone_are_no_facts() {
    let mut reworded = part();
    reworded.conditions[0].message = "4 of 9".to_owned();
    // A node that joins, and is initialised a moment later.
    let mut done = part();
    (done.conditions[0].status, done.conditions[0].reason) = (Truth::True, "Initialised".to_owned());
    for new in [reworded, done, initialised(4)] {
        assert_eq!(new.news(&part()), Some(News::Words), "{new:?}");
    }
    let mut turned = part();
    turned.conditions.reverse();
    assert_eq!(turned.news(&part()), None, "the API server keeps the order that it likes");
}

#[test]
fn what_somebody_decides_on_is_a_fact() {
    let change = |work: fn(&mut Part)| {
        let mut part = part();
        work(&mut part);
        part
    };
    let cases = [
        change(|it| it.conditions[1].status = Truth::True),
        change(|it| it.conditions[1].reason = "AsWanted".to_owned()),
        change(|it| it.conditions[0].status = Truth::Unknown),
        change(|it| it.conditions[0].observed_generation = 2),
        change(|it| it.conditions.truncate(1)),
        change(|it| it.observed_generation = Some(2)),
        change(|it| it.gates.as_mut().unwrap().generation = 2),
        change(|it| it.gates = None),
        change(|it| it.nodes = None),
    ];
    for new in cases {
        assert_eq!(new.news(&part()), Some(News::Facts), "{new:?}");
    }
}

#[test]
fn the_first_initialised_node_is_a_fact_and_no_other() {
    for (before, after, expected) in [
        (0, 1, News::Facts),
        (1, 2, News::Words),
        (7, 8, News::Words),
        (8, 9, News::Words),
        (9, 8, News::Words),
        (1, 0, News::Facts),
    ] {
        assert_eq!(initialised(after).news(&initialised(before)), Some(expected), "{before} to {after}");
    }
}
