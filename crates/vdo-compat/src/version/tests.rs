use std::cmp::Ordering;

use proptest::prelude::*;

use super::{Found, KubernetesVersion, LONGEST, Maturity, Release, Version, VsphereVersion};

fn kubernetes(text: &str) -> KubernetesVersion {
    text.parse().unwrap()
}

fn vsphere(text: &str) -> VsphereVersion {
    text.parse().unwrap()
}

#[test]
fn kubernetes_versions_of_the_field_are_read() {
    for (text, shown) in [
        ("v1.36.2", "1.36.2"),
        ("1.36.2", "1.36.2"),
        ("V1.36.2", "1.36.2"),
        ("  v1.36.2\n", "1.36.2"),
        ("v1.31.4+rke2r1", "1.31.4"),
        ("v1.30.5+k3s1", "1.30.5"),
        ("v1.26.1-rc1+k3s1", "1.26.1-rc.1"),
        ("1.27+", "1.27.0"),
        ("1.27", "1.27.0"),
        ("v1.33.4-eks-abc", "1.33.4"),
        ("v1.27.3-gke.100", "1.27.3"),
        ("v1.28.9-aliyun.1", "1.28.9"),
        ("v1.28.4+vmware.1-fips.1", "1.28.4"),
        ("v1.29.6+4aaeaec", "1.29.6"),
        ("v1.24.17_vmware.2", "1.24.17"),
        ("v1.25.0~deb1", "1.25.0"),
        ("v1.30.0-alpine.3", "1.30.0"),
        ("v1.31.0-dirty", "1.31.0"),
        ("v1.37.0-rc.0", "1.37.0-rc.0"),
        ("v1.37.0-beta.0", "1.37.0-beta.0"),
        ("v1.37.0-RC.1", "1.37.0-rc.1"),
        ("v1.37.0-alpha.0.123+3d1f8c2ab9", "1.37.0-alpha.0.123"),
        ("v1.37.0-beta", "1.37.0-beta.0"),
        ("v1.37.0-rc.99999999999", "1.37.0-rc.4294967295"),
        ("v01.036.002", "1.36.2"),
    ] {
        assert_eq!(kubernetes(text).to_string(), shown, "{text}");
    }
}

#[test]
fn vsphere_versions_of_the_field_are_read() {
    for (text, shown) in [
        ("8.0.3", "8.0.3"),
        ("8.0.3.00400", "8.0.3.00400"),
        ("8.0.3.0", "8.0.3"),
        ("7.0.3.01400", "7.0.3.01400"),
        ("8.0 U3", "8.0.3"),
        ("8.0U3", "8.0.3"),
        ("8.0u3e", "8.0.3"),
        ("8.0 Update 3", "8.0.3"),
        ("8.0-update3", "8.0.3"),
        ("8.0.0 U2", "8.0.2"),
        ("8.0.2 U3", "8.0.2"),
        ("8.0", "8.0.0"),
        ("8.0 GA", "8.0.0"),
        ("8.0.3 build-24022515", "8.0.3"),
        ("8.0.3 (24022515)", "8.0.3"),
        ("8.0.3-24022515", "8.0.3"),
        ("6.7 U3", "6.7.3"),
        ("9.0.1.0", "9.0.1"),
        ("9.1", "9.1.0"),
        ("6.5", "6.5.0"),
    ] {
        assert_eq!(vsphere(text).to_string(), shown, "{text}");
    }
}

#[test]
fn driver_releases_are_read_and_shown_without_the_v() {
    for (text, shown) in [
        ("3.7.0", "3.7.0"),
        ("v3.7.0", "3.7.0"),
        ("3.7", "3.7.0"),
        ("2.7.3_vmware.1", "2.7.3"),
        ("v1.37.0-rc.0", "1.37.0-rc.0"),
        ("v2.0.0-rc.1", "2.0.0-rc.1"),
        ("3.3.1-rancher1", "3.3.1"),
    ] {
        assert_eq!(text.parse::<Release>().unwrap().to_string(), shown, "{text}");
    }
}

