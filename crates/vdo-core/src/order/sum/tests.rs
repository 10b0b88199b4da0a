use vdo_api::status::{Attempt, CpiStatus, Gate, Installed, VDOConfigStatus};
use vdo_api::vdoconfig::{CloudProvider, VDOConfigSpec};
use vdo_compat::Downgrade;
use vdo_plan::Finding;

use super::*;
use crate::order::choose::{Question, Wish, answer};
use crate::order::matrix;
use crate::vcenter::tests::{config, verified};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

struct World {
    config: VDOConfig,
    vcenters: Vec<(String, Reading<VsphereCloudConfig>)>,
    answers: PerDriver<Option<Answer>>,
    stale: Option<Finding>,
    next: Vec<Prospect>,
    gates: Gates,
    nodes: Reading<Joined>,
    pulses: PerDriver<Pulse>,
    lacking: Vec<String>,
    known_for: Duration,
}

fn world() -> World {
    let mut vdo = VDOConfig::new(
        "vdo",
        VDOConfigSpec {
            cloud_provider: Some(CloudProvider {
                vsphere_cloud_configs: vec!["a".into()],
                ..CloudProvider::default()
            }),
            ..VDOConfigSpec::default()
        },
    );
    vdo.metadata.generation = Some(2);
    vdo.status = Some(VDOConfigStatus::default());
    World {
        config: vdo,
        vcenters: vec![("a".into(), Reading::Present(config("a")))],
        answers: PerDriver::default(),
        stale: None,
        next: Vec::new(),
        gates: Gates {
            generation: 2,
            kubernetes: "1.35.2".to_owned(),
            matrix: Default::default(),
            cpi: None,
            csi: None,
            csi_needs_cpi: Default::default(),
        },
        nodes: Reading::Present(Joined::default()),
        pulses: PerDriver { cpi: Pulse::Beats, csi: Pulse::Beats },
        lacking: Vec::new(),
        known_for: Duration::ZERO,
    }
}

impl World {
    fn record(&mut self) -> &mut DriverRecord {
        &mut self.config.status.get_or_insert_default().cpi.get_or_insert_with(CpiStatus::default).record
    }

    fn seen(mut self, generation: i64) -> Self {
        self.record().observed_generation = Some(generation);
        self
    }

    fn installed(mut self) -> Self {
        self.record().installed =
            Some(Installed { release: "1.35.0".into(), revision: "r".into(), since: Time(NOW) });
        self
    }

    fn attempting(mut self) -> Self {
        self.record().attempt = Some(Attempt {
            verb: Verb::Roll,
            release: Some("1.36.0".into()),
            revision: Some("s".into()),
            generation: 2,
            holder: String::new(),
            since: Time(NOW),
            deadline: Time(NOW),
            failure: String::new(),
        });
        self
    }

    fn cpi(mut self, truth: Truth, generation: i64) -> Self {
        let condition =
            Condition::new("CPIReady", truth, &shared::NOT_WORKING, "pod x", generation, Time(NOW));
        self.config.status.get_or_insert_default().conditions.push(condition);
        self
    }

    fn conditions(&self) -> Vec<Condition> {
        let scene = Scene {
            config: &self.config,
            vcenters: &self.vcenters,
            answers: &self.answers,
            stale: self.stale.as_ref(),
            next: &self.next,
            gates: &self.gates,
            nodes: &self.nodes,
            pulses: self.pulses,
            lacking: &self.lacking,
            known_for: self.known_for,
            now: NOW,
        };
        let conditions = conditions(&scene);
        assert_eq!(
            conditions.iter().map(|it| it.type_.as_str()).collect::<Vec<_>>(),
            super::super::CONDITIONS
        );
        conditions
    }

    fn says(&self, type_: &str) -> (Truth, String) {
        let conditions = self.conditions();
        let condition = find(&conditions, type_).unwrap();
        assert_eq!(condition.observed_generation, 2);
        (condition.status, condition.reason.clone())
    }
}

