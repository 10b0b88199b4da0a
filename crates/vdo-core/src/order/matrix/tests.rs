use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vdo_api::names::MATRIX_CONFIG_MAPS;
use vdo_api::status::{CpiStatus, DriverRecord, GateVerdict, Gates, Installed};

use super::*;

const GOOD: &str = r#"{"CSI":{"3.7.0":{"vSphere":{"min":"7.0.0","max":"9.9.9"},"k8s":{"min":"1.30","max":"1.40"},"deploymentPath":["x"]}},
    "CPI":{"1.36.0":{"vSphere":{"min":"7.0.0","max":"9.9.9"},"k8s":{"skewVersion":"1.36"},"deploymentPath":["x"]}}}"#;
const ADDRESS: &str = "https://matrix.example.com/m.json";

fn sources<'a>(maps: &[(&'a str, &[(&str, &str)])], urls: &[&str]) -> Sources<'a> {
    let entries = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let object = |(at, url): (usize, &&str)| {
        let matrix_url = Some((*url).to_owned());
        (format!("c-{at}"), Ok(CompatibilityConfigSpec { matrix_url, ..Default::default() }))
    };
    Sources {
        config_maps: Reading::Present(maps.iter().map(|(name, list)| (*name, entries(list))).collect()),
        objects: Reading::Present(urls.iter().enumerate().map(object).collect()),
    }
}

fn fetched(settles: Option<Timestamp>) -> Fetched {
    let document = vdo_matrix::parse(Source::Url, GOOD).unwrap().into();
    Fetched { document, settles, stale: None }
}

fn chosen(sources: &Sources<'_>) -> Result<Chosen, Finding> {
    choose(&wanted(sources)?, |content| Parsed::default().matrix(content), |_| Ok(fetched(None)))
}

#[test]
fn without_a_source_the_built_in_matrix_counts() {
    assert_eq!(chosen(&sources(&[], &[])).unwrap(), built_in());
}

