use super::*;

type View_ = View<u8, char>;
type Seen_ = Seen<u8, char>;

fn key(release: u8, id: char) -> Key<u8, char> {
    Key { release, id }
}

fn gate(release: u8) -> Option<Gate<u8>> {
    Some(Gate { release, pinned: false, open: true })
}

/// A VDOConfig of generation 7 that wants both drivers, with open gates for release 2 of each.
fn view() -> View_ {
    View {
        generation: 7,
        deleting: false,
        policy: DeletionPolicy::Remove,
        wants: PerDriver { cpi: true, csi: true },
        finalizer: PerDriver { cpi: true, csi: true },
        gates: Some(Gates { generation: 7, cpi: gate(2), csi: gate(2) }),
        records: PerDriver::default(),
    }
}

impl View<u8, char> {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn installed(self, driver: Driver, key: Key<u8, char>) -> Self {
        self.with(|v| v.records.of_mut(driver).installed = Some(key))
    }

    fn rolling(self, driver: Driver, target: Key<u8, char>) -> Self {
        self.with(|v| {
            v.records.of_mut(driver).attempt =
                Some(Attempt { verb: Verb::Roll, target: Some(target), expired: false });
        })
    }

    fn expired(self, driver: Driver) -> Self {
        self.with(|v| v.records.of_mut(driver).attempt.as_mut().unwrap().expired = true)
    }

    fn removing(self, driver: Driver) -> Self {
        self.with(|v| {
            v.records.of_mut(driver).attempt =
                Some(Attempt { verb: Verb::Remove, target: None, expired: false });
        })
    }

    fn with_cpi_settled(self) -> Self {
        self.installed(Driver::Cpi, key(2, 'p')).with(|v| {
            v.records.cpi.ready = true;
            v.records.cpi.ready_generation = 7;
        })
    }

    fn closed(self, driver: Driver) -> Self {
        self.with(|v| {
            let gates = v.gates.as_mut().unwrap();
            let gate = match driver {
                Driver::Cpi => &mut gates.cpi,
                Driver::Csi => &mut gates.csi,
            };
            gate.as_mut().unwrap().open = false;
        })
    }

    fn pinned(self, driver: Driver, release: u8) -> Self {
        self.with(|v| {
            let gates = v.gates.as_mut().unwrap();
            let gate = match driver {
                Driver::Cpi => &mut gates.cpi,
                Driver::Csi => &mut gates.csi,
            };
            *gate = Some(Gate { release, pinned: true, open: true });
        })
    }

    fn deleting(self) -> Self {
        self.with(|v| v.deleting = true)
    }
}

/// A cluster where nothing of ours is.
fn nothing() -> Seen_ {
    Seen {
        quiet: false,
        objects: Objects::Nothing,
        installed: Progress::Missing,
        attempted: Progress::Missing,
        others: Look::Nothing,
        volumes: Look::Nothing,
        journal_installed: None,
        journal_empty: true,
    }
}

/// A cluster where the installed revision is whole and works.
fn healthy() -> Seen_ {
    Seen {
        objects: Objects::Workload,
        installed: Progress::Healthy,
        journal_installed: Some(key(1, 'a')),
        journal_empty: false,
        ..nothing()
    }
}

fn wanting(wanted: Key<u8, char>) -> Candidates<u8, char> {
    Candidates { wanted: Some(wanted), fallback: None }
}

fn either(wanted: Key<u8, char>, fallback: Key<u8, char>) -> Candidates<u8, char> {
    Candidates { wanted: Some(wanted), fallback: Some(fallback) }
}

fn unresolved() -> Candidates<u8, char> {
    Candidates { wanted: None, fallback: None }
}

fn claims(verb: Verb, target: Option<Key<u8, char>>) -> Step<u8, char> {
    Step::Claim { verb, target, take_finalizer: false }
}

fn acts(step: &Step<u8, char>) -> Vec<Act<u8, char>> {
    step.acts().collect()
}

mod the_guard_of_a_roll_out {
    use super::*;

    #[test]
    fn admits_nothing_without_gates_of_this_generation() {
        let edited = view().with(|v| v.generation = 8);
        assert_eq!(may_roll(Driver::Cpi, &edited, &2), Err(Held::GatesOfAnotherGeneration));
        let fresh = view().with(|v| v.gates = None);
        assert_eq!(may_roll(Driver::Cpi, &fresh, &2), Err(Held::GatesOfAnotherGeneration));
    }

    #[test]
    fn admits_cpi_through_an_open_gate_whatever_csi_does() {
        assert_eq!(may_roll(Driver::Cpi, &view().rolling(Driver::Csi, key(2, 's')), &2), Ok(()));
    }

    #[test]
    fn a_closed_gate_holds_a_change_of_release() {
        let closed = view().closed(Driver::Cpi).installed(Driver::Cpi, key(1, 'a'));
        assert_eq!(may_roll(Driver::Cpi, &closed, &2), Err(Held::GateClosed));
    }

    #[test]
    fn a_closed_gate_lets_a_new_configuration_of_the_installed_release_through() {
        let closed = view().closed(Driver::Csi).installed(Driver::Csi, key(2, 'a'));
        assert_eq!(may_roll(Driver::Csi, &closed, &2), Ok(()));
    }

    #[test]
    fn a_closed_gate_lets_a_first_attempt_be_mended() {
        let closed = view().closed(Driver::Csi).rolling(Driver::Csi, key(2, 'a'));
        assert_eq!(may_roll(Driver::Csi, &closed, &2), Ok(()));
    }

