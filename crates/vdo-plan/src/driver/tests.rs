use std::collections::BTreeMap;
use std::slice;

use vdo_api::VDOConfigSpec;
use vdo_api::names::PAUSED_UNTIL_ANNOTATION;
use vdo_api::status::{CpiStatus, CsiStatus, DriverRecord, Installed};

use super::*;
use crate::finding::next_step;
use crate::foreign::Platform;
use crate::foreign::reasons::FOREIGN_INSTALLATION;

struct Never;

impl Judge for Never {
    fn open_stages(&self, _: &Revision) -> usize {
        0
    }

    fn health(&self, _: &Revision) -> Health {
        Health::Waits("nothing is there".to_owned())
    }
}

fn scene() -> Scene {
    Scene {
        driver: Driver::Cpi,
        config: VDOConfig::new("vdo", VDOConfigSpec::default()),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        holder: "pod".to_owned(),
        deadline_seconds: 600,
        journal: Journal::default(),
        rows: Reading::Absent,
        others: Look::Nothing,
        volumes: Reading::Absent,
        traces: None,
        quarantined: false,
        ending: Look::Nothing,
        steady: true,
        fresh: false,
        contested: BTreeMap::new(),
        repair: Repair::Idle,
        bearers: Vec::new(),
    }
}

fn plan(scene: &Scene, findings: Vec<Finding>) -> Plan {
    Plan::new(scene, &Never, findings, &Rendered::default())
}

#[test]
fn somebody_elses_installation_is_looked_at_again_soon_for_nothing_watches_it() {
    let foreign = Finding::hands_off(&FOREIGN_INSTALLATION, "DaemonSet kube-system/other");
    let plan = plan(&scene(), vec![foreign]);
    assert_eq!(plan.deeds, []);
    assert!(plan.waits());
}

#[test]
fn a_removal_that_is_held_is_looked_at_again_soon_for_nothing_watches_what_holds_it() {
    let installed = DriverRecord {
        installed: Some(Installed {
            release: "1.36.0".to_owned(),
            revision: "r".to_owned(),
            since: serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap(),
        }),
        ..DriverRecord::default()
    };
    let mut scene = scene();
    scene.config.metadata.deletion_timestamp =
        Some(serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap());
    let status = scene.config.status.get_or_insert_default();
    status.cpi = Some(CpiStatus { record: installed.clone(), ..CpiStatus::default() });
    for (others, why) in
        [(Look::Something, Held::CsiObjectsSeen), (Look::Unreadable, Held::CsiObjectsUnreadable)]
    {
        scene.others = others;
        let plan = plan(&scene, Vec::new());
        assert_eq!((plan.decision.held, plan.waits()), (Some(why), true));
    }
    scene.driver = Driver::Csi;
    let status = scene.config.status.get_or_insert_default();
    status.csi = Some(CsiStatus { record: installed, ..CsiStatus::default() });
    for (volumes, why) in [
        (Reading::Present(vec!["PersistentVolume pv-1".to_owned()]), Held::Volumes),
        (Reading::Unreadable("forbidden".to_owned()), Held::VolumesUnreadable),
    ] {
        scene.volumes = volumes;
        let plan = plan(&scene, Vec::new());
        assert_eq!(plan.deeds, []);
        assert_eq!((plan.decision.held, plan.waits()), (Some(why), true));
    }
    // CSI's removal is told in the VDOConfig, which is watched.
    scene.driver = Driver::Cpi;
    scene.others = Look::Nothing;
    assert!(!plan(&scene, Vec::new()).waits());
}

#[test]
fn a_pause_by_the_user_and_a_driver_that_nobody_wants_are_left_at_leisure() {
    let mut paused = scene();
    let until = (PAUSED_UNTIL_ANNOTATION.to_owned(), "2026-01-02T00:00:00Z".to_owned());
    paused.config.metadata.annotations = Some(BTreeMap::from([until]));
    let of_paused = plan(&paused, Vec::new());
    assert_eq!(of_paused.findings[0].reason, &reasons::PAUSED);
    assert!(!of_paused.waits());
    assert!(!plan(&scene(), Vec::new()).waits());
}

#[test]
fn a_release_that_is_not_chosen_yet_is_not_called_one_that_does_not_fit() {
    for (reason, expected) in
        [("VCentersNotRead", &reasons::GATE_HELD), ("NoReleaseFits", &reasons::NO_RELEASE_FITS)]
    {
        let mut scene = scene();
        let gate = vdo_api::status::Gate {
            release: None,
            chosen_by: Default::default(),
            verdict: vdo_api::status::GateVerdict::Held,
            reason: reason.to_owned(),
            message: "in words".to_owned(),
        };
        scene.config.status = Some(vdo_api::VDOConfigStatus {
            gates: Some(vdo_api::status::Gates {
                generation: 0,
                kubernetes: String::new(),
                matrix: Default::default(),
                cpi: Some(gate),
                csi: None,
                csi_needs_cpi: Default::default(),
            }),
            ..Default::default()
        });
        let said = status::held(&scene, Held::NoRelease);
        assert_eq!((said.reason, said.message.as_str()), (expected, "in words"), "{reason}");
    }
}

