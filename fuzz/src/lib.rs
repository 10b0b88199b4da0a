//! What has to be true of every text that somebody gives us as a version, a range or a matrix. Start with [`version()`],
//! [`range()`] or [`matrix()`]: each is a fuzz target, and panics if something is not true.
//!
//! **Invariant:** what is right is said in plain numbers and texts, or by two answers that have to agree; no decision of
//! the code that is tested is repeated.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vdo_compat::{KubernetesVersion, Release, Version, VersionError, VsphereVersion};

mod matrix;
mod range;

pub use matrix::matrix;
pub use range::range;

/// The most characters of a refused text that a message repeats, with the one that stands for the rest.
const SHOWN: usize = 41;

/// Up to four lines, each a version of any kind.
pub fn version(text: &str) {
    let lines: Vec<&str> = text.split('\n').take(4).collect();
    ordered::<KubernetesVersion>(&lines);
    ordered::<Release>(&lines);
    ordered::<VsphereVersion>(&lines);
    if let [version, api_version, ..] = lines[..] {
        reported(version, api_version);
    }
}

/// Versions are ordered as what is shown of them says.
fn ordered<V: Version + Serialize + DeserializeOwned>(lines: &[&str]) {
    let versions: Vec<V> = lines.iter().filter_map(|line| read(line)).map(|(version, _)| version).collect();
    for a in &versions {
        for b in &versions {
            assert_eq!(a.cmp(b), Key::of(a).cmp(&Key::of(b)), "{a} and {b}");
            assert_eq!(a == b, a.to_string() == b.to_string(), "{a} and {b}");
        }
    }
}

/// Reads a version, and tells how many of its numbers were written down.
fn read<V: Version + Serialize + DeserializeOwned>(text: &str) -> Option<(V, usize)> {
    let (version, width) = match V::read(text) {
        Ok(read) => read,
        Err(error) => {
            refused(&error, V::EXPECTED);
            assert_eq!(text.parse::<V>(), Err(error));
            return None;
        }
    };
    assert!((1..=4).contains(&width), "{width} numbers");
    assert_eq!(version.numbers()[width..], [0; 4][width..], "numbers that nobody wrote");
    assert_eq!(text.parse::<V>().is_ok(), width > 1, "one number names a line");
    let shown = version.to_string();
    same(shown.parse(), &version);
    same(V::read(&format!(" v{shown}\n")).map(|(version, _)| version), &version);
    same(serde_json::from_value(serde_json::json!(version)), &version);
    assert_eq!(V::from_numbers(version.numbers()).numbers(), version.numbers());
    Some((version, width))
}

fn same<T: PartialEq + Debug, E: Debug>(read: Result<T, E>, expected: &T) {
    assert_eq!(read.as_ref().ok(), Some(expected), "{read:?}");
}

fn refused(error: &VersionError, expected: &str) {
    assert_eq!(error.expected, expected);
    assert!(error.text.chars().count() <= SHOWN);
    told(&error.to_string());
}

/// A message stays in its line, and is not as long as somebody likes.
fn told(message: &str) {
    assert!(!message.is_empty() && !message.chars().any(char::is_control), "{message:?}");
    assert!(message.chars().count() < 400, "{} characters", message.chars().count());
}

/// The order of what is shown: the numbers, then the stage of a pre-release, its number and the commits since. A release is
/// newer than what leads to it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    numbers: [u32; 4],
    stage: u8,
    counts: [u32; 2],
}

impl Key {
    fn of<V: Version>(version: &V) -> Self {
        let shown = version.to_string();
        let (numbers, stage) = shown.split_once('-').unwrap_or((&shown, ""));
        let mut parts = stage.split('.');
        let stage = match parts.next() {
            Some("alpha") => 0,
            Some("beta") => 1,
            Some("rc") => 2,
            Some("") => 3,
            other => panic!("{shown} has the stage {other:?}"),
        };
        Key { numbers: counts(numbers.split('.')), stage, counts: counts(parts) }
    }
}

/// So many numbers; those that are not shown are 0.
fn counts<'a, const N: usize>(mut parts: impl Iterator<Item = &'a str>) -> [u32; N] {
    let counts = [(); N].map(|()| parts.next().map_or(0, |part| part.parse().expect("a number is shown")));
    assert_eq!(parts.next(), None, "more numbers than there are");
    counts
}

/// What a vCenter says of itself is one of the two versions that it names, and the newer one of a line.
fn reported(version: &str, api_version: &str) {
    let read = VsphereVersion::reported(version, api_version);
    let Ok(version) = version.parse::<VsphereVersion>() else {
        assert!(read.is_err());
        return;
    };
    let read = read.expect("the version can be read");
    assert!(read == version || api_version.parse() == Ok(read), "{read} is neither");
    assert!(read >= version && read.numbers()[..2] == version.numbers()[..2], "{read} for {version}");
}