    #[test]
    fn a_release_that_was_not_chosen_is_held() {
        assert_eq!(may_roll(Driver::Cpi, &view(), &3), Err(Held::NotChosen));
        let none = view().with(|v| v.gates.as_mut().unwrap().cpi = None);
        assert_eq!(may_roll(Driver::Cpi, &none, &3), Err(Held::NoRelease));
    }

    #[test]
    fn a_downgrade_needs_a_pin() {
        let newer = view().installed(Driver::Cpi, key(3, 'a'));
        assert_eq!(may_roll(Driver::Cpi, &newer, &2), Err(Held::Downgrade));
        assert_eq!(may_roll(Driver::Cpi, &newer.pinned(Driver::Cpi, 2), &2), Ok(()));
    }

    #[test]
    fn an_attempt_gives_way_to_a_lower_release_only_when_pinned() {
        let trying = view().installed(Driver::Cpi, key(1, 'a')).rolling(Driver::Cpi, key(3, 'b'));
        assert_eq!(may_roll(Driver::Cpi, &trying, &2), Err(Held::BelowAttempt));
        assert_eq!(may_roll(Driver::Cpi, &trying.expired(Driver::Cpi), &2), Err(Held::BelowAttempt));
        assert_eq!(may_roll(Driver::Cpi, &trying.pinned(Driver::Cpi, 2), &2), Ok(()));
    }

    #[test]
    fn a_first_install_gives_way_downwards_after_its_deadline() {
        let trying = view().rolling(Driver::Cpi, key(3, 'b'));
        assert_eq!(may_roll(Driver::Cpi, &trying, &2), Err(Held::BelowAttempt));
        assert_eq!(may_roll(Driver::Cpi, &trying.expired(Driver::Cpi), &2), Ok(()));
    }

    #[test]
    fn csi_waits_for_cpi_to_be_installed() {
        assert_eq!(may_roll(Driver::Csi, &view(), &2), Err(Held::CpiNotInstalled));
    }

    #[test]
    fn csi_waits_while_cpi_rolls_even_if_it_is_ready() {
        let rolling = view().with_cpi_settled().rolling(Driver::Cpi, key(2, 'q'));
        assert_eq!(may_roll(Driver::Csi, &rolling, &2), Err(Held::CpiRolling));
    }

    #[test]
    fn csi_waits_for_the_cpi_release_of_the_gate() {
        let other = view().with_cpi_settled().installed(Driver::Cpi, key(1, 'p'));
        assert_eq!(may_roll(Driver::Csi, &other, &2), Err(Held::CpiOtherRelease));
    }

    #[test]
    fn csi_waits_for_cpi_to_speak_for_this_generation() {
        let silent = view().with_cpi_settled().with(|v| v.records.cpi.ready_generation = 6);
        assert_eq!(may_roll(Driver::Csi, &silent, &2), Err(Held::CpiSilent));
    }

    #[test]
    fn csi_waits_for_cpi_to_be_ready() {
        let broken = view().with_cpi_settled().with(|v| v.records.cpi.ready = false);
        assert_eq!(may_roll(Driver::Csi, &broken, &2), Err(Held::CpiNotReady));
        assert_eq!(may_roll(Driver::Csi, &view().with_cpi_settled(), &2), Ok(()));
    }

    #[test]
    fn a_cpi_fault_never_withholds_a_new_configuration_from_csi() {
        let broken = view().installed(Driver::Csi, key(2, 's')).rolling(Driver::Cpi, key(2, 'p'));
        assert_eq!(may_roll(Driver::Csi, &broken, &2), Ok(()));
    }

    #[test]
    fn csi_without_a_cpi_waits_until_the_old_cpi_has_acknowledged_that_it_is_gone() {
        let without = view().with(|v| v.wants.cpi = false);
        assert_eq!(may_roll(Driver::Csi, &without, &2), Err(Held::CpiStillThere));
        let leaving = without.removing(Driver::Cpi).with(|v| v.finalizer.cpi = false);
        assert_eq!(may_roll(Driver::Csi, &leaving, &2), Err(Held::CpiStillThere));
        let gone = without.with(|v| v.finalizer.cpi = false);
        assert_eq!(may_roll(Driver::Csi, &gone, &2), Ok(()));
    }

    #[test]
    fn rotation_goes_on_while_a_deletion_is_held() {
        let held = view().deleting().installed(Driver::Csi, key(1, 's'));
        assert_eq!(may_roll(Driver::Csi, &held, &1), Ok(()));
        assert_eq!(may_roll(Driver::Csi, &held, &2), Err(Held::Leaving));
        assert_eq!(may_roll(Driver::Csi, &held.removing(Driver::Csi), &1), Err(Held::Leaving));
        let stripped = held.with(|v| v.finalizer.csi = false);
        assert_eq!(may_roll(Driver::Csi, &stripped, &1), Err(Held::Leaving));
    }
}

mod the_guard_of_a_removal {
    use super::*;

    #[test]
    fn csi_waits_for_its_volumes_and_for_being_able_to_see_them() {
        let with = |volumes| Seen { volumes, ..healthy() };
        assert_eq!(may_remove(Driver::Csi, &view(), &with(Look::Something)), Err(Held::Volumes));
        assert_eq!(may_remove(Driver::Csi, &view(), &with(Look::Unreadable)), Err(Held::VolumesUnreadable));
        assert_eq!(may_remove(Driver::Csi, &view(), &with(Look::Nothing)), Ok(()));
    }

