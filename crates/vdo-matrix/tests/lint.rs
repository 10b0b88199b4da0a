//! What is found in a matrix of the shape that the original shipped, and in others.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use vdo_compat::builtin;
use vdo_matrix::lint::{Linted, Manifest, Manifests, lint};
use vdo_matrix::{Finding, Level, Rule, write};

/// The matrix of a folder of the tests with all its manifests, each found by its last part.
fn folder(folder: &str) -> Linted {
    let file = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder).join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let text = file("matrix.json");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entries =
        ["CPI", "CSI"].into_iter().flat_map(|driver| document[driver].as_object().unwrap().values());
    let paths = entries.flat_map(|entry| entry["deploymentPath"].as_array().unwrap());
    let manifests: Manifests = paths
        .map(|path| {
            let path = path.as_str().unwrap();
            let name = path.rsplit('/').next().unwrap();
            let name = if path.contains("2.5.1/namespace") { "webhook.yaml" } else { name };
            (path.to_owned(), Manifest { file: name.to_owned(), text: file(name) })
        })
        .collect();
    lint(&text, &manifests, None)
}

fn matrix(entries: &str) -> Linted {
    lint(&format!("{{\"CSI\": {{{entries}}}}}"), &BTreeMap::new(), None)
}

fn entry<T: AsRef<str>>(release: &str, kubernetes: (T, T), vsphere: (T, T)) -> String {
    let range = |(min, max): (T, T)| json!({"min": min.as_ref(), "max": max.as_ref()});
    let row = json!({"k8s": range(kubernetes), "vSphere": range(vsphere), "deploymentPath": ["x"]});
    format!("{release:?}: {row}")
}

/// Rule, place in the matrix and place in the file, of all but notes.
fn seen(linted: &Linted) -> Vec<String> {
    let serious = linted.findings.iter().filter(|it| it.level != Level::Note);
    serious.map(|it| format!("{} {}", it.rule.id(), it.at)).collect()
}

fn has(linted: &Linted, rule: Rule, at: &str, words: &str) -> Finding {
    let mut found = linted.findings.iter().filter(|it| it.rule == rule && it.at == at);
    let first = found.find(|it| it.message.contains(words));
    first.unwrap_or_else(|| panic!("no {rule:?} at {at} with {words:?} in {:#?}", linted.findings)).clone()
}

#[test]
fn each_defect_of_the_originals_matrices_is_found_by_name() {
    let linted = folder("original");
    // D1: each CPI row installs one old release.
    let found = has(&linted, Rule::OtherImage, "/CPI/1.26.0/deploymentPath/0", "runs CPI 1.2.1");
    assert_eq!((found.manifest.as_deref(), found.position.unwrap().line), (Some("ds.yaml"), 14));
    // D2: registries that are gone, and releases whose images went with them.
    has(&linted, Rule::RetiredRegistry, "/CPI/1.26.0/deploymentPath/0", "was deleted in September 2024");
    has(&linted, Rule::RetiredRegistry, "/CSI/2.7.0/deploymentPath/2", "k8s.gcr.io is frozen");
    for at in ["/CPI/1.26.0", "/CSI/2.5.1", "/CSI/2.7.0", "/CSI/3.0.0"] {
        has(&linted, Rule::NoImage, at, "no official image");
    }
    // D3: a webhook that only OpenShift brings to life.
    has(&linted, Rule::DeadWebhook, "/CSI/2.7.0/deploymentPath/1", "until OpenShift");
    // D4: a hole.
    let hole = has(&linted, Rule::Placeholder, "/CSI/2.5.1/deploymentPath/1", "${CA_BUNDLE} in caBundle");
    assert_eq!(hole.position.unwrap().line, 9);
    // D5: no node has that label.
    has(&linted, Rule::DeadSelector, "/CPI/1.26.0/deploymentPath/0", "node-role.kubernetes.io/master");
    has(&linted, Rule::DeadSelector, "/CSI/2.7.0/deploymentPath/2", "Deployment controller");
    // D6: a namespace that refuses its own pods.
    has(&linted, Rule::PodSecurity, "/CSI/2.7.0/deploymentPath/0", "the pods of DaemonSet node");
    // D7: bounds that are wrong, and old.
    let floor = has(&linted, Rule::VsphereFloor, "/CSI/2.7.0/vSphere", "before 6.7.3");
    assert_eq!(floor.position.unwrap().to_string(), "13:7");
    has(&linted, Rule::Behind, "/CSI", "the newest, 3.0.0, is for Kubernetes 1.25 to 1.27");
    has(&linted, Rule::NoUpperBound, "/CSI/3.0.0/vSphere/max", "no upper bound");
    // Nobody mends what they install.
    has(&linted, Rule::EndOfSupport, "/CPI/1.26.0", "its makers list 1.29.0 and newer");
    // And a row that installs what another one is for.
    has(&linted, Rule::OtherImage, "/CSI/3.0.0/deploymentPath/0", "runs CSI 2.7.0");
    assert!(linted.matrix.is_some() && linted.count(Level::Error) > 10);
    // The same image twice is two places.
    let others =
        linted.findings.iter().filter(|it| it.rule == Rule::OtherImage && it.at.starts_with("/CSI/3.0.0"));
    let lines: Vec<u64> = others.map(|it| it.position.unwrap().line).collect();
    assert_eq!(lines, [15, 27]);
}

