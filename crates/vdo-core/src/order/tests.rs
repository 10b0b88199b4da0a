use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use vdo_api::status::{Gates, MatrixRef, Need, NodesSummary};
use vdo_api::{Condition, Truth};

use super::{News, Pace, Part};
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
        assert_eq!(new.news(&part()), News::Words, "{new:?}");
    }
    let mut turned = part();
    turned.conditions.reverse();
    assert_eq!(turned.news(&part()), News::None, "the API server keeps the order that it likes");
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
        assert_eq!(new.news(&part()), News::Facts, "{new:?}");
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
        assert_eq!(initialised(after).news(&initialised(before)), expected, "{before} to {after}");
    }
}

#[test]
fn words_are_written_at_most_every_ten_seconds_and_facts_at_once() {
    let seconds = Duration::from_secs;
    for (news, since, expected) in [
        (News::Words, Some(0), 10),
        (News::Words, Some(9), 1),
        (News::Words, Some(10), 0),
        (News::Words, Some(3600), 0),
        // A new process owes nobody a pause.
        (News::Words, None, 0),
        (News::Facts, Some(0), 0),
        (News::None, Some(0), 0),
    ] {
        let mut pace = Pace::new(seconds(10));
        if since.is_some() {
            pace.note(News::Facts, seconds(5));
        }
        let now = seconds(5 + since.unwrap_or_default());
        assert_eq!(pace.wait(news, now), seconds(expected), "{news:?} {since:?}");
    }
}

#[test]
fn counts_that_move_for_long_are_written_less_and_less_often() {
    let seconds = Duration::from_secs;
    let mut pace = Pace::new(seconds(10));
    let mut told = |from: u64, to: u64| {
        let mut told = Vec::new();
        for now in from..to {
            if pace.wait(News::Words, seconds(now)).is_zero() {
                pace.note(News::Words, seconds(now));
                told.push(now);
            }
        }
        told
    };
    assert_eq!(told(0, 300), [0, 10, 20, 30, 40, 50, 60, 70, 90, 130, 190, 250]);
    // After a rest it begins anew.
    assert_eq!(told(371, 385), [371, 381]);
}

/// Nodes come one by one for a minute, in a loop that looks at each and writes when it may.
#[test]
fn a_thousand_changes_of_a_count_make_few_writes_and_none_is_lost() {
    let (mut stored, mut pace, mut writes, mut due) =
        (initialised(1), Pace::new(Duration::from_secs(10)), 0, None);
    for tick in 0..700_u64 {
        let now = Duration::from_millis(100 * tick);
        let count = i64::try_from(2 + tick.min(600)).unwrap();
        let mut new = initialised(count);
        new.nodes.as_mut().unwrap().expected = 10_000;
        stored.nodes.as_mut().unwrap().expected = 10_000;
        let news = new.news(&stored);
        let wait = pace.wait(news, now);
        due = (news != News::None).then_some(now + wait);
        if due == Some(now) {
            pace.note(news, now);
            (stored, due) = (new, None);
            writes += 1;
        }
    }
    assert_eq!(due, None, "the last count waits for ever");
    assert_eq!(stored.nodes.unwrap().initialised, 602);
    assert_eq!(writes, 7);
}