    #[test]
    fn cpi_waits_for_the_acknowledgement_of_csi_not_for_its_absence() {
        let held = Err(Held::CsiStillThere);
        assert_eq!(may_remove(Driver::Cpi, &view(), &healthy()), held);
        let released = view().with(|v| v.finalizer.csi = false);
        assert_eq!(may_remove(Driver::Cpi, &released.installed(Driver::Csi, key(1, 's')), &healthy()), held);
        assert_eq!(may_remove(Driver::Cpi, &released.removing(Driver::Csi), &healthy()), held);
        assert_eq!(may_remove(Driver::Cpi, &released, &healthy()), Ok(()));
    }

    #[test]
    fn cpi_takes_a_second_look_for_csi_objects_that_an_orphaning_left() {
        let released = view().with(|v| v.finalizer.csi = false);
        let with = |others| Seen { others, ..healthy() };
        let seen = Err(Held::CsiObjectsSeen);
        assert_eq!(may_remove(Driver::Cpi, &released, &with(Look::Something)), seen);
        let blind = Err(Held::CsiObjectsUnreadable);
        assert_eq!(may_remove(Driver::Cpi, &released, &with(Look::Unreadable)), blind);
    }
}

mod the_gates {
    use super::*;

    const BOTH: PerDriver<Option<Choice<u8>>> = PerDriver {
        cpi: Some(Choice { release: 2, pinned: false }),
        csi: Some(Choice { release: 2, pinned: false }),
    };

    #[test]
    fn cpi_waits_for_nobody_and_csi_for_cpi() {
        let published = gates(&view(), BOTH, Surroundings::default());
        assert!(published.gates.cpi.unwrap().open);
        assert!(!published.gates.csi.unwrap().open);
        assert_eq!(published.held, PerDriver { cpi: None, csi: Some(Held::CpiNotInstalled) });
        let settled = gates(&view().with_cpi_settled(), BOTH, Surroundings::default());
        assert_eq!(settled.held, PerDriver { cpi: None, csi: None });
    }

    #[test]
    fn they_speak_for_the_generation_they_were_made_from() {
        assert_eq!(
            gates(&view().with(|v| v.generation = 9), BOTH, Surroundings::default()).gates.generation,
            9
        );
    }

    #[test]
    fn a_deleting_object_keeps_its_choice_behind_closed_gates() {
        let published = gates(&view().with_cpi_settled().deleting(), BOTH, Surroundings::default());
        assert_eq!(published.gates.csi, Some(Gate { release: 2, pinned: false, open: false }));
        assert_eq!(published.held.cpi, Some(Held::Leaving));
    }

    #[test]
    fn a_driver_that_nobody_wants_or_no_release_fits_has_no_gate() {
        let published = gates(&view().with(|v| v.wants.cpi = false), BOTH, Surroundings::default());
        assert_eq!((published.gates.cpi, published.held.cpi), (None, Some(Held::Leaving)));
        let none = PerDriver { cpi: None, ..BOTH };
        assert_eq!(gates(&view(), none, Surroundings::default()).held.cpi, Some(Held::NoRelease));
    }

    #[test]
    fn csi_without_a_cpi_needs_a_row_and_nodes_that_need_none() {
        let without = view().with(|v| {
            v.wants.cpi = false;
            v.finalizer.cpi = false;
        });
        let row = Surroundings { row_needs_cpi: true, ..Surroundings::default() };
        let node = Surroundings { a_node_waits_for_cpi: true, ..Surroundings::default() };
        assert_eq!(gates(&without, BOTH, row).held.csi, Some(Held::NeedsCpi));
        assert_eq!(gates(&without, BOTH, node).held.csi, Some(Held::NodesWaitForCpi));
        assert_eq!(gates(&without, BOTH, Surroundings::default()).held.csi, None);
    }

    #[test]
    fn csi_that_stays_at_its_release_keeps_its_gate_but_not_while_it_is_removed() {
        let without = view().with(|v| v.wants.cpi = false).installed(Driver::Csi, key(2, 's'));
        let row = Surroundings { row_needs_cpi: true, ..Surroundings::default() };
        assert_eq!(gates(&without, BOTH, row).held.csi, None);
        assert_eq!(gates(&without.removing(Driver::Csi), BOTH, row).held.csi, Some(Held::NeedsCpi));
    }

    #[test]
    fn nothing_below_the_installed_release_is_chosen_unless_pinned() {
        let record = Record { installed: Some(key(3, 'a')), ..Record::default() };
        let release = |pinned| chosen(Some(Choice { release: 2, pinned }), &record).unwrap().release;
        assert_eq!(release(false), 3);
        assert_eq!(release(true), 2);
        assert_eq!(chosen(None, &record), None);
    }

    #[test]
    fn the_vdoconfig_that_bears_our_finalizer_counts_else_the_oldest() {
        let of = |finalizer, created, name| Contender { finalizer, created, name };
        assert_eq!(active(&[of(false, 1, "a"), of(true, 2, "b")]), Some(1));
        assert_eq!(active(&[of(false, 2, "a"), of(false, 1, "b")]), Some(1));
        assert_eq!(active(&[of(false, 1, "b"), of(false, 1, "a")]), Some(1));
        assert_eq!(active::<u8>(&[]), None);
    }
}

mod a_roll_out {
    use super::*;

    #[test]
    fn begins_with_finalizer_and_journal_and_then_the_claim() {
        let fresh = view().with(|v| v.finalizer.cpi = false);
        let decision = decide(Driver::Cpi, &fresh, &nothing(), &wanting(key(2, 'a')));
        let target = Some(key(2, 'a'));
        assert_eq!(decision.step, Step::Claim { verb: Verb::Roll, target, take_finalizer: true });
        assert_eq!(acts(&decision.step), [Act::TakeFinalizer, Act::WriteJournal { target }]);
        assert_eq!(decision.record.rolling(), Some(&key(2, 'a')));
        assert_eq!(decision.held, None);
    }