#[test]
fn what_is_no_version_is_refused_with_its_own_text() {
    for text in [
        "",
        " ",
        "v",
        "latest",
        "1",
        "v3",
        "1.",
        "1.x",
        ".1.2",
        "-1.2",
        "1..2",
        "1.2.3.4.5",
        "1,36",
        "one.two",
        "1.36 or so",
        "4294967296.0",
        "1.36.99999999999999999999",
        "1.36\u{0}",
        "1.36\t2",
        "１.２.３",
        "1.36é",
    ] {
        let error = text.parse::<KubernetesVersion>().unwrap_err();
        assert_eq!(error.expected, "Kubernetes version", "{text}");
        assert!(text.parse::<Release>().is_err(), "{text}");
    }
    for text in [
        "8",
        "8.0+",
        "8.0.x",
        "8.0.1.2.3",
        "U3",
        "8.0 U99999999999",
        "ESXi 8.0",
        "8.0.3\u{7}",
        "8.0 \u{1b}[31m",
    ] {
        assert!(text.parse::<VsphereVersion>().is_err(), "{text}");
    }
    assert_eq!("latest".parse::<Release>().unwrap_err().to_string(), "\"latest\" is not a driver release");
}

/// What a text is when it is written down as a bound: the version, or what it is instead.
fn strictly<V: Version>(text: &str) -> Result<String, Found> {
    V::read_strictly(text).map(|(version, _)| version.to_string()).map_err(|error| error.found)
}

