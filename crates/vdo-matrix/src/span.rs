//! The first and the last version of a range, to compare ranges with each other.

use vdo_compat::{End, KubernetesVersion, Range, Row, Version, VsphereVersion};

/// From one version to another, both within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<V> {
    low: V,
    high: V,
}

impl<V: Version> Span<V> {
    /// Of a range. What a line does not name is its smallest or its largest number.
    pub(crate) fn of(range: &Range<V>) -> Self {
        let end = |end: &End<V>, rest: u32| {
            let written = match end {
                End::Open => None,
                End::At(line) => V::read(&line.to_string()).ok(),
            };
            let (mut numbers, width) =
                written.map_or(([rest; 4], 0), |(version, width)| (version.numbers(), width));
            numbers[width..].fill(rest);
            V::from_numbers(numbers)
        };
        Self { low: end(&range.from, 0), high: end(&range.to, u32::MAX) }
    }

    /// Whether the other lies in it as a whole.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.low <= other.low && other.high <= self.high
    }

    /// Whether a version lies in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// Whether all of it is older than this version.
    pub(crate) fn is_before(&self, version: &V) -> bool {
        self.high < *version
    }

    /// Whether a part of it is older than this version.
    pub(crate) fn begins_before(&self, version: &V) -> bool {
        self.low < *version
    }
}

/// A part of the clusters: those that a row fits, or is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Their API servers.
    pub(crate) kubernetes: Span<KubernetesVersion>,
    /// Their vCenters.
    pub(crate) vsphere: Span<VsphereVersion>,
    /// Their ESXi hosts.
    esxi: Span<VsphereVersion>,
}

impl Reach {
    /// Those that the row is not refused for.
    pub(crate) fn hard(row: &Row) -> Self {
        let esxi = row.esxi.as_ref().map_or(Range::ANY, |esxi| esxi.hard.range);
        Self {
            kubernetes: Span::of(&row.kubernetes.hard.range),
            vsphere: Span::of(&row.vsphere.hard.range),
            esxi: Span::of(&esxi),
        }
    }

    /// Those that it is made for.
    pub(crate) fn recommended(row: &Row) -> Self {
        let esxi = row.esxi.as_ref().map_or(Range::ANY, |esxi| esxi.window().range);
        Self {
            kubernetes: Span::of(&row.kubernetes.window().range),
            vsphere: Span::of(&row.vsphere.window().range),
            esxi: Span::of(&esxi),
        }
    }

    /// Whether every cluster of the other is one of these.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.kubernetes.holds(&other.kubernetes)
            && self.vsphere.holds(&other.vsphere)
            && self.esxi.holds(&other.esxi)
    }

    /// Whether a cluster is in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.kubernetes.meets(&other.kubernetes)
            && self.vsphere.meets(&other.vsphere)
            && self.esxi.meets(&other.esxi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: Option<&str>, to: Option<&str>) -> Span<VsphereVersion> {
        let end = |text: Option<&str>| text.map_or(End::Open, |text| End::At(text.parse().unwrap()));
        Span::of(&Range { from: end(from), to: end(to) })
    }

    #[test]
    fn a_line_holds_all_that_begins_with_it_and_an_open_end_everything() {
        let eight = span(Some("8.0"), Some("8.0"));
        assert!(eight.holds(&span(Some("8.0.3.00400"), Some("8.0.3"))));
        assert!(!eight.holds(&span(Some("8.0.3"), Some("9.0"))));
        assert!(span(None, None).holds(&eight) && !eight.holds(&span(None, Some("8.0"))));
        assert!(span(Some("7.0"), None).holds(&eight));
    }

    #[test]
    fn ranges_meet_where_a_version_lies_in_both() {
        let old = span(Some("6.7.3"), Some("7.0"));
        assert!(old.meets(&span(Some("7.0.3"), None)) && span(Some("7.0.3"), None).meets(&old));
        assert!(!old.meets(&span(Some("8"), None)));
        assert!(old.is_before(&"8.0".parse().unwrap()) && !old.is_before(&"7.0.3".parse().unwrap()));
        assert!(old.begins_before(&"7.0".parse().unwrap()) && !old.begins_before(&"6.7.3".parse().unwrap()));
    }
}