/// What no cluster can run, and what would look alike but can.
#[test]
fn selectors_webhooks_and_releases_that_cannot_work_are_found_and_their_likes_are_not() {
    let linted = folder("unfit");
    let mut text = String::new();
    for it in linted.findings.iter().filter(|it| it.level != Level::Note) {
        let file = it.manifest.as_deref().unwrap_or("matrix.json");
        let place = it.position.map(|place| place.to_string()).unwrap_or_default();
        text += &format!("{} {} at {file}:{place} {}\n  {}\n", it.level, it.rule.id(), it.at, it.message);
    }
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "golden"}, {
        insta::assert_snapshot!("unfit", text);
    });
}

#[test]
fn what_is_no_matrix_is_one_error_at_its_line() {
    for (text, rule, at, place) in [
        ("", Rule::Unreadable, "", Some("1:1")),
        ("{\n \"CSI\": {,}}", Rule::Unreadable, "", Some("2:10")),
        ("{\n \"CSI\": {\"3.x\": {}}}", Rule::UnparsableVersion, "/CSI/3.x", Some("2:10")),
        ("[]", Rule::Unreadable, "", Some("1:1")),
        (
            "{\"CSI\":\n {\"3.7.0\": {\"k8s\": {\"min\": 1.30}}}}",
            Rule::Unreadable,
            "/CSI/3.7.0/k8s/min",
            Some("2:21"),
        ),
    ] {
        let linted = lint(text, &BTreeMap::new(), None);
        assert!(linted.matrix.is_none());
        let [found] = linted.findings.as_slice() else { panic!("{text}: {:?}", linted.findings) };
        let position = found.position.map(|it| it.to_string());
        assert_eq!((found.rule, &*found.at, position.as_deref()), (rule, at, place), "{text}");
    }
    let twice = lint("{\"CSI\": {},\n\"CSI\": {}}", &BTreeMap::new(), None);
    assert_eq!(twice.findings[0].position.unwrap().to_string(), "2:1", "{twice:?}");
    let whole = lint("apiVersion: v1\ndata:\n  versionConfigContent: |\n    {}\n", &BTreeMap::new(), None);
    has(&whole, Rule::Unreadable, "", "give only the text in versionConfigContent");
    let newer = lint("schemaVersion: 2\n", &BTreeMap::new(), None);
    has(&newer, Rule::TooNew, "", "upgrade VDO");
    let inverted = matrix(&entry("3.7.0", ("1.10", "1.9"), ("7.0", "8.0")));
    has(&inverted, Rule::InvertedRange, "/CSI/3.7.0/k8s", "min above its max");
}

