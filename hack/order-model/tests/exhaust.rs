//! Exhausts every scenario, finds what each must-fail variant must find, and lets stateright count again.
//!
//! The counts are written past the test harness's capture: they are the result.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use order_model::explore::{Found, Limit, SIGHTS, explore};
use order_model::judge::names;
use order_model::model::Order;
use order_model::rules::Scenario;
use order_model::table::{RUNS, Run, SPARE, VARIANTS};
use stateright::{Checker, Model};

/// One test with large searches at a time, which then has every core: the largest search holds a gigabyte.
static LARGE: Mutex<()> = Mutex::new(());

const EVERYTHING: Limit = Limit { until: !0, states: 60_000_000 };

/// What people read; its tables are held against what is found.
const DOCUMENT: &str = include_str!("../../../docs/order-protocol.md");

fn documented(name: &str, found: &Found) {
    let row = found.row(name);
    assert!(DOCUMENT.contains(&row), "docs/order-protocol.md needs this row now:\n{row}");
}

fn print(name: &str, found: &Found) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{name:<64} {found}").expect("stdout is open");
}

fn exhausted(run: &Run) -> Found {
    let found = explore(Order(run.scenario), EVERYTHING);
    print(run.name, &found);
    let trace = found.traces.first().map_or(String::new(), |(_, told)| told.join("\n"));
    assert_eq!(names(found.violations), Vec::<&str>::new(), "{}\n{trace}", run.name);
    assert!(!found.stopped, "{} was not exhausted", run.name);
    assert!(found.ends > 0, "{} never comes to rest", run.name);
    documented(run.name, &found);
    found
}

/// Two searches at a time; each has one thread of its own.
fn exhausted_side_by_side(runs: &[Run]) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let search =
        || std::iter::from_fn(|| runs.get(next.fetch_add(1, Ordering::Relaxed))).map(exhausted).collect();
    std::thread::scope(|scope| {
        let other = scope.spawn(search);
        let mut found: Vec<Found> = search();
        found.extend(other.join().expect("a search failed; its assertion is above"));
        found
    })
}

#[test]
fn no_history_violates_anything_and_every_history_converges() {
    let _alone = LARGE.lock();
    let (mut states, mut sights) = (0, 0);
    for found in exhausted_side_by_side(RUNS) {
        states += found.states;
        sights |= found.sights;
    }
    let unseen: Vec<_> = (0..SIGHTS.len()).filter(|n| sights & 1 << n == 0).map(|n| SIGHTS[n]).collect();
    assert_eq!(unseen, Vec::<&str>::new(), "a step that no history takes is not checked");
    writeln!(std::io::stdout().lock(), "{states} states in {} scenarios", RUNS.len())
        .expect("stdout is open");
}

#[test]
fn the_rules_kept_for_simplicity_are_not_needed_by_the_model() {
    let _alone = LARGE.lock();
    assert_eq!(exhausted_side_by_side(SPARE).len(), SPARE.len());
}

/// A second opinion on our own explorer: the same states, by another program.
fn stateright_agrees(name: &str, scenario: Scenario) {
    let ours = explore(Order(scenario), EVERYTHING);
    let theirs = Order(scenario).checker().threads(2).spawn_bfs().join();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{name:<64} {:>10} states by stateright", theirs.unique_state_count())
        .expect("stdout is open");
    theirs.assert_properties();
    assert_eq!(theirs.unique_state_count(), ours.states, "{name}");
}

#[test]
fn stateright_counts_the_same_states_and_finds_nothing_either() {
    let _alone = LARGE.lock();
    for name in ["first install, 1 action, 1 fault", "first install, 2 actions", "installed, status lost"] {
        let run = RUNS.iter().find(|run| run.name == name).expect("the run is in the table");
        stateright_agrees(name, run.scenario);
    }
}