    #[test]
    fn writes_objects_only_in_a_pass_that_sees_its_claim() {
        let claimed = view().rolling(Driver::Cpi, key(2, 'a'));
        let decision = decide(Driver::Cpi, &claimed, &nothing(), &wanting(key(2, 'a')));
        assert_eq!(decision.step, Step::Apply { key: key(2, 'a'), why: Why::Roll });
        assert_eq!(decision.record, claimed.records.cpi);
    }

    #[test]
    fn is_installed_once_healthy_and_prunes_before_the_journal_names_it() {
        let claimed = view().installed(Driver::Cpi, key(1, 'a')).rolling(Driver::Cpi, key(2, 'b'));
        let seen = Seen { attempted: Progress::Healthy, installed: Progress::Missing, ..healthy() };
        let decision = decide(Driver::Cpi, &claimed, &seen, &either(key(2, 'b'), key(1, 'a')));
        let keep = key(2, 'b');
        assert_eq!(
            acts(&decision.step),
            [Act::PruneObjects { keep }, Act::SettleJournal { installed: keep }]
        );
        assert_eq!((decision.record.installed, decision.record.attempt), (Some(keep), None));
        assert_eq!((decision.record.ready, decision.record.ready_generation), (true, 7));
    }

    #[test]
    fn goes_on_when_its_gate_closes_or_its_generation_passes() {
        let claimed = view().installed(Driver::Csi, key(1, 'a')).rolling(Driver::Csi, key(2, 'b'));
        let candidates = either(key(2, 'b'), key(1, 'a'));
        let apply = Step::Apply { key: key(2, 'b'), why: Why::Roll };
        let closed = decide(Driver::Csi, &claimed.closed(Driver::Csi), &healthy(), &candidates);
        assert_eq!((closed.step, closed.held), (apply, None));
        let edited = claimed.with(|v| v.generation = 8);
        assert_eq!(decide(Driver::Csi, &edited, &healthy(), &unresolved()).step, apply);
    }

    #[test]
    fn waits_for_health_without_writing() {
        let claimed = view().rolling(Driver::Cpi, key(2, 'a'));
        for attempted in [Progress::Applied, Progress::Unreadable] {
            let seen = Seen { attempted, ..healthy() };
            assert_eq!(decide(Driver::Cpi, &claimed, &seen, &wanting(key(2, 'a'))).step, Step::Nothing);
        }
    }

    #[test]
    fn goes_back_after_its_deadline_and_is_then_refused() {
        let late =
            view().installed(Driver::Cpi, key(1, 'a')).rolling(Driver::Cpi, key(2, 'b')).expired(Driver::Cpi);
        let candidates = either(key(2, 'b'), key(1, 'a'));
        let off = Seen { attempted: Progress::Applied, installed: Progress::Missing, ..healthy() };
        let back = Step::Apply { key: key(1, 'a'), why: Why::Back };
        assert_eq!(decide(Driver::Cpi, &late, &off, &candidates).step, back);
        let on = Seen { attempted: Progress::Missing, installed: Progress::Healthy, ..healthy() };
        let decision = decide(Driver::Cpi, &late, &on, &candidates);
        assert_eq!(decision.step, Step::Refuse { back_to: key(1, 'a') });
        assert!(decision.record.refuses(&key(2, 'b'), 7));
        assert_eq!(decision.record.attempt, None);
        assert_eq!((decision.record.ready, decision.record.ready_generation), (true, 7));
    }

    #[test]
    fn is_not_rolled_back_because_it_could_not_be_read() {
        let late =
            view().installed(Driver::Cpi, key(1, 'a')).rolling(Driver::Cpi, key(2, 'b')).expired(Driver::Cpi);
        let seen = Seen { attempted: Progress::Unreadable, installed: Progress::Missing, ..healthy() };
        assert_eq!(decide(Driver::Cpi, &late, &seen, &either(key(2, 'b'), key(1, 'a'))).step, Step::Nothing);
    }

    #[test]
    fn healthy_at_the_last_moment_is_installed() {
        let late =
            view().installed(Driver::Cpi, key(1, 'a')).rolling(Driver::Cpi, key(2, 'b')).expired(Driver::Cpi);
        let seen = Seen { attempted: Progress::Healthy, installed: Progress::Missing, ..healthy() };
        let step = decide(Driver::Cpi, &late, &seen, &either(key(2, 'b'), key(1, 'a'))).step;
        assert_eq!(step, Step::Install { key: key(2, 'b') });
    }

    #[test]
    fn of_a_first_install_keeps_trying_after_its_deadline() {
        let late = view().rolling(Driver::Cpi, key(2, 'b')).expired(Driver::Cpi);
        let step = decide(Driver::Cpi, &late, &nothing(), &wanting(key(2, 'b'))).step;
        assert_eq!(step, Step::Apply { key: key(2, 'b'), why: Why::Roll });
    }

    #[test]
    fn is_superseded_by_a_newer_claim() {
        let claimed = view().installed(Driver::Cpi, key(2, 'a')).rolling(Driver::Cpi, key(2, 'b'));
        let step = decide(Driver::Cpi, &claimed, &healthy(), &wanting(key(2, 'c'))).step;
        assert_eq!(step, claims(Verb::Roll, Some(key(2, 'c'))));
    }

    #[test]
    fn over_something_installed_ends_before_a_fallback() {
        let claimed =
            view().closed(Driver::Csi).installed(Driver::Csi, key(1, 'a')).rolling(Driver::Csi, key(2, 'b'));
        let seen = Seen { attempted: Progress::Applied, ..healthy() };
        let step = decide(Driver::Csi, &claimed, &seen, &either(key(2, 'c'), key(1, 'd'))).step;
        assert_eq!(step, Step::Nothing);
    }
}

