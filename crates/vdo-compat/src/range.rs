//! Ranges of versions: both ends inclusive, each end a line or open.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::version::{Version, VersionError};

/// All versions that start with the numbers written down: `1.36` holds every 1.36.x, `8.0.3` also 8.0.3.00400.
///
/// Pre-releases count as the release they lead to: an API server of 1.36.0-rc.1 serves 1.36.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line<V> {
    first: V,
    width: usize,
}

impl<V: Version> Line<V> {
    /// The line of these numbers, at most four; further ones are ignored, none at all holds every version.
    pub fn new(numbers: &[u32]) -> Self {
        let width = numbers.len().min(4);
        let mut padded = [0; 4];
        padded[..width].copy_from_slice(&numbers[..width]);
        Self { first: V::from_numbers(padded), width }
    }

    /// The first number of the line; 0 for the line that holds every version.
    pub fn major(&self) -> u32 {
        self.first.numbers()[0]
    }

    /// Is the version in this line?
    pub fn holds(&self, version: &V) -> bool {
        self.compare(version) == Ordering::Equal
    }

    /// Where the line lies, seen from the version. Only the numbers that were written down count.
    fn compare(&self, version: &V) -> Ordering {
        self.first.numbers()[..self.width].cmp(&version.numbers()[..self.width])
    }

    /// How far the version is from this line. Only for telling near from far: a major counts for more than any
    /// minor, a minor for more than any patch.
    fn gap(&self, version: &V) -> u64 {
        let weigh = |[major, minor, patch, _]: [u32; 4]| {
            let capped = |number: u32, most: u64| u64::from(number).min(most);
            capped(major, 1_000_000) * 1_000_000 + capped(minor, 999) * 1_000 + capped(patch, 999)
        };
        let mut numbers = version.numbers();
        numbers[self.width..].fill(0);
        weigh(self.first.numbers()).abs_diff(weigh(numbers))
    }
}

impl<V: Version> FromStr for Line<V> {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let (version, width) = V::read_strictly(text)?;
        Ok(Self { first: V::from_numbers(version.numbers()), width })
    }
}

impl<V: Version> fmt::Display for Line<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.first.numbers();
        if numbers[3] > 0 {
            // The fourth number has a spelling of its own.
            return write!(f, "{}", self.first);
        }
        let written: Vec<_> = numbers[..self.width].iter().map(u32::to_string).collect();
        f.write_str(&written.join("."))
    }
}

impl<V: Version> Serialize for Line<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End<V> {
    /// Nothing bounds the range on this side.
    Open,
    /// The last line that is still in the range.
    At(Line<V>),
}

/// A range of versions. An inverted one holds nothing; see [`Range::is_inverted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range<V> {
    /// The lower end.
    pub from: End<V>,
    /// The upper end.
    pub to: End<V>,
}

/// Where a version lies with respect to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<V> {
    /// Older than the lower end, which is this line.
    Below(Line<V>),
    /// In the range.
    Within,
    /// Newer than the upper end, which is this line.
    Above(Line<V>),
}

impl<V: Version> Range<V> {
    /// Every version.
    pub const ANY: Self = Self { from: End::Open, to: End::Open };

    /// From one line up to and with another.
    pub fn between(from: Line<V>, to: Line<V>) -> Self {
        Self { from: End::At(from), to: End::At(to) }
    }

    /// Exactly one line.
    pub fn only(line: Line<V>) -> Self {
        Self::between(line, line)
    }

    /// This line and everything newer.
    pub fn at_least(from: Line<V>) -> Self {
        Self { from: End::At(from), to: End::Open }
    }

    /// This line and everything older.
    pub fn at_most(to: Line<V>) -> Self {
        Self { from: End::Open, to: End::At(to) }
    }

    /// Does the lower end lie above the upper one, so that no version can fit?
    pub fn is_inverted(&self) -> bool {
        match (self.from, self.to) {
            (End::At(from), End::At(to)) => to.compare(&from.first) == Ordering::Less,
            (End::Open, End::At(_) | End::Open) | (End::At(_), End::Open) => false,
        }
    }

    /// Where the version lies.
    pub fn place(&self, version: &V) -> Place<V> {
        match (self.from, self.to) {
            (End::At(from), _) if from.compare(version) == Ordering::Greater => Place::Below(from),
            (_, End::At(to)) if to.compare(version) == Ordering::Less => Place::Above(to),
            (End::Open | End::At(_), End::Open | End::At(_)) => Place::Within,
        }
    }

    /// Is the version in the range?
    pub fn holds(&self, version: &V) -> bool {
        self.place(version) == Place::Within
    }

    /// 0 for a version within; grows with the distance from the nearer end. Only for ranking misfits.
    pub(crate) fn gap(&self, version: &V) -> u64 {
        match self.place(version) {
            Place::Within => 0,
            Place::Below(line) | Place::Above(line) => line.gap(version),
        }
    }
}

impl<V: Version> fmt::Display for Range<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (End::Open, End::Open) => f.write_str("of any version"),
            (End::At(from), End::Open) => write!(f, "{from} or newer"),
            (End::Open, End::At(to)) => write!(f, "{to} or older"),
            (End::At(from), End::At(to)) if from == to => from.fmt(f),
            (End::At(from), End::At(to)) => write!(f, "{from} to {to}"),
        }
    }
}

impl<V: Version> Serialize for Range<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bound = |end: End<V>| match end {
            End::Open => None,
            End::At(line) => Some(line),
        };
        let mut range = serializer.serialize_struct("Range", 2)?;
        range.serialize_field("min", &bound(self.from))?;
        range.serialize_field("max", &bound(self.to))?;
        range.end()
    }
}

#[cfg(test)]
mod tests;