#[test]
fn what_an_author_writes_down_is_one_version_and_nothing_else() {
    for (text, read) in [
        ("1.31", Ok("1.31.0")),
        (" v1.31.4\n", Ok("1.31.4")),
        ("1.36.0-rc.1", Ok("1.36.0-rc.1")),
        ("1.26.1-beta.1+k3s1", Ok("1.26.1-beta.1")),
        ("1.37.0-alpha.0.123+3d1f8c2ab9", Ok("1.37.0-alpha.0.123")),
        ("1.31.4+rke2r1", Ok("1.31.4")),
        ("1.30.5+k3s1", Ok("1.30.5")),
        ("1.30.5+K0S.1", Ok("1.30.5")),
        ("1.33.4-eks-3861362", Ok("1.33.4")),
        ("1.33.4-eks", Ok("1.33.4")),
        ("1.27.3-gke.100", Ok("1.27.3")),
        ("1.28.9-aliyun.1", Ok("1.28.9")),
        ("1.28.4+vmware.1-fips.1", Ok("1.28.4")),
        ("1.24.17_vmware.2", Ok("1.24.17")),
        ("1.25.0~deb1", Ok("1.25.0")),
        ("3.3.1-rancher1", Ok("3.3.1")),
        ("1.29.6+4aaeaec", Ok("1.29.6")),
        // Ranges, closed and open.
        ("1.31-1.32", Err(Found::Range)),
        ("1.31-32", Err(Found::Range)),
        ("1.31 - 1.32", Err(Found::Range)),
        ("1.31-v1.32", Err(Found::Range)),
        ("1.31..1.32", Err(Found::Range)),
        ("1.31 to 1.32", Err(Found::Range)),
        ("3.8.0-3.9.0", Err(Found::Range)),
        ("1.35+", Err(Found::Range)),
        ("1.31.0-rc.1-1.32.0", Err(Found::Range)),
        ("v1.31.4+rke2r1-v1.33.4+rke2r1", Err(Found::Range)),
        ("1.31.4-eks-1.33.4-eks", Err(Found::Range)),
        ("1.31.4-eks or 1.33", Err(Found::Range)),
        // Words, and what nobody is known to append.
        ("1.31 or newer", Err(Found::More)),
        ("1.31-newer", Err(Found::More)),
        ("1.31+latest", Err(Found::More)),
        ("1.31-eks or newer", Err(Found::More)),
        ("1.31-debug", Err(Found::More)),
        ("1.31.0-rc.1x", Err(Found::More)),
        ("1.31.0+4aaeae", Err(Found::More)),
        ("1.31.0-4aaeaec", Err(Found::More)),
        ("1.31.0+4aaeaeg", Err(Found::More)),
        ("1.31.0 eks", Err(Found::More)),
        ("latest", Err(Found::None)),
        ("newer than 1.31", Err(Found::None)),
        ("1.2.3.4.5", Err(Found::None)),
        ("1.x", Err(Found::None)),
        ("4294967296.0", Err(Found::None)),
        ("+", Err(Found::None)),
        ("", Err(Found::None)),
    ] {
        let read = read.map(str::to_owned);
        assert_eq!(strictly::<KubernetesVersion>(text), read, "{text}");
        assert_eq!(strictly::<Release>(text), read, "{text}");
    }
    for (text, read) in [
        ("8.0", Ok("8.0.0")),
        ("8.0.3.00400", Ok("8.0.3.00400")),
        ("8.0 U3", Ok("8.0.3")),
        ("8.0u3e", Ok("8.0.3")),
        ("8.0 Update 3", Ok("8.0.3")),
        ("8.0.3 U3", Ok("8.0.3")),
        ("7.0 - 9.0", Err(Found::Range)),
        ("7-9", Err(Found::Range)),
        ("7U1-8U3", Err(Found::Range)),
        ("7.0, 8.0", Err(Found::Range)),
        ("8.0 U1 - 8.0 U3", Err(Found::Range)),
        ("8.0+", Err(Found::Range)),
        ("8.0 or newer", Err(Found::More)),
        ("8.0 and newer", Err(Found::More)),
        ("8.0 U3 or newer", Err(Found::More)),
        ("8.0 Update 3 or newer", Err(Found::More)),
        ("8.0 U3ep", Err(Found::More)),
        ("8.0 U3!", Err(Found::More)),
        ("8.0 U99999999999", Err(Found::More)),
        ("8.0.2 U3", Err(Found::More)),
        ("8.0 GA", Err(Found::More)),
        ("8.0.3 build-24022515", Err(Found::More)),
        ("8.0.3-24022515", Err(Found::More)),
        ("ESXi 8.0", Err(Found::None)),
        ("8.0.x", Err(Found::None)),
    ] {
        assert_eq!(strictly::<VsphereVersion>(text), read.map(str::to_owned), "{text}");
    }
    // As long as a version may be, and longer.
    let (just, long) = (format!("1.31-1.32{}", "0".repeat(LONGEST - 9)), "0".repeat(LONGEST - 8));
    assert_eq!(strictly::<Release>(&just), Err(Found::Range));
    assert_eq!(strictly::<Release>(&format!("1.31-1.32{long}")), Err(Found::None));
}

#[test]
fn a_stated_release_has_two_numbers_and_is_alone() {
    assert_eq!(Release::stated("v3.7").unwrap(), Release::new(3, 7, 0));
    for (text, words) in [
        ("3", "\"3\" is not a driver release"),
        ("newest", "\"newest\" is not a driver release"),
        ("3.8.0-3.9.0", "\"3.8.0-3.9.0\" is a range where one driver release belongs"),
        ("3.8.0-new", "\"3.8.0-new\" has words or a build beside the driver release; leave them out"),
    ] {
        assert_eq!(Release::stated(text).unwrap_err().to_string(), words);
    }
}

#[test]
fn a_refusal_repeats_only_the_start_of_a_long_text() {
    let error = "x".repeat(1_000_000).parse::<Release>().unwrap_err();
    assert_eq!(error.text.chars().count(), super::SHOWN + 1);
    let just = format!("1.36.{}", "0".repeat(LONGEST - 5));
    assert_eq!(kubernetes(&just), KubernetesVersion::new(1, 36, 0));
    assert!(format!("{just}0").parse::<KubernetesVersion>().is_err());
}