mod a_hold {
    use super::*;

    #[test]
    fn repairs_the_installed_revision_and_says_why() {
        let held = view().closed(Driver::Csi).installed(Driver::Csi, key(1, 'a'));
        let seen = Seen { installed: Progress::Missing, ..healthy() };
        let decision = decide(Driver::Csi, &held, &seen, &either(key(2, 'b'), key(1, 'a')));
        assert_eq!(decision.step, Step::Apply { key: key(1, 'a'), why: Why::Repair });
        assert_eq!(decision.held, Some(Held::GateClosed));
    }

    #[test]
    fn of_a_release_rolls_a_new_configuration_out_for_the_installed_one() {
        let held = view().closed(Driver::Csi).installed(Driver::Csi, key(1, 'a'));
        let decision = decide(Driver::Csi, &held, &healthy(), &either(key(2, 'b'), key(1, 'c')));
        assert_eq!(decision.step, claims(Verb::Roll, Some(key(1, 'c'))));
        assert_eq!(decision.held, Some(Held::GateClosed));
    }

    #[test]
    fn by_a_refused_release_rolls_a_new_configuration_out_for_the_installed_one() {
        let mut refused = view().installed(Driver::Cpi, key(1, 'a'));
        refused.records.cpi.refused_release = Some(Refusal { key: key(2, 'b'), generation: 7 });
        let decision = decide(Driver::Cpi, &refused, &healthy(), &either(key(2, 'b'), key(1, 'c')));
        assert_eq!(decision.step, claims(Verb::Roll, Some(key(1, 'c'))));
        assert_eq!(decision.held, Some(Held::Refused));
    }

    #[test]
    fn without_a_fitting_release_keeps_rotating_passwords() {
        let none = view().installed(Driver::Csi, key(1, 'a')).with(|v| v.gates.as_mut().unwrap().csi = None);
        assert_eq!(wanted_release(Driver::Csi, &none), None);
        assert_eq!(fallback_release(Driver::Csi, &none), Some(1));
        let candidates = Candidates { wanted: None, fallback: Some(key(1, 'c')) };
        let decision = decide(Driver::Csi, &none, &healthy(), &candidates);
        assert_eq!(decision.step, claims(Verb::Roll, Some(key(1, 'c'))));
        assert_eq!(decision.held, Some(Held::NoRelease));
    }

    #[test]
    fn by_unresolved_inputs_keeps_what_is_installed() {
        let held = view().with_cpi_settled();
        let decision = decide(Driver::Cpi, &held, &healthy(), &unresolved());
        assert_eq!((decision.step, decision.held), (Step::Nothing, Some(Held::InputsUnresolved)));
        assert_eq!(decision.record, held.records.cpi);
    }

    #[test]
    fn a_new_generation_tries_a_refused_revision_again() {
        let mut refused = view().installed(Driver::Cpi, key(1, 'a'));
        refused.records.cpi.refused_release = Some(Refusal { key: key(2, 'b'), generation: 6 });
        let step = decide(Driver::Cpi, &refused, &healthy(), &either(key(2, 'b'), key(1, 'a'))).step;
        assert_eq!(step, claims(Verb::Roll, Some(key(2, 'b'))));
    }

    #[test]
    fn a_candidate_of_a_release_that_was_not_asked_for_is_ignored() {
        let held = view().installed(Driver::Cpi, key(2, 'a'));
        assert_eq!(
            decide(Driver::Cpi, &held, &healthy(), &either(key(3, 'b'), key(1, 'c'))).step,
            Step::Nothing
        );
    }

    #[test]
    fn in_quarantine_nothing_but_status_is_written() {
        let quiet = Seen { quiet: true, ..nothing() };
        let decision = decide(Driver::Cpi, &view(), &quiet, &wanting(key(2, 'a')));
        assert_eq!((decision.step, decision.held), (Step::Nothing, Some(Held::Quiet)));
    }
}

mod readiness {
    use super::*;

    #[test]
    fn does_not_speak_for_a_generation_whose_gates_are_not_there() {
        let edited = view().with_cpi_settled().with(|v| v.generation = 8);
        let record = decide(Driver::Cpi, &edited, &healthy(), &unresolved()).record;
        assert_eq!((record.ready, record.ready_generation), (true, 7));
    }

    #[test]
    fn does_not_speak_for_a_generation_while_something_is_left_to_roll_out() {
        let edited = view().with_cpi_settled().with(|v| {
            v.generation = 8;
            v.gates.as_mut().unwrap().generation = 8;
        });
        let claiming = decide(Driver::Cpi, &edited, &healthy(), &wanting(key(2, 'q'))).record;
        assert_eq!((claiming.ready, claiming.ready_generation), (true, 7));
        let unchanged = decide(Driver::Cpi, &edited, &healthy(), &wanting(key(2, 'p'))).record;
        assert_eq!((unchanged.ready, unchanged.ready_generation), (true, 8));
    }

    #[test]
    fn does_not_speak_for_a_generation_whose_inputs_do_not_resolve() {
        let edited = view().with_cpi_settled().with(|v| {
            v.generation = 8;
            v.gates.as_mut().unwrap().generation = 8;
        });
        assert_eq!(decide(Driver::Cpi, &edited, &healthy(), &unresolved()).record.ready_generation, 7);
    }

    #[test]
    fn speaks_for_the_generation_when_the_wanted_release_is_held_and_the_configuration_current() {
        let held = view().closed(Driver::Cpi).installed(Driver::Cpi, key(1, 'a'));
        let record = decide(Driver::Cpi, &held, &healthy(), &either(key(2, 'b'), key(1, 'a'))).record;
        assert_eq!((record.ready, record.ready_generation), (true, 7));
    }