/// CPI 1.35.0 is installed, and the revision with this id of the wanted 1.36.0 was rolled back in this generation.
fn rolled_back(id: &str, generation: i64) -> Scene {
    let mut scene = scene();
    scene.config.metadata.generation = Some(7);
    let value = serde_json::json!({"vsphereCloudConfigs": ["vc1"]});
    scene.config.spec.cloud_provider = Some(serde_json::from_value(value).unwrap());
    let since = "2026-01-01T00:00:00Z";
    let status = serde_json::json!({
        "gates": {"generation": 7, "kubernetes": "v1.36.0", "matrix": {"source": "BuiltIn", "digest": "d"},
            "cpi": {"release": "1.36.0", "verdict": "Open"}},
        "cpi": {
            "installed": {"release": "1.35.0", "revision": "r", "since": since},
            "refused": [{"kind": "Release", "release": "1.36.0", "revision": id, "generation": generation,
                "reason": "RolloutTimedOut", "since": since}]}});
    scene.config.status = Some(serde_json::from_value(status).unwrap());
    scene
}

#[test]
fn a_roll_back_is_told_in_the_words_of_the_release_that_is_asked_for() {
    let mut scene = rolled_back("new", 7);
    let status = scene.config.status.as_mut().unwrap();
    let refused = &mut status.cpi.as_mut().unwrap().record.refused;
    refused[0].message = "no pod is ready".to_owned();
    let mut other = refused[0].clone();
    (other.release, other.message) = ("1.35.0".to_owned(), "the login was refused".to_owned());
    refused.push(other);
    let said = status::held(&scene, Held::Refused);
    assert_eq!(
        said.message,
        "CPI 1.36.0 was rolled back; no pod is ready; mend that and set the annotation vdo.vmware.com/retry-rollout of \
         VDOConfig vdo to a new value, or pin another release"
    );
}

#[test]
fn a_roll_back_is_told_while_what_was_rolled_back_is_asked_for_and_the_record_keeps_it_for_longer() {
    let seal = |key: &[u8]| {
        Revision::seal(Driver::Cpi, "1.36.0".parse().unwrap(), &serde_json::json!({}), Vec::new(), key)
    };
    let (refused, other) = (seal(b"one"), seal(b"another"));
    let told = |scene: &Scene, findings: Vec<Finding>, wanted: &Revision| {
        let rendered = Rendered { wanted: Some(wanted.clone()), fallback: None };
        let plan = Plan::new(scene, &Never, findings, &rendered);
        let kept = plan.status(scene, true).record.refused;
        assert_eq!(kept.iter().map(|it| &it.revision).collect::<Vec<_>>(), [&refused.key.id]);
        plan.held_back
    };
    let scene = rolled_back(&refused.key.id, 7);
    assert_eq!(told(&scene, Vec::new(), &refused), slice::from_ref(&refused.key));
    assert_eq!(told(&scene, Vec::new(), &other), []);
    assert_eq!(told(&rolled_back(&refused.key.id, 6), Vec::new(), &refused), []);
    // What holds everything back settles nothing.
    let hold = || vec![Finding::hold(&reasons::GATE_HELD, "waits")];
    assert_eq!(told(&scene, hold(), &refused), slice::from_ref(&refused.key));
    assert_eq!(told(&scene, hold(), &other), []);
}

/// A message that is read without its condition around it: it names the driver or an object, and ends in a next step.
fn holds_without_its_context(finding: &Finding, driver: Driver) {
    let message = &finding.message;
    let objects = ["VDOConfig vdo", "VsphereCloudConfig vc1", "Secret n/s", "ConfigMap ca"];
    let named = message.contains(driver.name()) || objects.iter().any(|object| message.contains(object));
    assert!(named, "{message:?} names neither {driver} nor an object");
    assert!(next_step(message).is_some(), "{message:?} has no next step");
}