#[test]
fn only_a_matrix_with_an_esxi_bound_asks_for_hosts() {
    assert_eq!(hosts_asked(&built_in().matrix), HostVersions::Skip);
    assert_eq!(hosts_asked(&fetched(None).document.matrix), HostVersions::Skip);
    let row = r#"{"driver": "CSI", "release": "3.7.0", "kubernetes": {"min": "1.30"}, "vsphere": {"min": "7.0"}, "esxi": {"min": "8.0"}}"#;
    let text = format!(r#"{{"schemaVersion": 1, "rows": [{row}]}}"#);
    let matrix = vdo_matrix::parse(Source::ConfigMap, &text).unwrap().matrix;
    assert_eq!(hosts_asked(&matrix), HostVersions::Read);
}

#[test]
fn either_config_map_is_read() {
    for name in MATRIX_CONFIG_MAPS {
        let chosen = chosen(&sources(&[(name, &[(CONTENT, GOOD)])], &[])).unwrap();
        assert_eq!(chosen.reference.source, format!("ConfigMap/{name}"));
        assert_eq!(chosen.matrix.rows.len(), 2);
        assert_eq!(chosen.movement, Movement::Stay);
    }
}

#[test]
fn an_address_is_one_of_a_config_map_or_of_a_compatibility_config() {
    let name = MATRIX_CONFIG_MAPS[0];
    let digest = "ab".repeat(32);
    let of_map = wanted(&sources(&[(name, &[(URL, ADDRESS), (SHA256, &digest)])], &[])).unwrap();
    let Origin::Place(place) = of_map.origin else { panic!("{:?}", of_map.origin) };
    assert_eq!((place.address.as_str(), place.pin), (ADDRESS, Some(digest.parse().unwrap())));
    let of_object = wanted(&sources(&[], &[ADDRESS])).unwrap();
    assert_eq!(of_object.source, "CompatibilityConfig/c-0");
    assert!(matches!(of_object.origin, Origin::Place(place) if place.pin.is_none() && place.key.is_none()));
    // A ConfigMap that only says how to move goes with it.
    let both = wanted(&sources(&[(name, &[(AUTO_UPGRADE, "patch")])], &[ADDRESS])).unwrap();
    assert_eq!((both.source.as_str(), both.movement), ("CompatibilityConfig/c-0", Movement::Patch));
}

#[test]
fn auto_upgrade_says_how_far_something_installed_moves_also_with_the_built_in_matrix() {
    let name = MATRIX_CONFIG_MAPS[0];
    for (value, movement) in [
        ("disabled", Movement::Stay),
        ("false", Movement::Stay),
        ("", Movement::Stay),
        ("patch", Movement::Patch),
        ("latest", Movement::Latest),
        ("enabled", Movement::Latest),
        ("true", Movement::Latest),
    ] {
        let of_content = sources(&[(name, &[(CONTENT, GOOD), (AUTO_UPGRADE, value)])], &[]);
        assert_eq!(chosen(&of_content).unwrap().movement, movement, "{value}");
        let alone = chosen(&sources(&[(name, &[(AUTO_UPGRADE, value)])], &[])).unwrap();
        assert_eq!((alone.movement, alone.reference.source.as_str()), (movement, "BuiltIn"), "{value}");
    }
}

#[test]
fn a_text_is_parsed_when_it_changes_and_only_then() {
    let mut parsed = Parsed::default();
    let first = parsed.matrix(GOOD).unwrap();
    assert!(Arc::ptr_eq(&first.matrix, &parsed.matrix(GOOD).unwrap().matrix));
    let why = parsed.matrix("{").unwrap_err();
    assert_eq!(parsed.matrix("{").unwrap_err(), why);
    let again = parsed.matrix(GOOD).unwrap();
    assert!(again == first && !Arc::ptr_eq(&again.matrix, &first.matrix), "one text is kept");
}

#[test]
fn the_built_in_matrix_is_shared() {
    let passes = [(); 2].map(|()| chosen(&sources(&[], &[])).unwrap().matrix);
    assert!(Arc::ptr_eq(&passes[0], &passes[1]));
}

#[test]
fn what_was_fetched_once_moves_nothing() {
    let name = MATRIX_CONFIG_MAPS[0];
    let wanted = wanted(&sources(&[(name, &[(URL, ADDRESS), (AUTO_UPGRADE, "latest")])], &[])).unwrap();
    let soon = Some(Timestamp::UNIX_EPOCH);
    for (settles, movement) in [(soon, Movement::Stay), (None, Movement::Latest)] {
        let parse = |_: &str| unreachable!("its rows are at an address");
        let chosen = choose(&wanted, parse, |_| Ok(fetched(settles))).unwrap();
        assert_eq!((chosen.movement, chosen.settles), (movement, settles));
    }
}

const SETTLE: Duration = Duration::from_secs(120);

/// Matrices that come one after the other, with CPI installed or not.
struct Clock {
    standing: Standing,
    begin: Monotonic,
    status: VDOConfigStatus,
}

/// How long is waited, whether something may move by itself, and until when nothing may at all.
type Says = (Option<u64>, Movement, Option<i64>);

impl Clock {
    fn new(status: VDOConfigStatus) -> Self {
        Clock { standing: Standing::default(), begin: vdo_runtime::clock::monotonic(), status }
    }

    fn at(&mut self, seconds: u64, digest: &str) -> Says {
        self.at_with(seconds, digest, Movement::Latest)
    }

    fn at_with(&mut self, seconds: u64, digest: &str, movement: Movement) -> Says {
        let matrix = Matrix { digest: digest.to_owned(), ..builtin::matrix().clone() };
        let mut chosen = Chosen { matrix: matrix.into(), movement, ..built_in() };
        let passed = Duration::from_secs(seconds);
        let now = (self.begin + passed, later(Timestamp::UNIX_EPOCH, passed));
        let steadied = self.standing.steady(&mut chosen, Some(&self.status), SETTLE, now);
        (steadied.left.map(|it| it.as_secs()), chosen.movement, chosen.settles.map(Timestamp::as_second))
    }
}

/// A VDOConfig with a CPI, whose gates speak of this matrix and are held for this reason.
fn installed(digest: &str, held: &str) -> VDOConfigStatus {
    let since = Time(Timestamp::UNIX_EPOCH);
    let installed = Some(Installed { release: "1.35.0".into(), revision: "r".into(), since });
    let gate = Gate {
        release: None,
        chosen_by: Default::default(),
        verdict: GateVerdict::Held,
        reason: held.to_owned(),
        message: String::new(),
    };
    VDOConfigStatus {
        cpi: Some(CpiStatus {
            record: DriverRecord { installed, ..DriverRecord::default() },
            ..CpiStatus::default()
        }),
        gates: Some(Gates {
            generation: 1,
            kubernetes: "1.35.0".to_owned(),
            matrix: MatrixRef { source: "BuiltIn".to_owned(), digest: digest.to_owned() },
            cpi: Some(gate),
            csi: None,
            csi_needs_cpi: Default::default(),
        }),
        ..VDOConfigStatus::default()
    }
}

#[test]
fn a_matrix_has_to_stand_for_a_while_before_something_moves() {
    let mut clock = Clock::new(VDOConfigStatus::default());
    assert_eq!(clock.at(0, "a"), (Some(120), Movement::Stay, None));
    assert_eq!(clock.at(119, "a"), (Some(1), Movement::Stay, None));
    assert_eq!(clock.at(120, "a"), (None, Movement::Latest, None));
    // Another one begins anew, and so does the first when it comes back.
    assert_eq!(clock.at(121, "b"), (Some(120), Movement::Stay, None));
    assert_eq!(clock.at(122, "a"), (Some(120), Movement::Stay, None));
}

#[test]
fn a_matrix_that_changes_under_something_installed_also_holds_what_a_pin_asks_for() {
    let mut clock = Clock::new(installed("a", ""));
    let mut at = |seconds, digest| clock.at_with(seconds, digest, Movement::Stay);
    assert_eq!(at(0, "a"), (None, Movement::Stay, None), "it counted before this process began");
    assert_eq!(at(10, "b"), (Some(120), Movement::Stay, Some(130)));
    assert_eq!(at(129, "b"), (Some(1), Movement::Stay, Some(130)));
    assert_eq!(at(130, "b"), (None, Movement::Stay, None));
    assert_eq!(at(131, "a"), (Some(120), Movement::Stay, Some(251)), "back is another change");
}

#[test]
fn a_restart_is_no_change_of_the_matrix_and_ends_no_wait_for_one() {
    for (status, settles) in [
        (installed("a", ""), None),
        (installed("a", "NoReleaseFits"), None),
        (installed("a", "MatrixNotSettled"), Some(120)),
        (installed("before", ""), Some(120)),
        (VDOConfigStatus { gates: None, ..installed("a", "") }, Some(120)),
        // What is installed first waits for nothing, and what counted then has not changed.
        (VDOConfigStatus { cpi: None, ..installed("before", "") }, None),
    ] {
        assert_eq!(Clock::new(status.clone()).at_with(0, "a", Movement::Stay).2, settles, "{status:?}");
        // A move that nobody asked for waits in any case.
        assert_eq!(Clock::new(status).at(0, "a").1, Movement::Stay);
    }
}

#[test]
fn of_two_waits_the_longer_one_counts() {
    let steadied = |settles: i64| {
        let settles = Timestamp::from_second(settles).unwrap();
        let mut chosen = Chosen { settles: Some(settles), ..built_in() };
        let now = (vdo_runtime::clock::monotonic(), Timestamp::UNIX_EPOCH);
        Standing::default().steady(&mut chosen, Some(&installed("before", "")), SETTLE, now);
        chosen.settles.map(Timestamp::as_second)
    };
    assert_eq!((steadied(60), steadied(180)), (Some(120), Some(180)));
}

#[test]
fn what_does_nothing_in_a_text_comes_with_its_rows() {
    let name = MATRIX_CONFIG_MAPS[0];
    let chosen = chosen(&sources(&[(name, &[(CONTENT, GOOD)])], &[])).unwrap();
    let notes: Vec<String> = chosen.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 2);
    assert!(notes[0].contains("/deploymentPath is not applied"), "{notes:?}");
}