#[test]
fn rows_are_compared_by_number() {
    let old = matrix(
        &[
            entry("2.10.0", ("1.31", "1.33"), ("7.0", "8.0")),
            entry("2.9.0", ("1.30", "1.32"), ("7.0", "8.0")),
        ]
        .join(","),
    );
    has(
        &old,
        Rule::StringOrder,
        "/CSI",
        "the newest CSI is 2.10.0; the original, which compared letter by letter, took 2.9.0",
    );
    has(&old, Rule::Overlap, "/CSI/2.9.0", "CSI 2.9.0 and 2.10.0 fit the same clusters in part");
    let shadowed = matrix(
        &[
            entry("3.6.0", ("1.32", "1.33"), ("7.0.3", "8.0")),
            entry("3.7.0", ("1.32", "1.34"), ("7.0", "9.0")),
        ]
        .join(","),
    );
    has(&shadowed, Rule::Shadowed, "/CSI/3.6.0", "3.7.0, which is newer");
    assert!(shadowed.findings.iter().all(|it| it.rule != Rule::StringOrder && it.rule != Rule::Overlap));
}

#[test]
fn a_row_that_no_cluster_lies_in_is_found_and_one_that_some_do_is_not() {
    let rows = [
        entry("3.3.1", ("1.28", "1.30"), ("7.0", "8.0")),
        entry("3.6.0", ("1.32", "1.34"), ("6.5", "6.7")),
        entry("3.7.0", ("1.30", "1.35"), ("6.7.3", "9.0")),
    ];
    let linted = matrix(&rows.join(","));
    has(&linted, Rule::NoCluster, "/CSI/3.3.1/k8s", "these operators run on 1.31 and newer");
    has(&linted, Rule::NoCluster, "/CSI/3.6.0/vSphere", "is not made for vSphere before 7.0.0");
    has(&linted, Rule::VsphereFloor, "/CSI/3.7.0/vSphere", "before 7.0.0");
    assert_eq!(seen(&linted).len(), 3, "{:?}", seen(&linted));
}

#[test]
fn the_built_in_matrix_written_down_has_no_fault_but_a_release_that_its_makers_have_left() {
    let linted = lint(&write(builtin::matrix()), &BTreeMap::new(), Some("2026-08-31"));
    assert_eq!(linted.matrix.as_ref().map(|matrix| &matrix.rows), Some(&builtin::matrix().rows));
    assert_eq!(seen(&linted), ["end-of-support /rows/0"]);
    has(&linted, Rule::EndOfSupport, "/rows/0", "CPI 1.28.1 is not mended any more");
    assert_eq!(linted.count(Level::Note) + 1, linted.findings.len());
    // The patches of one line are made for the same clusters, its oldest row here is the third of CSI.
    let patch = builtin::matrix().rows.iter().position(|row| row.release.triple() == (3, 5, 0)).unwrap();
    has(
        &linted,
        Rule::Shadowed,
        &format!("/rows/{patch}"),
        "CSI 3.5.0 is installed only where it is pinned: 3.5.1",
    );
}

/// A row of our form; what is given comes after what every row has.
fn row(release: &str, kubernetes: &str, more: &str) -> String {
    let source = "source: https://example.org";
    format!(
        "- {{driver: CSI, release: {release}, kubernetes: {kubernetes}, {source}, vsphere: {{min: \"7.0\"}}{more}}}\n"
    )
}

fn rows(rows: &[String]) -> Linted {
    let text = format!("schemaVersion: 1\nrows:\n{}", rows.concat());
    let linted = lint(&text, &BTreeMap::new(), Some("2026-08-31"));
    assert!(linted.matrix.is_some(), "{:?}", linted.findings);
    linted
}