    #[test]
    fn falls_when_the_installed_revision_is_not_healthy() {
        for installed in [Progress::Missing, Progress::Applied, Progress::Unreadable] {
            let seen = Seen { installed, ..healthy() };
            assert!(
                !decide(Driver::Cpi, &view().with_cpi_settled(), &seen, &wanting(key(2, 'p'))).record.ready
            );
        }
    }
}

#[test]
fn a_pass_whose_writes_fail_keeps_the_record_and_still_tells_the_drivers_health() {
    let seen = Seen { installed: Progress::Missing, ..healthy() };
    let claimed = view().with_cpi_settled().rolling(Driver::Cpi, key(2, 'q'));
    let decision =
        decide(Driver::Cpi, &claimed, &Seen { attempted: Progress::Healthy, ..seen }, &unresolved());
    assert_eq!(decision.record.installed, Some(key(2, 'q')));
    assert_eq!(decision.otherwise, Record { ready: false, ..claimed.records.cpi });
}

mod a_removal {
    use super::*;

    fn leaving() -> View_ {
        view().deleting().installed(Driver::Csi, key(1, 'a'))
    }

    fn rotating(key: Key<u8, char>) -> Candidates<u8, char> {
        Candidates { wanted: None, fallback: Some(key) }
    }

    #[test]
    fn is_claimed_before_anything_is_deleted() {
        let decision = decide(Driver::Csi, &leaving(), &healthy(), &rotating(key(1, 'a')));
        assert_eq!(decision.step, claims(Verb::Remove, None));
        assert!(decision.record.removing());
        assert_eq!(decision.record.installed, Some(key(1, 'a')));
    }

    #[test]
    fn of_a_driver_taken_out_of_the_spec_sets_a_missing_finalizer_back_first() {
        let out = view().with(|v| {
            v.wants.csi = false;
            v.finalizer.csi = false;
        });
        let decision =
            decide(Driver::Csi, &out.installed(Driver::Csi, key(1, 'a')), &healthy(), &unresolved());
        assert_eq!(decision.step, Step::PutBackFinalizer);
        let leftovers =
            decide(Driver::Csi, &out, &Seen { journal_installed: None, ..healthy() }, &unresolved());
        assert_eq!(leftovers.step, Step::Claim { verb: Verb::Remove, target: None, take_finalizer: true });
    }

    #[test]
    fn held_by_volumes_goes_on_repairing_and_rotating() {
        let held = Seen { volumes: Look::Something, ..healthy() };
        let rotated = decide(Driver::Csi, &leaving(), &held, &rotating(key(1, 'b')));
        assert_eq!(rotated.step, claims(Verb::Roll, Some(key(1, 'b'))));
        assert_eq!(rotated.held, Some(Held::Volumes));
        let drifted = Seen { installed: Progress::Missing, ..held };
        let repaired = decide(Driver::Csi, &leaving(), &drifted, &rotating(key(1, 'a')));
        assert_eq!(repaired.step, Step::Apply { key: key(1, 'a'), why: Why::Repair });
    }

    #[test]
    fn held_by_volumes_lets_an_attempt_end() {
        let held = Seen { volumes: Look::Something, attempted: Progress::Healthy, ..healthy() };
        let step =
            decide(Driver::Csi, &leaving().rolling(Driver::Csi, key(1, 'b')), &held, &unresolved()).step;
        assert_eq!(step, Step::Install { key: key(1, 'b') });
    }

    #[test]
    fn of_cpi_is_held_while_csi_is_there_also_when_only_the_spec_drops_it() {
        let dropped = view().with_cpi_settled().with(|v| v.wants.cpi = false);
        let decision = decide(
            Driver::Cpi,
            &dropped.installed(Driver::Csi, key(1, 's')),
            &healthy(),
            &rotating(key(2, 'p')),
        );
        assert_eq!((decision.step, decision.held), (Step::Nothing, Some(Held::CsiStillThere)));
    }

    #[test]
    fn deletes_then_looks_again_then_clears_the_journal_then_records_then_releases() {
        let claimed = leaving().removing(Driver::Csi);
        assert_eq!(decide(Driver::Csi, &claimed, &healthy(), &unresolved()).step, Step::Delete);
        let empty = Seen { objects: Objects::Nothing, installed: Progress::Missing, ..healthy() };
        let decision = decide(Driver::Csi, &claimed, &empty, &unresolved());
        assert_eq!(acts(&decision.step), [Act::LookAgain, Act::ClearJournal]);
        assert_eq!(decision.record, Record::default());
        let recorded = view().deleting();
        let decision = decide(Driver::Csi, &recorded, &nothing(), &unresolved());
        assert_eq!(acts(&decision.step), [Act::ReleaseFinalizer]);
        assert!(!decision.step.reports());
    }

    #[test]
    fn deletes_what_the_label_finds_although_status_names_nothing() {
        let seen = Seen { objects: Objects::Leftovers, ..nothing() };
        assert_eq!(
            decide(Driver::Csi, &view().deleting(), &seen, &unresolved()).step,
            claims(Verb::Remove, None)
        );
    }

    #[test]
    fn that_cannot_see_its_objects_neither_deletes_nor_releases() {
        let blind = Seen { objects: Objects::Unreadable, ..healthy() };
        for view in [leaving().removing(Driver::Csi), view().deleting()] {
            let decision = decide(Driver::Csi, &view, &blind, &unresolved());
            assert_eq!((decision.step, decision.held), (Step::Nothing, Some(Held::ObjectsUnreadable)));
        }
    }

