//! Versions as they are met in the field, read leniently and ordered by their numbers.
//!
//! One parser serves all three kinds: an optional `v`, one to four numbers, then a suffix. Only `-alpha`,
//! `-beta` and `-rc` sort below the release they lead to; what a vendor appends (`+rke2r1`, `-eks-3861362`,
//! `_vmware.1`) is dropped, so it can neither change the order nor tell two equal versions apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// No version string of the field comes near this; what is longer is refused unread.
const LONGEST: usize = 128;
/// How much of a refused text a message repeats.
const SHOWN: usize = 40;

/// How finished a version is. Declared in ascending order, which is the order of releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Maturity {
    /// `-alpha.N`, and `-alpha.N.M` for a build M commits after it.
    Alpha(u32, u32),
    /// `-beta.N`.
    Beta(u32, u32),
    /// `-rc.N`.
    Rc(u32, u32),
    /// A release.
    Final,
}

impl fmt::Display for Maturity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stage, number, commits) = match *self {
            Self::Alpha(number, commits) => ("alpha", number, commits),
            Self::Beta(number, commits) => ("beta", number, commits),
            Self::Rc(number, commits) => ("rc", number, commits),
            Self::Final => return Ok(()),
        };
        write!(f, "-{stage}.{number}")?;
        if commits > 0 { write!(f, ".{commits}") } else { Ok(()) }
    }
}

/// A text that is no version, with what was expected in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {expected}")]
pub struct VersionError {
    /// What the text should have been, such as `Kubernetes version`.
    pub expected: &'static str,
    /// The text, cut to a length that fits a message.
    pub text: String,
}

impl VersionError {
    fn new(expected: &'static str, text: &str) -> Self {
        let mut shown: String = text.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { expected, text: shown }
    }
}

/// What ranges need to know of a version.
pub trait Version: Copy + Ord + fmt::Debug + fmt::Display + FromStr<Err = VersionError> {
    /// What a text should have been if it cannot be read.
    const EXPECTED: &'static str;

    /// The numbers that decide the order; absent ones are 0.
    fn numbers(&self) -> [u32; 4];

    /// The finished version with these numbers.
    fn from_numbers(numbers: [u32; 4]) -> Self;

    /// Reads a version, and how many of its numbers were written down.
    fn read(text: &str) -> Result<(Self, usize), VersionError>;
}

/// Version of a Kubernetes API server, such as `v1.31.4+rke2r1` or `1.27+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    numbers: [u32; 4],
    maturity: Maturity,
}

/// Version of a vCenter, such as `8.0.3`, `8.0.3.00400` or `8.0 U3`.
///
/// An update is the third number. The letter of a patch (`8.0 U3e`) is dropped: letters skip, so they cannot be
/// ordered against the fourth number, and no bound depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VsphereVersion {
    numbers: [u32; 4],
}

/// Release of a driver, such as `3.7.0` or `v1.37.0-rc.0`; displayed without the `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    numbers: [u32; 4],
    maturity: Maturity,
}

impl KubernetesVersion {
    /// A released version.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { numbers: [major, minor, patch, 0], maturity: Maturity::Final }
    }

    /// Major and minor.
    pub const fn line(&self) -> (u32, u32) {
        (self.numbers[0], self.numbers[1])
    }

    /// The first release of the next minor.
    pub const fn next_minor(&self) -> Self {
        Self::new(self.numbers[0], self.numbers[1].saturating_add(1), 0)
    }
}

impl Release {
    /// A finished release.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { numbers: [major, minor, patch, 0], maturity: Maturity::Final }
    }

    /// Major, minor and patch: what facts per release line are keyed by.
    pub const fn triple(&self) -> (u32, u32, u32) {
        (self.numbers[0], self.numbers[1], self.numbers[2])
    }

    /// Major and minor: a newer release with the same is a patch.
    pub const fn line(&self) -> (u32, u32) {
        (self.numbers[0], self.numbers[1])
    }

    /// How finished it is.
    pub const fn maturity(&self) -> Maturity {
        self.maturity
    }
}

impl VsphereVersion {
    /// A version from its three marketing numbers: 8.0 U3 is `new(8, 0, 3)`.
    pub const fn new(major: u32, minor: u32, update: u32) -> Self {
        Self { numbers: [major, minor, update, 0] }
    }

    /// Reads what a vCenter says of itself.
    ///
    /// vCenter 6.7 calls every update 6.7.0 and tells them apart in the API version only (6.7.3 is Update 3), so
    /// the API version counts where it is ahead within the same line. An API version that cannot be read is
    /// passed over: the version alone is still true.
    pub fn reported(version: &str, api_version: &str) -> Result<Self, VersionError> {
        let version: Self = version.parse()?;
        let Ok(api) = api_version.parse::<Self>() else { return Ok(version) };
        let same_line = version.numbers[..2] == api.numbers[..2];
        let ahead = api.numbers[2] > version.numbers[2];
        Ok(if same_line && ahead { api } else { version })
    }
}

impl Version for KubernetesVersion {
    const EXPECTED: &'static str = "Kubernetes version";

    fn numbers(&self) -> [u32; 4] {
        self.numbers
    }

    fn from_numbers(numbers: [u32; 4]) -> Self {
        Self { numbers, maturity: Maturity::Final }
    }