#[test]
fn ready_is_what_the_drivers_say_of_this_generation() {
    use Truth::{False, True, Unknown};
    for (what, world, truth, reason) in [
        ("silent", world(), Unknown, "NotSeenYet"),
        ("behind", world().seen(1).installed().cpi(True, 1), Unknown, "NotSeenYet"),
        ("seen, nothing said", world().seen(2), Unknown, "NotSeenYet"),
        ("works", world().seen(2).installed().cpi(True, 2), True, "AsWanted"),
        ("held over something healthy", world().seen(2).installed().cpi(True, 1), True, "AsWanted"),
        ("changing", world().seen(2).installed().attempting().cpi(True, 1), False, "RollingOut"),
        ("broken", world().seen(2).installed().cpi(False, 2), False, "NotWorking"),
        ("unclear", world().seen(2).installed().cpi(Unknown, 2), Unknown, "NotWorking"),
    ] {
        assert_eq!(world.says("Ready"), (truth, reason.to_owned()), "{what}");
    }
}

#[test]
fn what_is_under_way_is_told_and_nothing_else() {
    let under_way = (Truth::True, "WorkUnderWay".to_owned());
    let nothing = (Truth::False, "AsWanted".to_owned());
    assert_eq!(world().seen(2).installed().attempting().says("Progressing"), under_way);
    assert_eq!(world().seen(2).installed().cpi(Truth::True, 2).says("Progressing"), nothing);
    let mut going = world().seen(2).installed();
    going.config.metadata.deletion_timestamp = Some(Time(NOW));
    assert_eq!(going.says("Progressing"), under_way);
}

#[test]
fn a_silent_operator_is_named() {
    let late = World { known_for: PATIENCE, ..world().seen(1).installed().cpi(Truth::True, 1) };
    assert_eq!(late.says("Ready"), (Truth::Unknown, "OperatorSilent".into()));
    let mut still = world().seen(2).installed().cpi(Truth::True, 2);
    still.pulses.cpi = Pulse::StandsStill;
    assert_eq!(still.says("Ready"), (Truth::Unknown, "OperatorSilent".into()));
    // One whose driver nobody asked for is not missed.
    let mut other = world().seen(2).installed().cpi(Truth::True, 2);
    other.pulses.csi = Pulse::StandsStill;
    assert_eq!(other.says("Ready"), (Truth::True, "AsWanted".into()));
}

#[test]
fn what_is_not_accepted_is_not_ready() {
    let healthy = || world().seen(2).installed().cpi(Truth::True, 2);
    for (reading, reason) in [
        (Reading::Absent, "VsphereCloudConfigMissing"),
        (Reading::Unreadable("field".into()), "VsphereCloudConfigUnreadable"),
    ] {
        let world = World { vcenters: vec![("a".into(), reading)], ..healthy() };
        assert_eq!(world.says("Accepted"), (Truth::False, reason.into()));
        assert_eq!(world.says("Ready"), (Truth::False, reason.into()));
    }
}

#[test]
fn the_first_thing_wrong_is_said_and_a_refused_login_degrades_what_works_on() {
    let mut vc = config("a");
    vc.status.get_or_insert_default().conditions =
        vec![Condition::new("Ready", Truth::False, &reasons::LOGIN_REFUSED, "refused", 1, Time(NOW))];
    let vcenters = || vec![("a".to_owned(), Reading::Present(vc.clone()))];
    let fresh = World { vcenters: vcenters(), ..world().seen(2).cpi(Truth::False, 2) };
    assert_eq!(fresh.says("Ready"), (Truth::False, "LoginRefused".into()));
    let working = World { vcenters: vcenters(), ..world().seen(2).installed().cpi(Truth::True, 2) };
    assert_eq!(working.says("Ready"), (Truth::True, "AsWanted".into()));
    assert_eq!(working.says("Degraded"), (Truth::True, "LoginRefused".into()));
    let other = |name: &str| vec![(name.to_owned(), Reading::Present(vc.clone()))];
    let elsewhere = World { vcenters: other("b"), ..world().seen(2).installed().cpi(Truth::True, 2) };
    assert_eq!(elsewhere.says("Degraded"), (Truth::False, "AsWanted".into()));
}