#[test]
fn the_images_of_a_row_are_looked_at() {
    let images = [
        "registry.k8s.io/csi-vsphere/driver:v3.7.0@sha256:aa",
        "k8s.gcr.io/sig-storage/livenessprobe:v2.7.0@sha256:aa",
        "mirror.example.org/csi-attacher:v4.9.0@sha256:aa",
        "registry.k8s.io/csi-vsphere/syncer:v3.6.0",
        "registry.k8s.io/x:${TAG}@sha256:aa",
    ];
    let linted = rows(&[row("3.7.0", "{min: \"1.33\"}", &format!(", images: {images:?}"))]);
    assert_eq!(
        linted.findings.iter().map(|it| format!("{} {}", it.rule.id(), it.at)).collect::<Vec<_>>(),
        [
            "retired-registry /rows/0/images/1",
            "other-registry /rows/0/images/2",
            "other-image /rows/0/images/3",
            "missing-digest /rows/0/images/3",
            "placeholder /rows/0/images/4",
        ]
    );
    assert_eq!(linted.findings[0].position.unwrap().line, 3);
    has(&linted, Rule::OtherImage, "/rows/0/images/3", "CSI 3.7.0 runs CSI 3.6.0");
}

#[test]
fn the_end_of_support_is_past_only_after_that_day() {
    let of = |day: &str| rows(&[row("3.7.0", "{min: \"1.33\"}", &format!(", endOfSupport: {day}"))]);
    assert_eq!(seen(&of("2026-08-31")), [""; 0]);
    let past = of("2026-08-30");
    has(&past, Rule::EndOfSupport, "/rows/0/endOfSupport", "supported by its makers until 2026-08-30");
    let text =
        format!("schemaVersion: 1\nrows:\n{}", row("3.7.0", "{min: \"1.33\"}", ", endOfSupport: 2000-01-01"));
    assert_eq!(seen(&lint(&text, &BTreeMap::new(), None)), [""; 0], "without a clock nothing is past");
}

#[test]
fn a_row_that_names_a_day_is_believed_before_the_list_of_its_makers() {
    let of = |more: &str| {
        let row = row("1.28.1", "{min: \"1.28\"}", more).replace("driver: CSI", "driver: CPI");
        seen(&rows(&[row]))
    };
    assert_eq!(of(""), ["end-of-support /rows/0"]);
    assert_eq!(of(", endOfSupport: 2026-08-31"), [""; 0]);
    assert_eq!(of(", endOfSupport: 2026-08-30"), ["end-of-support /rows/0/endOfSupport"]);
}

#[test]
fn a_row_is_out_of_reach_only_if_a_newer_one_is_offered_and_made_for_all_that_it_is_for() {
    let shadowed = |older: String, newer: String| {
        let linted = rows(&[older, newer]);
        linted.findings.iter().any(|it| it.rule == Rule::Shadowed && it.at == "/rows/0")
    };
    let wide = "{hard: {min: \"1.27\"}, recommended: {min: \"1.32\", max: \"1.36\"}}";
    let narrow = "{hard: {min: \"1.28\"}, recommended: {min: \"1.33\", max: \"1.35\"}}";
    assert!(shadowed(row("3.6.0", narrow, ""), row("3.7.0", wide, "")));
    assert!(!shadowed(row("3.6.0", wide, ""), row("3.7.0", narrow, "")));
    let earlier = "{hard: {min: \"1.28\"}, recommended: {min: \"1.31\", max: \"1.35\"}}";
    assert!(!shadowed(row("3.6.0", earlier, ""), row("3.7.0", wide, "")), "it is made for 1.31");
    for more in [
        ", channel: candidate",
        ", knownBad: it loses volumes",
        ", upgradesFrom: {min: \"3.6\"}",
        ", esxi: {min: \"8.0\"}",
    ] {
        assert!(!shadowed(row("3.6.0", narrow, ""), row("3.7.0", wide, more)), "{more}");
    }
    assert!(!shadowed(row("3.6.0", narrow, ""), row("3.99.0", wide, "")), "nobody builds 3.99.0");
    assert!(shadowed(
        row("3.6.0", narrow, ", channel: candidate"),
        row("3.7.0", wide, ", channel: candidate")
    ));
}