    #[test]
    fn turned_back_by_a_volume_restores_and_refuses_nothing() {
        let claimed = leaving().removing(Driver::Csi);
        let gone = Seen { volumes: Look::Something, installed: Progress::Missing, ..healthy() };
        let step = decide(Driver::Csi, &claimed, &gone, &unresolved()).step;
        assert_eq!(step, Step::Apply { key: key(1, 'a'), why: Why::Restore });
        let back = Seen { installed: Progress::Applied, ..gone };
        let decision = decide(Driver::Csi, &claimed, &back, &unresolved());
        assert_eq!(decision.step, Step::Restored);
        assert_eq!(decision.record.installed, Some(key(1, 'a')));
        assert_eq!((decision.record.attempt, decision.record.refused_release), (None, None));
    }

    #[test]
    fn that_cannot_see_volumes_stops_where_it_is() {
        let blind = Seen { volumes: Look::Unreadable, ..healthy() };
        let decision = decide(Driver::Csi, &leaving().removing(Driver::Csi), &blind, &unresolved());
        assert_eq!((decision.step, decision.held), (Step::Nothing, Some(Held::VolumesUnreadable)));
        let unrecorded = view().deleting().removing(Driver::Csi);
        let with = Seen { volumes: Look::Something, ..healthy() };
        assert_eq!(decide(Driver::Csi, &unrecorded, &with, &unresolved()).step, Step::Nothing);
    }

    #[test]
    fn is_taken_back_by_a_claim_when_the_driver_is_wanted_again() {
        let again = view().closed(Driver::Csi).installed(Driver::Csi, key(2, 'a')).removing(Driver::Csi);
        let step = decide(Driver::Csi, &again, &healthy(), &wanting(key(2, 'a'))).step;
        assert_eq!(step, claims(Verb::Roll, Some(key(2, 'a'))));
    }

    #[test]
    fn with_nothing_left_to_delete_is_recorded_before_the_driver_comes_back() {
        let again = view().installed(Driver::Csi, key(2, 'a')).removing(Driver::Csi);
        let cleared = nothing();
        let decision = decide(Driver::Csi, &again, &cleared, &wanting(key(2, 'b')));
        assert_eq!(decision.step, Step::Removed { clear_journal: false });
        let volumes = Seen { volumes: Look::Something, ..cleared };
        let decision = decide(Driver::Csi, &again, &volumes, &wanting(key(2, 'a')));
        assert_eq!(decision.step, claims(Verb::Roll, Some(key(2, 'a'))));
    }

    #[test]
    fn with_the_policy_orphan_lets_go_and_touches_nothing() {
        let orphan = leaving().with(|v| v.policy = DeletionPolicy::Orphan);
        let decision = decide(Driver::Csi, &orphan, &healthy(), &unresolved());
        assert_eq!(acts(&decision.step), [Act::ReleaseFinalizer]);
        let released = orphan.with(|v| v.finalizer.csi = false);
        assert_eq!(decide(Driver::Csi, &released, &healthy(), &unresolved()).step, Step::Nothing);
    }
}

mod the_finalizer {
    use super::*;

    #[test]
    fn that_a_user_stripped_is_put_back_while_that_is_possible() {
        let stripped = view().with_cpi_settled().with(|v| v.finalizer.cpi = false);
        let step = decide(Driver::Cpi, &stripped, &healthy(), &wanting(key(2, 'p'))).step;
        assert_eq!(acts(&step), [Act::TakeFinalizer]);
        let deleting = stripped.deleting();
        assert_ne!(decide(Driver::Cpi, &deleting, &healthy(), &unresolved()).step, Step::PutBackFinalizer);
    }

    #[test]
    fn with_nothing_left_to_guard_is_taken_off() {
        let idle = view().closed(Driver::Csi);
        let noted = Seen { journal_empty: false, ..nothing() };
        let decision = decide(Driver::Csi, &idle, &noted, &wanting(key(2, 'a')));
        assert_eq!(acts(&decision.step), [Act::ClearJournal, Act::ReleaseFinalizer]);
        let blind = Seen { objects: Objects::Unreadable, ..noted };
        assert_eq!(decide(Driver::Csi, &idle, &blind, &wanting(key(2, 'a'))).step, Step::Nothing);
    }
}

mod the_journal {
    use super::*;

    #[test]
    fn rebuilds_lost_status_while_a_workload_is_there() {
        let decision = decide(Driver::Cpi, &view(), &healthy(), &wanting(key(2, 'b')));
        assert_eq!(decision.step, Step::Rebuild);
        assert_eq!(decision.record.installed, Some(key(1, 'a')));
        let stripped = view().with(|v| v.finalizer.cpi = false);
        assert_eq!(
            decide(Driver::Cpi, &stripped, &healthy(), &wanting(key(2, 'b'))).step,
            Step::PutBackFinalizer
        );
    }

    #[test]
    fn rebuilds_lost_status_while_volumes_need_the_driver() {
        let half_removed = Seen { objects: Objects::Leftovers, volumes: Look::Something, ..healthy() };
        let deleting = view().deleting();
        assert_eq!(decide(Driver::Csi, &deleting, &half_removed, &unresolved()).step, Step::Rebuild);
        let blind = Seen { volumes: Look::Unreadable, ..half_removed };
        let decision = decide(Driver::Csi, &deleting, &blind, &unresolved());
        assert_eq!((decision.step, decision.held), (Step::Nothing, Some(Held::VolumesUnreadable)));
    }