#[test]
fn whatever_holds_a_driver_is_told_with_its_name_and_a_next_step() {
    assert_eq!(Held::ALL.map(|held| held as usize), std::array::from_fn(|place| place));
    for driver in [Driver::Cpi, Driver::Csi] {
        let mut without_gates = scene();
        without_gates.driver = driver;
        let mut with_gates = rolled_back("new", 7);
        with_gates.driver = driver;
        let mut unreadable = without_gates.clone();
        unreadable.rows = Reading::Unreadable("forbidden".to_owned());
        unreadable.volumes = Reading::Unreadable("forbidden".to_owned());
        for scene in [&without_gates, &with_gates, &unreadable] {
            for held in Held::ALL {
                holds_without_its_context(&status::held(scene, held), driver);
            }
        }
        for held in [Held::VolumesUnreadable, Held::ObjectsUnreadable] {
            let said = status::held(&unreadable, held);
            assert!(said.message.contains("forbidden"), "{}", said.message);
            assert_eq!(said.reason.name, "ObjectsUnreadable");
        }
        let said = status::held(&without_gates, Held::CsiStillThere);
        assert_eq!((said.reason.name, said.verdict), ("CSIStillThere", Verdict::Hold));
    }
}

#[test]
fn whatever_keeps_the_hands_off_a_driver_is_told_with_its_name_and_a_next_step() {
    let mut paused = scene();
    let until = (PAUSED_UNTIL_ANNOTATION.to_owned(), "2026-01-02T00:00:00Z".to_owned());
    paused.config.metadata.annotations = Some(BTreeMap::from([until]));
    let said = plan(&paused, Vec::new()).findings.remove(0);
    assert!(said.message.contains(PAUSED_UNTIL_ANNOTATION), "{}", said.message);
    holds_without_its_context(&said, Driver::Cpi);

    let ending = Scene { ending: Look::Unreadable, ..scene() };
    holds_without_its_context(&plan(&ending, Vec::new()).findings[0], Driver::Cpi);

    let other: ObjectRef = ObjectRef {
        api_version: "apps/v1".into(),
        kind: "DaemonSet".into(),
        namespace: Some("kube-system".into()),
        name: "other".into(),
    };
    let traces = |platform: Reading<Platform>, others: Reading<Vec<ObjectRef>>| Traces {
        platform,
        others,
        taken: Reading::Absent,
    };
    let dark = || "forbidden".to_owned();
    for traces in [
        traces(Reading::Present(Platform::Supervisor), Reading::Absent),
        traces(Reading::Present(Platform::OpenShiftOnVsphere), Reading::Absent),
        traces(Reading::Present(Platform::Plain), Reading::Present(vec![other])),
        traces(Reading::Unreadable(dark()), Reading::Absent),
        traces(Reading::Present(Platform::Plain), Reading::Unreadable(dark())),
    ] {
        holds_without_its_context(&foreign("CPI", &traces).unwrap(), Driver::Cpi);
    }
}

#[test]
fn whatever_keeps_a_vcenter_from_a_driver_is_told_with_its_object_and_a_next_step() {
    use crate::credentials::{CredentialsSecret, Fault};
    use crate::vcenter::{VcenterFacts, resolve};
    let config = |status: serde_json::Value| {
        let mut config = vdo_api::VsphereCloudConfig::new("vc1", Default::default());
        config.metadata.generation = Some(3);
        config.status = Some(serde_json::from_value(status).unwrap());
        Reading::Present(config)
    };
    let verified = |generation: i64| {
        config(serde_json::json!({"verified": {
            "generation": generation, "server": "vc.example.com", "port": 443,
            "secret": {"namespace": "n", "name": "s", "uid": "u", "resourceVersion": "1"},
            "trust": {"mode": "CA", "sha256": "", "sha1": "", "caRef": {"name": "ca", "key": "ca.crt"}},
            "version": "8.0.3", "apiVersion": "8.0.3.0", "build": "1", "datacenters": []}}))
    };
    let version = vdo_api::vcenter::SecretVersion {
        namespace: "n".into(),
        name: "s".into(),
        uid: "u".into(),
        resource_version: "1".into(),
    };
    let faulty =
        |fault| Reading::Present(CredentialsSecret { version: version.clone(), content: Err(fault) });
    let good = crate::credentials::Credentials {
        version: version.clone(),
        username: "u@d".into(),
        password: "p".into(),
        servers: Vec::new(),
    };
    let good = Reading::Present(CredentialsSecret { version: version.clone(), content: Ok(good) });
    let dark = || "forbidden".to_owned();
    for (config, secret) in [
        (Reading::Absent, Reading::Absent),
        (Reading::Unreadable(dark()), Reading::Absent),
        (config(serde_json::json!({})), Reading::Absent),
        (verified(2), Reading::Absent),
        (verified(3), Reading::Absent),
        (verified(3), Reading::Unreadable(dark())),
        (verified(3), faulty(Fault::Missing("password"))),
        (verified(3), faulty(Fault::ControlCharacter("password"))),
        (verified(3), good),
    ] {
        let facts = VcenterFacts { name: "vc1".into(), config, secret, ca: Reading::Absent };
        let finding = resolve(&facts).unwrap_err();
        assert_eq!(finding.verdict, Verdict::Hold);
        holds_without_its_context(&finding, Driver::Cpi);
    }
}
