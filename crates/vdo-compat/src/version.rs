//! Versions as they are met in the field, read leniently and ordered by their numbers.
//!
//! One parser serves all three kinds: an optional `v`, one to four numbers, then a suffix. Only `-alpha`,
//! `-beta` and `-rc` sort below the release they lead to; what a vendor appends (`+rke2r1`, `-eks-3861362`,
//! `_vmware.1`) is dropped, so it can neither change the order nor tell two equal versions apart.
//!
//! What runs somewhere is read as it comes. What an author writes down to compare with, a bound, a pin or the release of
//! a row, is read by [`Version::read_strictly`]: `7.0 - 9.0` is not 7.0.

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
#[error("{}", self.message())]
pub struct VersionError {
    /// What the text should have been, such as `Kubernetes version`.
    pub expected: &'static str,
    /// The text, cut to a length that fits a message.
    pub text: String,
    /// What it is instead.
    pub found: Found,
}

/// What stands where one version belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No version.
    None,
    /// More than one version, or one and all newer ones: `7.0 - 9.0`, `1.35+`.
    Range,
    /// A version and something else: `8.0 or newer`, `8.0.3 build-24022515`.
    More,
}

impl VersionError {
    fn new(expected: &'static str, text: &str, found: Found) -> Self {
        let mut shown: String = text.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { expected, text: shown, found }
    }

    fn message(&self) -> String {
        let Self { expected, text, found } = self;
        match found {
            Found::None => format!("{text:?} is not a {expected}"),
            Found::Range => format!("{text:?} is a range where one {expected} belongs"),
            Found::More => format!("{text:?} has words or a build beside the {expected}; leave them out"),
        }
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

    /// Whether a text that begins with the numbers of this version, and goes on like this, says nothing but the version.
    fn is_all_with(&self, rest: &str) -> bool;

    /// Reads what was written down to compare with: one version and nothing else. Of a range, or of a sentence, its first
    /// number would be taken for the whole.
    fn read_strictly(text: &str) -> Result<(Self, usize), VersionError> {
        let (version, width) =
            Self::read(text).map_err(|_| VersionError::new(Self::EXPECTED, text, found(text)))?;
        let is_all = split(text).is_some_and(|(_, _, rest)| version.is_all_with(rest));
        let beside = || VersionError::new(Self::EXPECTED, text, found(text));
        if is_all { Ok((version, width)) } else { Err(beside()) }
    }
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

    /// Reads the release that a row is about, or that somebody wants. It is one, and whole: no line, and no range.
    pub fn stated(text: &str) -> Result<Self, VersionError> {
        match Self::read_strictly(text)? {
            (release, 2..) => Ok(release),
            _ => Err(VersionError::new(Self::EXPECTED, text, Found::None)),
        }
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
            numbers_and_maturity(text).ok_or_else(|| VersionError::new(Self::EXPECTED, text, Found::None))?;
        Ok((Self { numbers, maturity }, width))
    }

    fn is_all_with(&self, rest: &str) -> bool {
        is_known_suffix(rest)
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
            numbers_and_maturity(text).ok_or_else(|| VersionError::new(Self::EXPECTED, text, Found::None))?;
        Ok((Self { numbers, maturity }, width))
    }

    fn is_all_with(&self, rest: &str) -> bool {
        is_known_suffix(rest)
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
        let refused = || VersionError::new(Self::EXPECTED, text, Found::None);
        let (mut numbers, mut width, rest) = split(text).ok_or_else(refused)?;
        // Words may follow ("GA", "build-24022515"). A bare `+` means "or newer", which is a range.
        if rest == "+" {
            return Err(refused());
        }
        if width <= 3
            && numbers[2] == 0
            && let Some((update, _)) = update(rest)
        {
            numbers[2] = update.ok_or_else(refused)?;
            width = width.max(3);
        }
        Ok((Self { numbers }, width))
    }

    fn is_all_with(&self, rest: &str) -> bool {
        // Another update than that of the numbers is no spelling of theirs.
        rest.is_empty()
            || update(rest).is_some_and(|(update, patch)| {
                let is_letter = patch.len() < 2 && patch.chars().all(|c| c.is_ascii_alphabetic());
                update == Some(self.numbers[2]) && is_letter
            })
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
                    _ => Err(VersionError::new(Self::EXPECTED, text, Found::None)),
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
        Some('-') => Some((numbers, width, maturity(&rest[1..]).0)),
        Some('+' | '_' | '~') => Some((numbers, width, Maturity::Final)),
        Some(_) => None,
    }
}

/// Reads `rc.1`, `rc1`, `beta`, `alpha.0.123+gabc`, and gives what follows. Everything else is a vendor's word, and final.
fn maturity(suffix: &str) -> (Maturity, &str) {
    let word = suffix.len() - suffix.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (stage, rest) = suffix.split_at(word);
    let stage = match stage.to_ascii_lowercase().as_str() {
        "alpha" => Maturity::Alpha,
        "beta" => Maturity::Beta,
        "rc" => Maturity::Rc,
        _ => return (Maturity::Final, suffix),
    };
    let (number, rest) = leading_number(rest.strip_prefix(['.', '-']).unwrap_or(rest));
    let (commits, rest) = match rest.strip_prefix('.') {
        Some(next) => leading_number(next),
        None => (None, rest),
    };
    (stage(number.unwrap_or(0), commits.unwrap_or(0)), rest)
}

/// A number too large for us is the largest there is: only its order matters, and it is a suffix.
fn leading_number(text: &str) -> (Option<u32>, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    ((!number.is_empty()).then(|| number.parse().unwrap_or(u32::MAX)), rest)
}

/// `U3`, `u3e`, `Update 3`: the number, or none if it is one that cannot be read, and what follows it.
fn update(rest: &str) -> Option<(Option<u32>, String)> {
    let rest = rest.trim_start_matches([' ', '-', '_']).to_ascii_lowercase();
    let after = rest.strip_prefix("update").or_else(|| rest.strip_prefix('u'))?.trim_start();
    let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, after) = after.split_at(digits);
    if number.is_empty() { None } else { Some((number.parse().ok(), after.to_owned())) }
}