    fn read(text: &str) -> Result<(Self, usize), VersionError> {
        let (numbers, width, maturity) =
            numbers_and_maturity(text).ok_or_else(|| VersionError::new(Self::EXPECTED, text))?;
        Ok((Self { numbers, maturity }, width))
    }
}

impl Version for Release {
    const EXPECTED: &'static str = "driver release";

    fn numbers(&self) -> [u32; 4] {
        self.numbers
    }

    fn from_numbers(numbers: [u32; 4]) -> Self {
        Self { numbers, maturity: Maturity::Final }
    }

    fn read(text: &str) -> Result<(Self, usize), VersionError> {
        let (numbers, width, maturity) =
            numbers_and_maturity(text).ok_or_else(|| VersionError::new(Self::EXPECTED, text))?;
        Ok((Self { numbers, maturity }, width))
    }
}

impl Version for VsphereVersion {
    const EXPECTED: &'static str = "vSphere version";

    fn numbers(&self) -> [u32; 4] {
        self.numbers
    }

    fn from_numbers(numbers: [u32; 4]) -> Self {
        Self { numbers }
    }

    fn read(text: &str) -> Result<(Self, usize), VersionError> {
        let refused = || VersionError::new(Self::EXPECTED, text);
        let (mut numbers, mut width, rest) = split(text).ok_or_else(refused)?;
        // Words may follow ("GA", "build-24022515"). A bare `+` means "or newer", which is a range.
        if rest == "+" {
            return Err(refused());
        }
        if width <= 3
            && numbers[2] == 0
            && let Some(update) = update_number(rest)
        {
            numbers[2] = update.ok_or_else(refused)?;
            width = width.max(3);
        }
        Ok((Self { numbers }, width))
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.numbers)?;
        self.maturity.fmt(f)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.numbers)?;
        self.maturity.fmt(f)
    }
}

impl fmt::Display for VsphereVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, update, patch] = self.numbers;
        write!(f, "{major}.{minor}.{update}")?;
        // vSphere itself writes the patch with five digits.
        if patch > 0 { write!(f, ".{patch:05}") } else { Ok(()) }
    }
}

fn dotted(f: &mut fmt::Formatter<'_>, numbers: &[u32; 4]) -> fmt::Result {
    let [major, minor, patch, fourth] = numbers;
    write!(f, "{major}.{minor}.{patch}")?;
    if *fourth > 0 { write!(f, ".{fourth}") } else { Ok(()) }
}

macro_rules! as_text {
    ($($version:ty),*) => {$(
        impl FromStr for $version {
            type Err = VersionError;

            fn from_str(text: &str) -> Result<Self, VersionError> {
                match Self::read(text)? {
                    (version, 2..) => Ok(version),
                    // A single number names a line (`3`), never something that runs.
                    _ => Err(VersionError::new(Self::EXPECTED, text)),
                }
            }
        }

        impl Serialize for $version {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $version {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(KubernetesVersion, VsphereVersion, Release);

/// Splits into numbers, how many were written, and the rest. `None` if there is no version in it.
fn split(text: &str) -> Option<([u32; 4], usize, &str)> {
    let text = text.trim();
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        return None;
    }
    let mut rest = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let mut numbers = [0; 4];
    let mut width = 0;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        *numbers.get_mut(width)? = rest[..digits].parse().ok()?;
        width += 1;
        rest = &rest[digits..];
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None => return Some((numbers, width, rest)),
        }
    }
}

/// Kubernetes and the drivers: a suffix starts with a separator, and three words of it mean something.
fn numbers_and_maturity(text: &str) -> Option<([u32; 4], usize, Maturity)> {
    let (numbers, width, rest) = split(text)?;
    match rest.chars().next() {
        None => Some((numbers, width, Maturity::Final)),
        Some('-') => Some((numbers, width, maturity(&rest[1..]))),
        Some('+' | '_' | '~') => Some((numbers, width, Maturity::Final)),
        Some(_) => None,
    }
}

/// Reads `rc.1`, `rc1`, `beta`, `alpha.0.123+gabc`. Everything else is a vendor's word, and final.
fn maturity(suffix: &str) -> Maturity {
    let word = suffix.len() - suffix.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (stage, rest) = suffix.split_at(word);
    let stage = match stage.to_ascii_lowercase().as_str() {
        "alpha" => Maturity::Alpha,
        "beta" => Maturity::Beta,
        "rc" => Maturity::Rc,
        _ => return Maturity::Final,
    };
    let (number, rest) = leading_number(rest.strip_prefix(['.', '-']).unwrap_or(rest));
    let (commits, _) = match rest.strip_prefix('.') {
        Some(next) => leading_number(next),
        None => (None, rest),
    };
    stage(number.unwrap_or(0), commits.unwrap_or(0))
}

/// A number too large for us is the largest there is: only its order matters, and it is a suffix.
fn leading_number(text: &str) -> (Option<u32>, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    ((!number.is_empty()).then(|| number.parse().unwrap_or(u32::MAX)), rest)
}

/// `U3`, `u3e`, `Update 3`: the number, or `Some(None)` if there is one that cannot be read.
fn update_number(rest: &str) -> Option<Option<u32>> {
    let rest = rest.trim_start_matches([' ', '-', '_']).to_ascii_lowercase();
    let after = rest.strip_prefix("update").or_else(|| rest.strip_prefix('u'))?;
    let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
    if digits.is_empty() { None } else { Some(digits.parse().ok()) }
}

#[cfg(test)]
mod tests;