#[test]
fn stateright_finds_counterexamples_too() {
    let _alone = LARGE.lock();
    for name in ["claim without resourceVersion", "absence instead of acknowledgement", "two leaders"] {
        let variant = VARIANTS.iter().find(|v| v.name == name).expect("the variant is in the table");
        let checker = Order(variant.scenario).checker().threads(2).spawn_bfs().join();
        let path = checker.discovery("no violation").unwrap_or_else(|| panic!("{name}: nothing found"));
        let model = Order(variant.scenario);
        assert_ne!(model.verdict(path.last_state()), 0, "{name}");
    }
}

fn must_fail(name: &str) {
    let variant = VARIANTS.iter().find(|v| v.name == name).expect("the variant is in the table");
    let found = explore(Order(variant.scenario), Limit { until: variant.expect, ..EVERYTHING });
    print(&format!("without a rule: {name}"), &found);
    assert_ne!(found.violations & variant.expect, 0, "{name}: expected {:?}", names(variant.expect));
    documented(name, &found);
}

macro_rules! must_fail {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { must_fail($name) })*
        const TESTED: &[&str] = &[$($name),*];
    };
}

must_fail! {
    a_claim_without_resource_version_lands_without_its_guard: "claim without resourceVersion",
    a_gate_trusted_without_the_guard_lets_csi_go_before_cpi: "gate trusted without guard",
    absence_instead_of_acknowledgement_takes_cpi_away_under_csi: "absence instead of acknowledgement",
    without_a_second_look_cpi_goes_away_under_an_orphaned_csi: "no second look",
    a_cpi_that_is_leaving_is_not_gone: "CPI's leaving taken for its being gone",
    without_quarantine_a_late_write_outlives_the_teardown: "no quarantine",
    two_leaders_write_what_nobody_claims: "two leaders",
    a_stale_cache_writes_what_was_refused: "objects written from a stale cache",
    without_its_rule_a_downgrade_happens_by_itself: "downgrade allowed",
    without_its_rule_an_attempt_gives_way_downwards: "attempt superseded downwards",
    a_refusal_that_binds_for_ever_ignores_the_next_try: "a refusal binds for ever",
    a_journal_of_installed_and_attempt_loses_a_superseded_one: "journal keeps only installed and attempt",
    a_journal_that_forgets_before_status_cannot_go_back: "journal forgets before status does",
    readiness_of_an_unsettled_generation_lets_csi_run_ahead: "readiness of an unsettled generation",
    unresolved_inputs_are_not_settled: "unresolved inputs count as settled",
    without_fallback_a_refused_release_keeps_an_old_configuration: "no fallback",
    without_rotation_a_held_removal_keeps_an_old_password: "no rotation while a removal is held",
    without_gates_for_a_deleting_object_nothing_rotates: "no gates for a deleting object",
    without_rebuilding_lost_status_becomes_a_downgrade: "lost status not rebuilt",
    status_rebuilt_over_nothing_is_false: "status rebuilt though nothing is there",
    a_journal_that_survives_its_driver_is_believed: "journal not cleared at removal",
    a_teardown_by_a_forgetful_journal_leaves_an_orphan: "teardown lists by journal",
    a_finalizer_never_taken_back_stays_for_ever: "finalizer never taken back",
    a_first_install_that_is_refused_never_comes: "a first install that is late is refused",
    one_slot_for_refusals_goes_round_for_ever: "one slot for refusals",
    a_removal_that_ignores_volumes_loses_them: "volumes do not hold",
    an_unreadable_list_of_volumes_is_not_an_empty_one: "unreadable counts as absent",
    a_late_write_without_mark_and_quarantine_goes_unnoticed: "objects without a revision mark, no quarantine",
}

#[test]
fn every_variant_of_the_table_has_its_test() {
    let listed: Vec<&str> = VARIANTS.iter().map(|v| v.name).collect();
    for name in &listed {
        assert!(TESTED.contains(name), "{name} has no test");
    }
    assert_eq!(listed.len(), TESTED.len());
}
