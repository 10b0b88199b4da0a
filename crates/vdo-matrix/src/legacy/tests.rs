use proptest::prelude::*;
use vdo_compat::{Cluster, Grade, Request, Selection, Source, Vcenter, Why, select};

use super::*;
use crate::parse::{Form, Parsed, parse};
use crate::tree::MAX_BYTES;

const PATH: &str = "https://manifests.example.org/driver.yaml";

fn csi(entry: &str) -> String {
    format!(r#"{{"CSI": {{"3.7.0": {entry}}}}}"#)
}

fn cpi(entry: &str) -> String {
    format!(r#"{{"CPI": {{"1.36.0": {entry}}}}}"#)
}

const GOOD: &str = r#"{"vSphere": {"min": "7.0", "max": "9.0"}, "k8s": {"min": "1.33", "max": "1.36"},
    "isCPIRequired": true, "deploymentPath": ["https://manifests.example.org/driver.yaml"]}"#;

fn read(text: &str) -> Parsed {
    parse(Source::ConfigMap, text).unwrap()
}

/// The message without the line, which the tests of places are about.
fn fault(text: &str) -> String {
    let error = parse(Source::ConfigMap, text).unwrap_err();
    if let Error::Invalid { at, position, .. } = &error {
        assert!(position.is_some(), "{at} has no place in {text:.400}");
    }
    error.without_line().to_string()
}

fn at(kubernetes: &str, vsphere: &str) -> Cluster {
    let vcenter = Vcenter::new("vc-1", vsphere.parse().unwrap());
    Cluster { kubernetes: kubernetes.parse().unwrap(), vcenters: vec![vcenter] }
}

fn ranges(row: &Row) -> (String, String) {
    assert_eq!((&row.kubernetes.recommended, &row.vsphere.recommended), (&None, &None));
    (row.kubernetes.hard.range.to_string(), row.vsphere.hard.range.to_string())
}

#[test]
fn a_matrix_of_both_drivers_is_read() {
    let text = r#"{
        "CSI": {"3.7.0": {"vSphere": {"min": "7.0.0", "max": "9.0"}, "k8s": {"min": "1.33", "max": "1.36"},
                          "isCPIRequired": false, "deploymentPath": ["https://manifests.example.org/driver.yaml"]}},
        "CPI": {"v1.36.0": {"vSphere": {"min": "6.7.3", "max": "100.0.0"}, "k8s": {"skewVersion": "1.36"},
                            "deploymentPath": ["https://manifests.example.org/driver.yaml", "file:///b.yaml"]}}
    }"#;
    let Parsed { matrix, form, at, notes } = read(text);
    assert_eq!((matrix.source, matrix.serial, matrix.digest.len()), (Source::ConfigMap, None, 16));
    assert_eq!((form, at), (Form::Original, vec!["/CSI/3.7.0".to_owned(), "/CPI/v1.36.0".to_owned()]));
    let [storage, cloud] = &matrix.rows[..] else { panic!("{matrix:?}") };

    assert_eq!((storage.driver, storage.release.to_string()), (Driver::Csi, "3.7.0".into()));
    assert_eq!(ranges(storage), ("1.33 to 1.36".into(), "7.0.0 to 9.0".into()));
    assert!(!storage.needs_cpi);
    assert_eq!(
        (storage.rendering, storage.deployment_path.as_slice()),
        (Rendering::BuiltIn, &[PATH.to_owned()][..])
    );
    assert_eq!((storage.kubernetes.weakest(), storage.upgrades_from), (Grade::Stated, Range::ANY));
    assert_eq!(storage.vsphere.hard.evidence, stated());

    assert_eq!((cloud.driver, cloud.release.to_string()), (Driver::Cpi, "1.36.0".into()));
    assert_eq!(ranges(cloud), ("1.36".into(), "6.7.3 or newer".into()));
    assert!(!cloud.needs_cpi);
    assert_eq!(cloud.deployment_path.len(), 2);

    let notes: Vec<_> = notes.iter().map(|note| (note.at.as_str(), note.remark)).collect();
    assert_eq!(
        notes,
        [
            ("/CSI/3.7.0/deploymentPath", Remark::PathIgnored),
            ("/CPI/v1.36.0/vSphere/max", Remark::NoUpperBound),
            ("/CPI/v1.36.0/deploymentPath", Remark::PathIgnored),
        ]
    );
}