/// How what distributions append begins, after its separator: `+rke2r1`, `-eks-3861362`, `_vmware.1`.
const VENDORS: [&str; 9] = ["rke2r", "k3s", "k0s", "eks", "gke", "aliyun", "vmware", "rancher", "deb"];

/// What the separator of a suffix may be.
const SEPARATORS: [char; 4] = ['-', '+', '_', '~'];

/// Is that a pre-release, what a known vendor appends, or both?
fn is_known_suffix(suffix: &str) -> bool {
    let rest = match suffix.strip_prefix('-').map(maturity) {
        Some((Maturity::Alpha(..) | Maturity::Beta(..) | Maturity::Rc(..), rest)) => rest,
        Some((Maturity::Final, _)) | None => suffix,
    };
    rest.is_empty() || is_build(&rest.to_ascii_lowercase())
}

/// Is that what a known vendor appends, or the commit of a build (`+4aaeaec`), and not a second version in disguise?
fn is_build(suffix: &str) -> bool {
    let Some(build) = suffix.strip_prefix(SEPARATORS) else { return false };
    let is_vendor = VENDORS.iter().any(|vendor| {
        build.strip_prefix(vendor).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    });
    let is_commit =
        suffix.starts_with('+') && build.len() >= 7 && build.chars().all(|c| c.is_ascii_hexdigit());
    let is_plain = build.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || SEPARATORS.contains(&c));
    let has_second = build.split(SEPARATORS).any(|part| split(part).is_some_and(|(_, width, _)| width > 1));
    (is_vendor || is_commit) && is_plain && !has_second
}

/// What a text is that is not one version and nothing else.
fn found(text: &str) -> Found {
    /// The numbers of versions are short, and those of builds long.
    const DIGITS: usize = 3;
    let text = text.trim();
    if text.len() > LONGEST {
        return Found::None;
    }
    // The number of an update is no version of its own.
    let plain = text.to_ascii_lowercase().replace("update ", "u");
    let is_version = |word: &&str| {
        let word = word.strip_prefix('v').unwrap_or(word);
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        // Not the hash of a commit.
        let goes_on = rest.is_empty() || rest.starts_with(['.', 'u']);
        goes_on && (1..=DIGITS).contains(&(word.len() - rest.len()))
    };
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let versions = words.filter(is_version).count();
    if versions > 1 || versions == 1 && (plain.ends_with('+') || plain.contains("..")) {
        Found::Range
    } else if split(text).is_some() {
        Found::More
    } else {
        Found::None
    }
}

#[cfg(test)]
mod tests;