#[test]
fn a_hold_of_the_choice_or_the_gate_is_the_reason_of_a_first_install() {
    let fresh = || world().seen(2).cpi(Truth::False, 2);
    let mut held = fresh();
    held.answers.cpi = Some(Answer::Held(Finding::hold(&shared::NO_RELEASE_FITS, "none")));
    assert_eq!(held.says("Ready"), (Truth::False, "NoReleaseFits".into()));
    assert_eq!(held.says("CompatibilityResolved"), (Truth::False, "NoReleaseFits".into()));
    let mut gate = fresh();
    gate.gates.cpi = Some(Gate {
        release: None,
        chosen_by: Default::default(),
        verdict: GateVerdict::Held,
        reason: "NodesUnreadable".into(),
        message: String::new(),
    });
    assert_eq!(gate.says("Ready"), (Truth::False, "NodesUnreadable".into()));
    // What is only not known yet is no refusal.
    for reason in [&reasons::VCENTERS_NOT_READ, &reasons::MATRIX_NOT_FETCHED, &reasons::MATRIX_NOT_SETTLED] {
        let mut waits = fresh();
        waits.answers.cpi = Some(Answer::Held(Finding::hold(reason, "a")));
        assert_eq!(waits.says("CompatibilityResolved"), (Truth::Unknown, reason.name.into()));
    }
}

#[test]
fn degraded_is_only_what_is_installed() {
    assert_eq!(world().seen(2).cpi(Truth::False, 2).says("Degraded").0, Truth::False);
    assert_eq!(world().seen(2).installed().cpi(Truth::False, 1).says("Degraded").0, Truth::True);
    assert_eq!(world().seen(2).installed().cpi(Truth::Unknown, 2).says("Degraded").0, Truth::False);
    let mut removing = world().seen(2).installed().cpi(Truth::False, 2);
    removing.config.status.as_mut().unwrap().conditions[0].reason = shared::REMOVING.name.to_owned();
    assert_eq!(removing.says("Degraded").0, Truth::False);
}

#[test]
fn node_churn_never_flips_ready() {
    let mut world = world().seen(2).installed().cpi(Truth::True, 2);
    let mut joined = Joined { waiting: 3, ..Joined::default() };
    (joined.summary.expected, joined.summary.initialised) = (10, 7);
    world.nodes = Reading::Present(joined);
    assert_eq!(world.says("NodesInitialised"), (Truth::False, "NodesWait".into()));
    assert_eq!(world.says("Ready").0, Truth::True);
    world.nodes = Reading::Unreadable("x".into());
    assert_eq!(world.says("NodesInitialised").0, Truth::Unknown);
    assert_eq!(world.says("Ready").0, Truth::True);
}

#[test]
fn progress_is_an_attempt_an_open_gate_or_a_deletion() {
    assert_eq!(world().seen(2).installed().cpi(Truth::True, 2).says("Progressing").0, Truth::False);
    assert_eq!(world().seen(2).installed().attempting().says("Progressing").0, Truth::True);
    let mut deleting = world().seen(2).installed().cpi(Truth::True, 2);
    deleting.config.metadata.deletion_timestamp = Some(Time(NOW));
    assert_eq!(deleting.says("Progressing").0, Truth::True);
    assert_eq!(deleting.says("Ready"), (Truth::False, "Removing".into()));
}

#[test]
fn the_others_are_told_which_one_counts() {
    let conditions = inactive(&world().config, "first", NOW);
    assert!(conditions.iter().all(|it| it.status == Truth::False && it.reason == "NotActive"));
    assert!(conditions[0].message.contains("VDOConfig first"));
}