#[test]
fn csi_needs_cpi_unless_its_entry_says_otherwise() {
    let silent = GOOD.replace(r#""isCPIRequired": true,"#, "");
    assert_ne!(silent, GOOD);
    for (entry, needed) in [(silent.as_str(), true), (GOOD, true), (&GOOD.replace("true", "false"), false)] {
        assert_eq!(read(&csi(entry)).matrix.rows[0].needs_cpi, needed, "{entry}");
    }
}

#[test]
fn releases_are_ordered_as_numbers_not_as_text() {
    let text = format!(r#"{{"CSI": {{"3.9.0": {GOOD}, "3.10.0": {GOOD}}}}}"#);
    let rows = read(&text).matrix.rows;
    assert_eq!(
        rows.iter().map(|row| row.release.to_string()).max_by_key(|text| text.parse::<Release>().unwrap()),
        Some("3.10.0".into())
    );
    assert!(rows[1].release > rows[0].release);
}

#[test]
fn a_release_that_nobody_builds_is_noted_and_refused_by_name() {
    let Parsed { matrix, notes, .. } = read(&format!(r#"{{"CSI": {{"2.7.0": {GOOD}}}}}"#));
    assert_eq!(notes, [Note { at: "/CSI/2.7.0".into(), remark: Remark::NotRenderable }]);
    let Selection::NoMatch(no_match) =
        select(&matrix, Driver::Csi, &at("1.34.1", "8.0.3"), &Request::default())
    else {
        panic!("a bundle was chosen");
    };
    assert_eq!(no_match.misfits[0].why, Why::NotRenderable);
}

#[test]
fn what_the_format_does_not_have_is_noted_and_passed_over() {
    let text = format!(
        r#"{{"CSX": {{"1.0.0": 7}}, "comment": "ours", "CSI": {{"3.7.0": {}}}}}"#,
        GOOD.replacen(r#"{"vSphere": {"#, r#"{"note": null, "vSphere": {"step": 1, "#, 1)
    );
    let at: Vec<_> = read(&text).notes.into_iter().map(|note| (note.at, note.remark)).collect();
    assert_eq!(
        at,
        [
            ("/CSX".into(), Remark::UnknownField),
            ("/comment".into(), Remark::UnknownField),
            ("/CSI/3.7.0/note".into(), Remark::UnknownField),
            ("/CSI/3.7.0/vSphere/step".into(), Remark::UnknownField),
            ("/CSI/3.7.0/deploymentPath".into(), Remark::PathIgnored),
        ]
    );
    // CPI has no isCPIRequired, and vSphere has no skewVersion.
    let cloud = read(&cpi(GOOD));
    assert!(
        cloud.notes.contains(&Note { at: "/CPI/1.36.0/isCPIRequired".into(), remark: Remark::UnknownField })
    );
    assert_eq!(
        Note { at: "/CSX".into(), remark: Remark::UnknownField }.to_string(),
        "/CSX is not a field of this format and does nothing"
    );
}

#[test]
fn a_fault_is_named_with_its_place() {
    let with = |from: &str, to: &str| {
        let changed = GOOD.replacen(from, to, 1);
        assert_ne!(changed, GOOD, "{from}");
        csi(&changed)
    };
    for (text, words) in [
        (with(r#""min": "7.0", "#, ""), "/CSI/3.7.0/vSphere has no min"),
        (with(r#", "max": "9.0""#, ""), "/CSI/3.7.0/vSphere has no max"),
        (with(r#""min": "1.33", "#, ""), "/CSI/3.7.0/k8s has no min"),
        (with(r#""min": "1.33", "max": "1.36""#, ""), "/CSI/3.7.0/k8s has no min and max, nor skewVersion"),
        (with(r#""vSphere""#, r#""vsphere""#), "/CSI/3.7.0 has no vSphere"),
        (with(r#""k8s""#, r#""kubernetes""#), "/CSI/3.7.0 has no k8s"),
        (with(r#""deploymentPath""#, r#""paths""#), "/CSI/3.7.0 has no deploymentPath"),
        (with(r#""1.36""#, "1.36"), "/CSI/3.7.0/k8s/max is a number where a text in quotes belongs"),
        (with(r#""1.36""#, "null"), "/CSI/3.7.0/k8s/max is null where a text in quotes belongs"),
        (
            with(r#""1.36""#, r#""latest""#),
            "/CSI/3.7.0/k8s/max cannot be read: \"latest\" is not a Kubernetes version",
        ),
        (
            with(r#""9.0""#, r#""9.0+""#),
            "/CSI/3.7.0/vSphere/max cannot be read: \"9.0+\" is a range where one vSphere version belongs",
        ),
        (
            with(r#""9.0""#, r#""8.0 and newer""#),
            "/CSI/3.7.0/vSphere/max cannot be read: \"8.0 and newer\" has words or a build beside the vSphere version; \
             leave them out",
        ),
        (
            with(r#""min": "1.33", "max": "1.36""#, r#""skewVersion": "1.33-1.36""#),
            "/CSI/3.7.0/k8s/skewVersion cannot be read: \"1.33-1.36\" is a range where one Kubernetes version belongs",
        ),
        (
            format!(r#"{{"CSI": {{"3.8.0-3.9.0": {GOOD}}}}}"#),
            "/CSI/3.8.0-3.9.0 cannot be read: \"3.8.0-3.9.0\" is a range where one driver release belongs",
        ),
        (with(r#""9.0""#, r#""6.7""#), "/CSI/3.7.0/vSphere has a min above its max"),
        (with(r#""1.33""#, r#""1.37""#), "/CSI/3.7.0/k8s has a min above its max"),
        (
            with(r#""min": "1.33""#, r#""skewVersion": "1.33""#),
            "/CSI/3.7.0/k8s has skewVersion and min or max; only one way to say it is allowed",
        ),
        (with("true", r#""yes""#), "/CSI/3.7.0/isCPIRequired is a text where true or false belongs"),
        (
            with(r#"["https://manifests.example.org/driver.yaml"]"#, "[]"),
            "/CSI/3.7.0/deploymentPath is empty",
        ),
        (
            with(r#"["https://manifests.example.org/driver.yaml"]"#, "\"x\""),
            "/CSI/3.7.0/deploymentPath is a text where a list belongs",
        ),
        (with("https://manifests.example.org/driver.yaml", ""), "/CSI/3.7.0/deploymentPath/0 is empty"),
        (
            with(PATH, &"x".repeat(MAX_PATH_LENGTH + 1)),
            "/CSI/3.7.0/deploymentPath/0 is longer than any matrix needs",
        ),
        (
            with(&format!("[\"{PATH}\"]"), &format!("[{}\"b\"]", "\"a\",".repeat(MAX_PATHS))),
            "/CSI/3.7.0/deploymentPath is longer than any matrix needs",
        ),
        (
            with(r#""isCPIRequired""#, r#""k8s": {}, "isCPIRequired""#),
            "/CSI/3.7.0/k8s stands there a second time",
        ),
        (
            format!(r#"{{"CSI": {{"3.7.0": {GOOD}, "3.7.0": {GOOD}}}}}"#),
            "/CSI/3.7.0 stands there a second time",
        ),
        (
            format!(r#"{{"CSI": {{"3.7.0": {GOOD}, "v3.7": {GOOD}}}}}"#),
            "/CSI/v3.7 is CSI 3.7.0 a second time",
        ),
        (
            format!(r#"{{"CSI": {{"newest": {GOOD}}}}}"#),
            "/CSI/newest cannot be read: \"newest\" is not a driver release",
        ),
        (
            format!(r#"{{"CSI": {{"a/b~c": {GOOD}}}}}"#),
            "/CSI/a~1b~0c cannot be read: \"a/b~c\" is not a driver release",
        ),
        (
            r#"{"CSI": {"a\u0007\n": {}}}"#.into(),
            "/CSI/a\u{fffd}\u{fffd} cannot be read: \"a\\u{7}\\n\" is not a driver release",
        ),
        (r#"{"CSI": []}"#.into(), "/CSI is a list where an object belongs"),
        (csi("[]"), "/CSI/3.7.0 is a list where an object belongs"),
        (r#"{"CSI": {}, "CSI": {}}"#.into(), "/CSI stands there a second time"),
    ] {
        assert_eq!(fault(&text), words);
    }
}

#[test]
fn a_document_that_says_nothing_is_no_matrix() {
    for empty in ["", "  \n", "\u{feff}", "{}", r#"{"CSI": {}}"#, r#"{"CSI": {}, "CPI": {}}"#, "null"] {
        assert_eq!(parse(Source::Url, empty), Err(Error::Empty), "{empty}");
    }
    assert!(fault(r#"{"CSX": {"1.0.0": {}}}"#).starts_with("the document is no matrix: "));
    for other in ["[]", "\"x\"", "1", "true"] {
        assert!(fault(other).starts_with("the document is "), "{other}: {}", fault(other));
    }
}

#[test]
fn the_place_of_a_fault_is_told_by_line_too() {
    let text = csi(&GOOD.replace("\"7.0\"", "\n 7.0"));
    let message = parse(Source::ConfigMap, &text).unwrap_err().to_string();
    let words = "/CSI/3.7.0/vSphere/min (line 1, column 32) is a number where a text in quotes belongs";
    assert_eq!(message, words);
    let twice = format!("{{\"CSI\": {{\"3.7.0\": {GOOD},\n \"v3.7\": {GOOD}}}}}");
    let message = parse(Source::ConfigMap, &twice).unwrap_err().to_string();
    assert_eq!(message, "/CSI/v3.7 (line 3, column 2) is CSI 3.7.0 a second time");
}

#[test]
fn the_same_words_in_yaml_are_the_same_matrix() {
    let yaml = "CSI:\n  3.7.0:\n    vSphere: {min: \"7.0\", max: \"9.0\"}\n    k8s: {min: '1.33', max: '1.36'}\n    \
                isCPIRequired: true\n    deploymentPath:\n    - https://manifests.example.org/driver.yaml\n";
    assert_eq!(read(yaml).matrix.rows, read(&csi(GOOD)).matrix.rows);
}

#[test]
fn a_byte_order_mark_is_no_fault() {
    assert_eq!(read(&format!("\u{feff}{}", csi(GOOD))).matrix.rows.len(), 1);
}

#[test]
fn hostile_documents_are_refused_early() {
    let large = format!("{}{}", csi(GOOD), " ".repeat(MAX_BYTES));
    assert_eq!(parse(Source::Url, &large), Err(Error::TooLarge { bytes: large.len() }));

    let just = format!("{}{}", csi(GOOD), " ".repeat(MAX_BYTES - csi(GOOD).len()));
    assert_eq!(read(&just).matrix.rows.len(), 1);

    let deep = "[".repeat(10_000);
    assert!(fault(&deep).contains("recursion limit"), "{}", fault(&deep));
    let deep_map = "{\"CSI\":".repeat(10_000);
    assert!(fault(&deep_map).contains("recursion limit"));

    let wide = format!("{{\"CSI\": [{}0]}}", "0,".repeat(500_000));
    assert_eq!(parse(Source::Url, &wide), Err(Error::TooManyRows));

    let tiny = r#"{"vSphere":{"min":"7.0","max":"9.0"},"k8s":{"skewVersion":"1.36"},"deploymentPath":["a"]}"#;
    let entries = |count: usize| {
        let entries: Vec<_> =
            (0..count).map(|at| format!("\"1.{}.{}\":{tiny}", at / 100, at % 100)).collect();
        entries.join(",")
    };
    let many = |count: usize| format!("{{\"CPI\":{{{}}}}}", entries(count));
    assert_eq!(read(&many(MAX_ROWS)).matrix.rows.len(), MAX_ROWS);
    assert_eq!(parse(Source::Url, &many(MAX_ROWS + 1)), Err(Error::TooManyRows));

    let both = format!("{{\"CPI\":{{{}}},\"CSI\":{{{}}}}}", entries(MAX_ROWS - 1), entries(2));
    assert_eq!(parse(Source::Url, &both), Err(Error::TooManyRows));

    let name = format!("{}\\n", "n".repeat(100_000));
    let message = parse(Source::Url, &format!(r#"{{"CSI": {{"{name}": {GOOD}}}}}"#)).unwrap_err().to_string();
    assert!(message.len() < 400 && !message.contains('\n'), "{message}");
}

#[test]
fn the_longest_real_lists_are_read() {
    let paths = |count: usize, length: usize| {
        let list = vec![format!("\"{}\"", "x".repeat(length)); count].join(",");
        csi(&GOOD.replace(&format!("\"{PATH}\""), &list))
    };
    let row = read(&paths(MAX_PATHS, MAX_PATH_LENGTH)).matrix.rows.remove(0);
    assert_eq!((row.deployment_path.len(), row.deployment_path[0].len()), (MAX_PATHS, MAX_PATH_LENGTH));
}

#[test]
fn an_upper_bound_that_no_vsphere_will_reach_is_none() {
    for (max, shown) in [("100.0.0", "7.0 or newer"), ("50", "7.0 or newer"), ("49.9", "7.0 to 49.9")] {
        let row = read(&csi(&GOOD.replace("9.0", max))).matrix.rows.remove(0);
        assert_eq!(ranges(&row).1, shown);
    }
}

#[test]
fn a_changed_document_has_another_digest() {
    let one = read(&csi(GOOD)).matrix.digest;
    assert_eq!(read(&csi(GOOD)).matrix.digest, one);
    assert_ne!(read(&csi(&GOOD.replace("9.0", "9.1"))).matrix.digest, one);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = parse(Source::Url, &text);
    }

    #[test]
    fn no_damage_to_a_good_matrix_makes_the_reader_panic(at in 0..300usize, with in "[\\[\\]{}\":,0-9a-z. ]{0,4}", drop in 0..6usize) {
        let good = csi(GOOD);
        let at = at.min(good.len());
        let end = (at + drop).min(good.len());
        let damaged = format!("{}{with}{}", &good[..at], &good[end..]);
        if let Ok(parsed) = parse(Source::Url, &damaged) {
            for row in &parsed.matrix.rows {
                prop_assert!(!row.kubernetes.hard.range.is_inverted() && !row.vsphere.hard.range.is_inverted());
                prop_assert!(!row.deployment_path.is_empty());
            }
        }
    }
}
