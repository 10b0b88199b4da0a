use proptest::prelude::*;

use super::{End, Line, Place, Range};
use crate::version::{KubernetesVersion, Release, Version, VsphereVersion};

fn line<V: Version>(text: &str) -> Line<V> {
    text.parse().unwrap()
}

fn between<V: Version>(from: &str, to: &str) -> Range<V> {
    Range::between(line(from), line(to))
}

#[test]
fn a_line_holds_what_starts_with_its_numbers() {
    for (text, version, held) in [
        ("1.36", "1.36.0", true),
        ("1.36", "1.36.99", true),
        ("1.36", "1.36.0-rc.1", true),
        ("1.36", "1.37.0-alpha.0", false),
        ("1.36", "1.35.9", false),
        ("1.36.2", "1.36.2", true),
        ("1.36.2", "1.36.3", false),
        ("1", "1.99.1", true),
        ("1", "2.0.0", false),
        ("v1.36+rke2r1", "1.36.1", true),
    ] {
        let held_now = line::<KubernetesVersion>(text).holds(&version.parse().unwrap());
        assert_eq!(held_now, held, "{version} in {text}");
    }
    assert!(line::<VsphereVersion>("8.0 U3").holds(&"8.0.3.00400".parse().unwrap()));
    assert!(!line::<VsphereVersion>("8.0.3.00400").holds(&"8.0.3.00500".parse().unwrap()));
    assert!(Line::<Release>::new(&[]).holds(&Release::new(3, 7, 0)));
    assert_eq!(Line::<Release>::new(&[3, 7]), line("3.7"));
    assert_eq!(Line::<Release>::new(&[3, 7, 0, 0, 9]), Line::new(&[3, 7, 0, 0]));
}

#[test]
fn a_line_is_not_the_first_number_of_a_range_or_a_sentence() {
    for text in ["7.0 - 9.0", "8.0 or newer", "8.0+", "8.0 GA"] {
        assert!(text.parse::<Line<VsphereVersion>>().is_err(), "{text}");
    }
    for text in ["1.31-1.32", "1.35+", "1.35-newer"] {
        assert!(text.parse::<Line<KubernetesVersion>>().is_err(), "{text}");
        assert!(text.parse::<Line<Release>>().is_err(), "{text}");
    }
}

#[test]
fn a_line_knows_its_first_number() {
    let majors = ["8.0 U3", "6.7", "9", "100.0.0"].map(|text| line::<VsphereVersion>(text).major());
    assert_eq!(majors, [8, 6, 9, 100]);
    assert_eq!(Line::<VsphereVersion>::new(&[]).major(), 0);
}

#[test]
fn both_ends_of_a_range_are_in_it() {
    let range = between::<KubernetesVersion>("1.33", "1.35");
    for (version, place) in [
        ("1.32.99", Place::Below(line("1.33"))),
        ("1.33.0-alpha.1", Place::Within),
        ("1.33.0", Place::Within),
        ("1.34.7", Place::Within),
        ("1.35.99", Place::Within),
        ("1.36.0-rc.0", Place::Above(line("1.35"))),
        ("1.36.0", Place::Above(line("1.35"))),
        ("2.0.0", Place::Above(line("1.35"))),
        ("0.40.0", Place::Below(line("1.33"))),
    ] {
        let version: KubernetesVersion = version.parse().unwrap();
        assert_eq!(range.place(&version), place, "{version}");
        assert_eq!(range.holds(&version), place == Place::Within, "{version}");
    }
}

#[test]
fn an_open_end_bounds_nothing() {
    let old = VsphereVersion::new(5, 5, 0);
    let new = VsphereVersion::new(99, 0, 0);
    assert!(Range::ANY.holds(&old) && Range::ANY.holds(&new));
    assert_eq!(Range::at_least(line("6.7.3")).place(&old), Place::Below(line("6.7.3")));
    assert!(Range::at_least(line("6.7.3")).holds(&new));
    assert!(Range::at_most(line("8.0")).holds(&old));
    assert_eq!(Range::at_most(line("8.0")).place(&new), Place::Above(line("8.0")));
}