#[test]
fn a_release_for_the_few_stands_alone_where_there_is_none_for_everybody() {
    let few = |more: &str, other: &str| {
        let linted = rows(&[row("3.8.0", "{min: \"1.34\"}", more), row("3.5.1", other, "")]);
        linted.findings.iter().find(|it| it.rule == Rule::StandsAlone).map(|it| it.message.clone())
    };
    let candidate = ", channel: candidate";
    let message = few(candidate, "{min: \"1.31\", max: \"1.33\"}").unwrap();
    assert!(
        message.starts_with("CSI 3.8.0 is a candidate, and no other release fits any cluster"),
        "{message}"
    );
    assert!(few(", knownBad: it hangs", "{max: \"1.33\"}").unwrap().contains("is known to be bad"));
    assert_eq!((few(candidate, "{max: \"1.34\"}"), few("", "{max: \"1.33\"}")), (None, None));
}

#[test]
fn a_release_that_nobody_can_move_to_is_found() {
    let of = |from: &str| {
        let more = format!(", upgradesFrom: {from}");
        let linted = rows(&[row("3.8.0", "{min: \"1.34\"}", &more), row("3.5.1", "{min: \"1.31\"}", "")]);
        linted
            .findings
            .into_iter()
            .any(|it| it.rule == Rule::FollowsNothing && it.at == "/rows/0/upgradesFrom")
    };
    assert!(of("{min: \"3.6\"}") && of("{max: \"2.9\"}"));
    assert!(!of("{min: \"2.3\"}") && !of("{}"));
    let oldest = |from: &str| {
        let linted = rows(&[row("3.8.0", "{min: \"1.34\"}", &format!(", upgradesFrom: {from}"))]);
        linted.findings.iter().any(|it| it.rule == Rule::FollowsNothing)
    };
    assert!(oldest("{min: \"4.0\"}") && !oldest("{min: \"2.3\"}"));
}

#[test]
fn a_recommended_range_beyond_the_hard_one_is_an_error_of_its_own() {
    let wider = row("3.8.0", "{hard: {min: \"1.30\", max: \"1.36\"}, recommended: {min: \"1.34\"}}", "");
    let linted = lint(&format!("schemaVersion: 1\nrows:\n{wider}"), &BTreeMap::new(), None);
    let found = has(
        &linted,
        Rule::WiderThanHard,
        "/rows/0/kubernetes/recommended",
        "beyond the hard bound, 1.30 to 1.36",
    );
    assert_eq!((found.level, found.position.unwrap().line), (Level::Error, 3));
}

#[test]
fn the_order_of_letters_counts_only_in_the_originals_form() {
    let linted = rows(&[row("2.10.0", "{min: \"1.34\"}", ""), row("2.9.0", "{min: \"1.31\"}", "")]);
    assert!(linted.findings.iter().all(|it| it.rule != Rule::StringOrder));
}

#[test]
fn the_same_text_gives_the_same_findings_whatever_it_is() {
    let texts = [
        "{",
        "\u{feff}{}",
        "null",
        "{\"CSI\": null}",
        "[[[[",
        "<a>",
        "{\"a\": \"${b}\"}",
        "\u{0}",
        "- x\n\t- y",
    ];
    for text in texts {
        assert_eq!(lint(text, &BTreeMap::new(), None), lint(text, &BTreeMap::new(), None));
        assert!(lint(text, &BTreeMap::new(), None).count(Level::Error) > 0, "{text}");
    }
}