#[test]
fn what_is_not_one_readable_source_is_a_finding() {
    let [first, second] = MATRIX_CONFIG_MAPS;
    let good: &[(&str, &str)] = &[(CONTENT, GOOD)];
    let invalid = &reasons::MATRIX_INVALID;
    for (sources, reason, says) in [
        (sources(&[(first, good), (second, good)], &[]), &reasons::TWO_MATRICES, "keep one"),
        (sources(&[(first, good)], &[ADDRESS]), &reasons::TWO_MATRICES, "keep one"),
        (sources(&[], &[ADDRESS, ADDRESS]), &reasons::TWO_MATRICES, "keep one"),
        (sources(&[(first, &[(URL, ADDRESS), (CONTENT, GOOD)])], &[]), &reasons::TWO_MATRICES, "keep one"),
        (sources(&[], &[""]), invalid, "no matrixURL"),
        (sources(&[(first, &[(URL, "http://x")])], &[]), invalid, "versionConfigURL of ConfigMap/"),
        (sources(&[(first, &[(URL, "file:///m.json")])], &[]), invalid, "versionConfigURL of ConfigMap/"),
        (sources(&[(first, &[(URL, ADDRESS), (SHA256, "ab")])], &[]), invalid, "versionConfigSHA256 of"),
        (
            sources(&[(first, &[(URL, ADDRESS), (PUBLIC_KEY, "key")])], &[]),
            invalid,
            "versionConfigPublicKey of",
        ),
        (sources(&[(first, &[(CONTENT, "{")])], &[]), invalid, "versionConfigContent of"),
        (sources(&[(first, &[])], &[]), invalid, "neither"),
        (sources(&[(first, &[(CONTENT, GOOD), (AUTO_UPGRADE, "lates")])], &[]), invalid, "patch or latest"),
        // Emptied, and not left out: somebody lost a matrix.
        (sources(&[(first, &[(CONTENT, ""), (AUTO_UPGRADE, "latest")])], &[]), invalid, "neither"),
    ] {
        let finding = chosen(&sources).unwrap_err();
        assert_eq!(finding.reason, reason, "{}", finding.message);
        assert!(finding.message.contains(says), "{}", finding.message);
    }
}

#[test]
fn an_unreadable_source_is_never_taken_for_none() {
    let why = || "forbidden".to_owned();
    let broken = vec![("c".to_owned(), Err(why()))];
    for sources in [
        Sources { config_maps: Reading::Unreadable(why()), objects: Reading::Absent },
        Sources { config_maps: Reading::Absent, objects: Reading::Unreadable(why()) },
        Sources { config_maps: Reading::Absent, objects: Reading::Present(broken) },
    ] {
        assert_eq!(wanted(&sources).unwrap_err().reason, &reasons::MATRIX_INVALID);
    }
}