#[test]
fn an_inverted_range_says_so_and_holds_nothing() {
    for (from, to, inverted) in [
        ("1.35", "1.33", true),
        ("1.35", "1.35", false),
        ("1.35.2", "1.35", false),
        ("1.35.2", "1.35.1", true),
        ("2", "1.99", true),
        ("1.33", "1.35", false),
    ] {
        assert_eq!(between::<KubernetesVersion>(from, to).is_inverted(), inverted, "{from} to {to}");
    }
    let inverted = between::<KubernetesVersion>("1.35", "1.33");
    assert!((30..40).all(|minor| !inverted.holds(&KubernetesVersion::new(1, minor, 0))));
    assert!(!Range::<KubernetesVersion>::ANY.is_inverted());
    assert!(!Range::<KubernetesVersion>::at_least(line("1.35")).is_inverted());
    assert!(!Range::<KubernetesVersion>::at_most(line("1.35")).is_inverted());
}

#[test]
fn a_range_reads_as_a_person_would_say_it() {
    for (range, shown) in [
        (between::<VsphereVersion>("7.0", "9.1"), "7.0 to 9.1"),
        (Range::only(line("8.0.3")), "8.0.3"),
        (Range::at_least(line("6.7.3")), "6.7.3 or newer"),
        (Range::at_most(line("8.0.3.00400")), "8.0.3.00400 or older"),
        (Range::ANY, "of any version"),
    ] {
        assert_eq!(range.to_string(), shown);
    }
}

#[test]
fn a_range_is_stored_by_its_bounds() {
    let ranges = [between::<KubernetesVersion>("1.33", "1.35"), Range::at_least(line("1.33"))];
    let json = serde_json::to_string(&ranges).unwrap();
    assert_eq!(json, r#"[{"min":"1.33","max":"1.35"},{"min":"1.33","max":null}]"#);
}

#[test]
fn a_major_is_farther_than_any_minor_and_a_minor_than_any_patch() {
    let gap = |version: &str| between::<KubernetesVersion>("1.33.5", "1.35").gap(&version.parse().unwrap());
    assert_eq!(gap("1.34.0"), 0);
    let ascending = ["1.33.4", "1.33.0", "1.32.9", "1.30.0", "0.99.0"].map(gap);
    assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
    let ascending = ["1.36.0", "1.37.0", "1.99.0", "2.0.0", "9.0.0"].map(gap);
    assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
    let patches = Range::only(line::<KubernetesVersion>("1.33.5000")).gap(&KubernetesVersion::new(1, 33, 0));
    assert!(patches < gap("1.36.0"), "{patches}");
    assert_eq!(
        gap("1.36.0"),
        gap("1.36.9"),
        "within the line, a patch is no distance to a bound that names none"
    );
}

fn end(widest: usize) -> impl Strategy<Value = End<KubernetesVersion>> {
    prop_oneof![
        Just(End::Open),
        proptest::collection::vec(0..4u32, 0..=widest).prop_map(|numbers| End::At(Line::new(&numbers))),
    ]
}

fn numbers() -> impl Strategy<Value = [u32; 4]> {
    [0..4u32, 0..4u32, 0..4u32, 0..4u32]
}

proptest! {
    #[test]
    fn a_range_is_without_holes(from in end(4), to in end(4), a in numbers(), b in numbers(), c in numbers()) {
        let mut sorted = [a, b, c];
        sorted.sort();
        let [low, middle, high] = sorted.map(KubernetesVersion::from_numbers);
        let range = Range { from, to };
        if range.holds(&low) && range.holds(&high) {
            prop_assert!(range.holds(&middle));
        }
    }

    #[test]
    fn an_inverted_range_is_one_that_holds_nothing(from in end(4), to in end(4), version in numbers()) {
        let range = Range { from, to };
        let version = KubernetesVersion::from_numbers(version);
        if range.is_inverted() {
            prop_assert!(!range.holds(&version));
        } else if let End::At(to) = to {
            // The newest version of the upper line, or the lower bound itself, is in it.
            let mut newest = [u32::MAX; 4];
            let written = to.to_string();
            for (at, number) in written.split('.').filter(|n| !n.is_empty()).enumerate() {
                newest[at] = number.parse().unwrap();
            }
            prop_assert!(range.holds(&KubernetesVersion::from_numbers(newest)));
        }
    }

    // The fourth number decides whether a version fits, and counts for nothing in the distance.
    #[test]
    fn what_is_within_has_no_distance_and_what_is_without_has_one(
        from in end(3), to in end(3), version in [0..4u32, 0..4u32, 0..4u32],
    ) {
        let range = Range { from, to };
        let [major, minor, patch] = version;
        let version = KubernetesVersion::new(major, minor, patch);
        prop_assert_eq!(range.gap(&version) == 0, range.holds(&version));
    }
}
