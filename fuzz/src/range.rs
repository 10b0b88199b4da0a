//! Ranges against their bounds in plain numbers.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use vdo_compat::{End, KubernetesVersion, Line, Pin, Place, Range, Release, Version, VsphereVersion};

use crate::{read, refused, same, told};

/// The lower bound, the upper one, and up to three versions, each on a line. An empty line is an open end.
pub fn range(text: &str) {
    let mut lines = text.split('\n');
    let (from, to) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let versions: Vec<&str> = lines.take(3).collect();
    placed::<KubernetesVersion>(from, to, &versions);
    placed::<VsphereVersion>(from, to, &versions);
    placed::<Release>(from, to, &versions);
    pinned(from, &versions);
}

/// One end, and the numbers that were written down for it: none for an open one.
struct Bound<V> {
    end: End<V>,
    numbers: [u32; 4],
    width: usize,
}

impl<V: Version + Serialize + DeserializeOwned> Bound<V> {
    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Bound { end: End::Open, numbers: [0; 4], width: 0 });
        }
        let line = match text.parse::<Line<V>>() {
            Ok(line) => line,
            Err(error) => {
                refused(&error, V::EXPECTED);
                assert!(V::read(text).is_err() || !is_plain(text), "numbers are a bound");
                return None;
            }
        };
        let (version, width) = read::<V>(text).expect("what is a line is a version");
        same(line.to_string().parse(), &line);
        assert!(line.holds(&version));
        assert_eq!(line.major(), version.numbers()[0]);
        assert_eq!(json!(line), json!(line.to_string()));
        let numbers = version.numbers();
        assert_eq!(Line::new(&numbers[..width]), line);
        Some(Bound { end: End::At(line), numbers, width })
    }

    /// The numbers that this bound looks at.
    fn of<'n>(&self, numbers: &'n [u32; 4]) -> &'n [u32] {
        &numbers[..self.width]
    }

    fn bound(&self) -> &[u32] {
        self.of(&self.numbers)
    }
}

/// Nothing but numbers and dots. With anything else a text may run somewhere, and be no bound.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn placed<V: Version + Serialize + DeserializeOwned>(from: &str, to: &str, versions: &[&str]) -> Option<()> {
    let (from, to) = (Bound::<V>::read(from)?, Bound::<V>::read(to)?);
    let range = Range { from: from.end, to: to.end };
    for (version, _) in versions.iter().filter_map(|text| read::<V>(text)) {
        let numbers = version.numbers();
        let below = from.of(&numbers) < from.bound();
        let above = to.of(&numbers) > to.bound();
        match range.place(&version) {
            Place::Below(line) => assert!(below && End::At(line) == from.end, "{version} in {range}"),
            Place::Above(line) => assert!(above && !below && End::At(line) == to.end, "{version} in {range}"),
            Place::Within => assert!(!below && !above, "{version} in {range}"),
        }
        assert_eq!(range.holds(&version), !below && !above, "{version} in {range}");
    }
    // The first version of the lower line is in every range that holds anything.
    let first = if from.width > 0 { &from } else { &to };
    let held = range.holds(&V::from_numbers(first.numbers));
    assert_eq!(held, !range.is_inverted(), "{range}");
    told(&range.to_string());
    let end = |bound: &Bound<V>| match bound.end {
        End::Open => json!(null),
        End::At(line) => json!(line.to_string()),
    };
    assert_eq!(json!(range), json!({"min": end(&from), "max": end(&to)}));
    Some(())
}

/// A pin allows what begins with its numbers; three of them are one release.
fn pinned(text: &str, versions: &[&str]) -> Option<()> {
    let Ok(pin) = text.parse::<Pin>() else {
        assert!(Release::read(text).is_err() || !is_plain(text), "numbers are a pin");
        return None;
    };
    same(pin.to_string().parse(), &pin);
    let (release, width) = read::<Release>(text)?;
    assert!(pin.allows(release));
    for (other, _) in versions.iter().filter_map(|text| read::<Release>(text)) {
        let expected = match pin {
            Pin::Exact(exact) => exact == release && exact == other,
            Pin::Line(_) => width < 3 && release.numbers()[..width] == other.numbers()[..width],
        };
        assert_eq!(pin.allows(other), expected, "{other} with {pin}");
    }
    Some(())
}