#[test]
fn crds_that_are_too_old_are_said_and_take_nothing_away() {
    let mut world = world().seen(2).installed().cpi(Truth::True, 2);
    world.lacking = vec!["VDOConfig.status.new".into()];
    assert_eq!(world.says("Accepted"), (Truth::True, "CRDsOutdated".into()));
    assert_eq!(world.says("Ready").0, Truth::True);
    world.vcenters[0].1 = Reading::Absent;
    assert_eq!(world.says("Accepted").0, Truth::False, "what a user can mend at once comes first");
}

#[test]
fn whether_kubernetes_may_be_upgraded_is_the_worst_of_what_each_driver_needs() {
    let release = |text: &str| text.parse::<vdo_compat::Release>().unwrap();
    let of = |driver, advice| Prospect { driver, installed: release("1.35.1"), advice, refused: None };
    let runs = "1.36.0".parse().unwrap();
    let needs = vdo_compat::Range::only("1.35".parse().unwrap());
    let go = of(Driver::Cpi, Advice::Go { then: Some(release("1.36.0")) });
    let first = of(Driver::Csi, Advice::First(release("3.8.0")));
    let not_yet = of(Driver::Csi, Advice::NotYet(vdo_compat::Outside::Kubernetes { needs, runs }));
    for (next, truth, reason) in [
        (vec![], Truth::Unknown, "NotSeenYet"),
        (vec![go.clone()], Truth::True, "MayBeUpgraded"),
        (vec![go.clone(), first.clone()], Truth::False, "DriversFirst"),
        (vec![first, not_yet], Truth::False, "NothingFitsNext"),
    ] {
        let world = World { next, ..world() };
        assert_eq!(world.says("Upgradeable"), (truth, reason.to_owned()));
    }
    let told = World { next: vec![go], ..world() };
    let condition = told.conditions().into_iter().find(|it| it.type_ == "Upgradeable").unwrap();
    assert_eq!(
        condition.message,
        "Kubernetes 1.36: CPI 1.35.1 may stay until the API servers are upgraded; move it to 1.36.0 then, before the kubelets"
    );
    let mut unknown = world();
    unknown.gates.kubernetes = "what".to_owned();
    assert_eq!(unknown.says("Upgradeable"), (Truth::Unknown, "KubernetesVersionUnknown".to_owned()));
}

#[test]
fn a_matrix_that_cannot_be_read_anew_is_told_beside_the_choice() {
    let stale = Finding::hold(
        &reasons::MATRIX_FETCH_FAILED,
        "the matrix at https://m.example.com could not be fetched",
    );
    let world = World { stale: Some(stale), ..world() };
    assert_eq!(world.says("CompatibilityResolved"), (Truth::True, "MatrixFetchFailed".to_owned()));
}

#[test]
fn a_pin_below_what_is_installed_is_held_and_says_how_to_allow_it() {
    let there = verified(config("a"), "8.0.3");
    let matrix = Ok(matrix::built_in());
    let told = |downgrade| {
        let mut world = world().seen(2).installed().cpi(Truth::True, 2);
        world.answers.cpi = Some(answer(&Question {
            driver: Driver::Cpi,
            kubernetes: "v1.36.0",
            vcenters: vec![("a", Reading::Present(&there))],
            wish: Wish { pin: Some("1.35.1"), downgrade, ..Wish::default() },
            installed: Some("1.36.0".parse().unwrap()),
            attempted: None,
            refused: None,
            matrix: &matrix,
        }));
        let said = find(&world.conditions(), "CompatibilityResolved").unwrap().clone();
        (said.status, said.reason, said.message)
    };
    let (truth, reason, message) = told(Downgrade::Forbid);
    assert_eq!((truth, reason.as_str()), (Truth::False, "NoReleaseFits"));
    assert!(message.contains("CPI 1.36.0 stays installed"), "{message}");
    assert!(message.contains("set spec.cloudProvider.downgrade to Allow"), "{message}");
    assert_eq!(told(Downgrade::Allow).1, "ReleasesChosen");
}