    #[test]
    fn of_a_driver_that_is_gone_rebuilds_nothing() {
        let gone = Seen { objects: Objects::Leftovers, ..healthy() };
        let step = decide(Driver::Cpi, &view(), &gone, &wanting(key(2, 'b'))).step;
        assert_eq!(step, claims(Verb::Roll, Some(key(2, 'b'))));
        let blind = Seen { objects: Objects::Unreadable, ..healthy() };
        assert_eq!(decide(Driver::Cpi, &view(), &blind, &wanting(key(2, 'b'))).step, Step::Nothing);
    }

    #[test]
    fn keeps_what_status_names_what_is_about_to_be_claimed_and_what_has_objects_left() {
        let record = view().installed(Driver::Cpi, key(1, 'a')).rolling(Driver::Cpi, key(2, 'b')).records.cpi;
        let target = key(2, 'c');
        let kept = |id, objects| journal_keeps(&record, Some(&target), &id, objects);
        assert!(kept('a', Look::Nothing) && kept('b', Look::Nothing) && kept('c', Look::Nothing));
        assert!(kept('d', Look::Something) && kept('d', Look::Unreadable));
        assert!(!kept('d', Look::Nothing));
    }
}

mod a_refusal {
    use super::*;

    #[test]
    fn of_a_configuration_and_of_a_release_are_kept_apart() {
        let record = Record { installed: Some(key(1, 'a')), ..Record::default() };
        let release = record.claimed(Verb::Roll, Some(key(2, 'b'))).refused(7);
        let both = release.claimed(Verb::Roll, Some(key(1, 'c'))).refused(7);
        assert!(both.refuses(&key(2, 'b'), 7) && both.refuses(&key(1, 'c'), 7));
        assert!(!both.refuses(&key(2, 'b'), 8));
        assert_eq!(both.installed, Some(key(1, 'a')));
    }

    /// Release 1 is installed, and release 2 was rolled back in generation 7.
    fn of_a_release() -> View_ {
        view().installed(Driver::Cpi, key(1, 'a')).with(|v| {
            v.records.cpi.refused_release = Some(Refusal { key: key(2, 'b'), generation: 7 });
        })
    }

    /// Release 1 is installed, and a configuration of it was rolled back in generation 7.
    fn of_a_configuration() -> View_ {
        view().installed(Driver::Cpi, key(1, 'a')).with(|v| {
            v.records.cpi.refused_configuration = Some(Refusal { key: key(1, 'c'), generation: 7 });
        })
    }

    fn told(view: &View_, candidates: &Candidates<u8, char>) -> Vec<Key<u8, char>> {
        held_back(Driver::Cpi, view, &view.records.cpi, candidates)
    }

    #[test]
    fn is_told_while_the_refused_revision_is_asked_for() {
        assert_eq!(told(&of_a_release(), &either(key(2, 'b'), key(1, 'a'))), [key(2, 'b')]);
        assert_eq!(told(&of_a_configuration(), &either(key(2, 'd'), key(1, 'c'))), [key(1, 'c')]);
        let to_stay = of_a_configuration().pinned(Driver::Cpi, 1);
        assert_eq!(told(&to_stay, &wanting(key(1, 'c'))), [key(1, 'c')]);
    }

    #[test]
    fn is_not_told_once_the_spec_was_edited() {
        let edited = of_a_release().with(|v| v.generation = 8);
        assert_eq!(told(&edited, &unresolved()), []);
        let answered = edited.with(|v| v.gates.as_mut().unwrap().generation = 8);
        assert_eq!(told(&answered, &either(key(2, 'b'), key(1, 'a'))), []);
    }

    #[test]
    fn is_not_told_once_something_else_is_asked_for_or_installed() {
        // A newer release, another configuration of the refused one, and a pin of what is installed.
        let newer = of_a_release().with(|v| v.gates.as_mut().unwrap().cpi = gate(3));
        assert_eq!(told(&newer, &either(key(3, 'd'), key(1, 'a'))), []);
        assert_eq!(told(&newer.installed(Driver::Cpi, key(3, 'd')), &wanting(key(3, 'd'))), []);
        assert_eq!(told(&of_a_release(), &either(key(2, 'd'), key(1, 'a'))), []);
        assert_eq!(told(&of_a_release().pinned(Driver::Cpi, 1), &wanting(key(1, 'a'))), []);
        // The configuration before it, another release, and a release that the pass itself makes the installed one.
        assert_eq!(told(&of_a_configuration(), &either(key(2, 'd'), key(1, 'a'))), []);
        let moved = of_a_configuration().installed(Driver::Cpi, key(2, 'd'));
        assert_eq!(told(&moved, &wanting(key(2, 'd'))), []);
        let before = of_a_configuration();
        assert_eq!(
            held_back(Driver::Cpi, &before, &moved.records.cpi, &either(key(2, 'd'), key(1, 'c'))),
            []
        );
    }

    #[test]
    fn is_told_while_it_is_not_known_what_is_asked_for() {
        for refused in [of_a_release(), of_a_configuration()] {
            assert_eq!(told(&refused, &unresolved()).len(), 1);
            assert_eq!(told(&refused.with(|v| v.gates = None), &unresolved()).len(), 1);
            let without = refused.with(|v| v.gates.as_mut().unwrap().cpi = None);
            assert_eq!(told(&without, &unresolved()).len(), 1);
        }
    }

    #[test]
    fn of_a_release_is_not_told_of_a_driver_that_is_to_go_and_of_a_configuration_it_is() {
        let leaving = |refused: View_| refused.with(|v| v.wants.cpi = false);
        let stays = Candidates { wanted: None, fallback: Some(key(1, 'c')) };
        assert_eq!(told(&leaving(of_a_release()), &stays), []);
        assert_eq!(told(&leaving(of_a_configuration()), &stays), [key(1, 'c')]);
    }
}