#[test]
fn versions_are_ordered_by_their_numbers_and_their_maturity() {
    let ascending = [
        "1.9.9",
        "1.27.0-alpha.1",
        "1.27.0-alpha.1.7",
        "1.27.0-alpha.2",
        "1.27.0-beta.0",
        "1.27.0-rc.0",
        "1.27.0-rc.2",
        "1.27.0-rc.10",
        "1.27+",
        "1.27.1-rc.0",
        "1.27.1",
        "1.27.10",
        "1.28.0-alpha.0",
        "1.100.0",
        "2.0.0",
    ];
    for pair in ascending.windows(2) {
        assert!(kubernetes(pair[0]) < kubernetes(pair[1]), "{} < {}", pair[0], pair[1]);
        assert!(pair[0].parse::<Release>().unwrap() < pair[1].parse().unwrap(), "{} < {}", pair[0], pair[1]);
    }
    let ascending =
        ["6.5", "6.7.0", "6.7 U3", "7.0", "7.0.3.01400", "8.0.3", "8.0.3.00400", "8.0.10", "9.0", "9.1"];
    for pair in ascending.windows(2) {
        assert!(vsphere(pair[0]) < vsphere(pair[1]), "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn spellings_of_one_version_are_equal() {
    assert_eq!(kubernetes("v1.31.4+rke2r1"), KubernetesVersion::new(1, 31, 4));
    assert_eq!(vsphere("8.0 U3"), VsphereVersion::new(8, 0, 3));
    assert_eq!("v3.7".parse::<Release>().unwrap(), Release::new(3, 7, 0));
}

#[test]
fn six_seven_update_three_is_told_by_its_api_version() {
    for (version, api_version, read) in [
        ("6.7.0", "6.7.3", "6.7.3"),
        ("6.7.0", "6.7.1", "6.7.1"),
        ("6.7.0", "6.7", "6.7.0"),
        ("6.5.0", "6.5", "6.5.0"),
        ("7.0.3", "7.0.3.0", "7.0.3"),
        ("8.0.3", "8.0.3.0", "8.0.3"),
        ("8.0.3.00400", "8.0.3.0", "8.0.3.00400"),
        // An API version of another line is not believed, nor one that is behind.
        ("8.0.3", "9.0.0.0", "8.0.3"),
        ("8.0.3", "8.0.1.0", "8.0.3"),
        ("8.0.3", "", "8.0.3"),
        ("8.0.3", "dev", "8.0.3"),
    ] {
        let reported = VsphereVersion::reported(version, api_version).unwrap();
        assert_eq!(reported.to_string(), vsphere(read).to_string(), "{version} with API {api_version}");
    }
    assert!(VsphereVersion::reported("", "8.0.3.0").is_err());
}

#[test]
fn versions_travel_as_text() {
    let json =
        serde_json::to_string(&(kubernetes("v1.31.4+rke2r1"), vsphere("8.0.3.00400"), Release::new(3, 7, 0)));
    assert_eq!(json.unwrap(), r#"["1.31.4","8.0.3.00400","3.7.0"]"#);
    assert_eq!(serde_json::from_str::<Release>("\"v3.7.0\"").unwrap(), Release::new(3, 7, 0));
    let refused = serde_json::from_str::<Release>("3.7").unwrap_err();
    assert!(refused.to_string().contains("expected a string"), "{refused}");
    assert!(
        serde_json::from_str::<Release>("\"latest\"")
            .unwrap_err()
            .to_string()
            .contains("not a driver release")
    );
}

#[test]
fn a_release_gives_its_numbers_and_maturity() {
    let candidate: Release = "v1.37.0-rc.2".parse().unwrap();
    assert_eq!((candidate.triple(), candidate.maturity()), ((1, 37, 0), Maturity::Rc(2, 0)));
    assert_eq!(Release::new(1, 37, 0).maturity(), Maturity::Final);
}

#[test]
fn a_version_knows_its_line_and_the_next_one() {
    let version = kubernetes("v1.36.2+rke2r1");
    assert_eq!((version.line(), version.next_minor()), ((1, 36), KubernetesVersion::new(1, 37, 0)));
    let last = KubernetesVersion::new(1, u32::MAX, 3);
    assert_eq!(last.next_minor(), KubernetesVersion::new(1, u32::MAX, 0));
    assert_eq!(Release::new(3, 7, 2).line(), (3, 7));
}

fn core() -> impl Strategy<Value = String> {
    (0..3u32, 0..40u32, 0..12u32).prop_map(|(major, minor, patch)| format!("{major}.{minor}.{patch}"))
}

fn vendor_suffix() -> impl Strategy<Value = String> {
    prop_oneof![
        "[+_~][a-z0-9.-]{0,20}",
        "-(eks|gke|aliyun|vmware|k3s|rancher|alphabet|rcx|betamax)[.-]?[a-z0-9]{0,10}",
        "-[0-9]{1,6}[+a-z0-9]{0,8}",
    ]
}

fn some_kubernetes() -> impl Strategy<Value = KubernetesVersion> {
    let maturity = prop_oneof![
        Just(Maturity::Final),
        (0..3u32, 0..3u32).prop_map(|(number, commits)| Maturity::Alpha(number, commits)),
        (0..3u32, 0..3u32).prop_map(|(number, commits)| Maturity::Beta(number, commits)),
        (0..3u32, 0..3u32).prop_map(|(number, commits)| Maturity::Rc(number, commits)),
    ];
    ([0..3u32, 0..3u32, 0..3u32, 0..3u32], maturity)
        .prop_map(|(numbers, maturity)| KubernetesVersion { numbers, maturity })
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        let _ = KubernetesVersion::read(&text);
        let _ = VsphereVersion::read(&text);
        let _ = Release::read(&text);
    }

    #[test]
    fn what_is_read_strictly_is_read_as_anywhere_and_numbers_always_are(
        text in "[vV]?[0-9.]{0,12}[-+_~ uU.]?(rc|eks|k3s|rke2r|update)?[-+. 0-9a-f]{0,20}", plain in core(),
    ) {
        fn agree<V: Version>(text: &str) -> bool {
            V::read_strictly(text).is_ok_and(|read| V::read(text) == Ok(read))
        }
        for text in [text.as_str(), "7.0 - 9.0"] {
            prop_assert!(KubernetesVersion::read_strictly(text).is_err() || agree::<KubernetesVersion>(text));
            prop_assert!(VsphereVersion::read_strictly(text).is_err() || agree::<VsphereVersion>(text));
            prop_assert!(Release::read_strictly(text).is_err() || agree::<Release>(text));
        }
        prop_assert!(agree::<KubernetesVersion>(&plain) && agree::<VsphereVersion>(&plain) && agree::<Release>(&plain));
    }

    #[test]
    fn no_almost_version_makes_a_parser_panic(text in "[vV]?[0-9.]{0,30}[-+_~ uU.]?(rc|alpha|beta|update)?[.0-9é-]{0,40}") {
        let _ = KubernetesVersion::read(&text);
        let _ = VsphereVersion::read(&text);
        let _ = Release::read(&text);
    }

    #[test]
    fn the_order_is_total_and_agrees_with_equality(
        a in some_kubernetes(), b in some_kubernetes(), c in some_kubernetes(),
    ) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
        prop_assert_eq!(a.to_string() == b.to_string(), a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_version(version in some_kubernetes()) {
        prop_assert_eq!(version.to_string().parse::<KubernetesVersion>().unwrap(), version);
    }

    #[test]
    fn a_vendor_suffix_never_changes_the_order(a in core(), b in core(), x in vendor_suffix(), y in vendor_suffix()) {
        let plain = kubernetes(&a).cmp(&kubernetes(&b));
        let dressed = kubernetes(&format!("v{a}{x}")).cmp(&kubernetes(&format!("{b}{y}")));
        prop_assert_eq!(plain, dressed);
        prop_assert_eq!(a.parse::<Release>().unwrap(), format!("v{a}{x}").parse::<Release>().unwrap());
    }
}
