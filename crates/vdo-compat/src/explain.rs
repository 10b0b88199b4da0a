//! The one place that turns a selection into words.
//!
//! Conditions, events and `vdoctl` print what these functions return, so that they never disagree.

use std::fmt::Write;

use crate::answer::{Change, Chosen, ChosenBy, Misfit, NoMatch, Outside, Selection, WayOut, Why};
use crate::matrix::{Driver, Row};
use crate::upgrade::{Advice, Prospect};

/// How many rows a message names; the rest is counted.
pub const SHOWN: usize = 5;

/// The most characters of a message. Status fields hold 1,024, and callers may put a few words before it.
pub const LONGEST: usize = 960;

/// A selection in one line: what was chosen or what stands in the way, and what to do.
pub fn selection(selection: &Selection) -> String {
    let text = |shown| match selection {
        Selection::Chosen(chosen) => choice(chosen, shown),
        Selection::NoMatch(no_match) => refusal(no_match, shown),
    };
    // What to do stands at the end, so rows are given up before the end is.
    let fits = |text: &String| text.chars().count() <= LONGEST;
    // Only a name or a reason of absurd length has to be cut.
    (1..=SHOWN).rev().map(text).find(fits).unwrap_or_else(|| cut(&text(1), LONGEST))
}

/// How much of a reason is told beside other things. The longest that a matrix may give would push out what to do.
const REASON: usize = 120;

/// As much of a text as fits.
fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(longest - 1).collect();
    kept.push('…');
    kept
}

/// A misfit in one clause, such as "CSI 3.7.0 needs Kubernetes 1.33 to 1.35, the cluster runs 1.36.3".
pub fn misfit(misfit: &Misfit) -> String {
    let row = format!("{} {}", misfit.driver, misfit.release);
    match &misfit.why {
        Why::Outside(part) => format!("{row} {}", outside(part, "needs", "runs")),
        Why::NoVcenterKnown => format!("{row} needs the version of a vCenter, and none was read yet"),
        Why::KnownBad { reason } => format!("{row} is known to be bad: {reason}"),
        Why::NotRenderable => format!("{row} is a release that these operators cannot build"),
        Why::Candidate => format!("{row} is a candidate"),
        Why::OlderThanInstalled { installed } => format!("{row} is older than the installed {installed}"),
        Why::NotUpgradable { installed, from } => {
            format!("{row} can follow {from}, and {installed} is installed")
        }
        Why::NotInMatrix => format!("{row} has no row in the matrix"),
    }
}

/// What to do about a driver when the cluster is upgraded, in one sentence without a full stop.
pub fn prospect(prospect: &Prospect) -> String {
    let text = advice(prospect);
    match prospect.refused {
        Some(release) => format!("{text}; {release} would do, but was rolled back here"),
        None => text,
    }
}

fn advice(prospect: &Prospect) -> String {
    let (driver, installed) = (prospect.driver, prospect.installed);
    let row = format!("{driver} {installed}");
    match &prospect.advice {
        Advice::Go { then: None } => format!("{row} fits then, too"),
        Advice::Go { then: Some(release) } => match driver {
            Driver::Cpi => {
                format!(
                    "{row} may stay until the API servers are upgraded; move it to {release} then, before the kubelets"
                )
            }
            Driver::Csi => format!("{row} may stay until the cluster is upgraded; move it to {release} then"),
        },
        Advice::First(release) => {
            format!(
                "move {driver} from {installed} to {release} first: set {} to {release}",
                driver.pin_field()
            )
        }
        Advice::NotYet(part) => {
            let part = outside(part, "is made for", "would run");
            format!("no {driver} release of the matrix is made for that: {row} {part}")
        }
        Advice::Stop(Misfit { why: Why::Outside(part), .. }) => {
            let part = outside(part, "needs", "would run");
            format!("{row} {part}, and no release of the matrix fits before and after")
        }
        Advice::Stop(stop) => format!("{}, and no release of the matrix fits before and after", misfit(stop)),
    }
}

/// What a release is made for, where a cluster lies outside of that: "CPI 1.32.0 is made for Kubernetes 1.32 to 1.33, the
/// cluster runs 1.36.2".
pub fn made_for(row: &Row, part: &Outside) -> String {
    format!("{} {} {}", row.driver, row.release, outside(part, "is made for", "runs"))
}

fn choice(chosen: &Chosen, shown: usize) -> String {
    let driver = chosen.row.driver;
    let release = chosen.release();
    // With a newer one beside it that fits it is not the newest: it may not leave its line.
    let kind = if chosen.newer.is_some() { "patch" } else { "release" };
    let mut text = match (chosen.chosen_by, chosen.installed) {
        (ChosenBy::Pin, _) => {
            format!("{driver} {release} is what {} asks for, and it fits", driver.pin_field())
        }
        (ChosenBy::Matrix, Some(installed)) if installed == release => {
            format!("{driver} {release} is installed and fits")
        }
        (ChosenBy::Matrix, Some(_) | None) if chosen.outside.is_empty() => {
            format!("{driver} {release} is the newest {kind} that fits")
        }
        (ChosenBy::Matrix, Some(_) | None) => {
            format!("{driver} {release} is the nearest {kind} that can run here")
        }
    };
    if let Some(left) = &chosen.left {
        append(&mut text, format_args!("; what is installed no longer fits: {}", misfit(left)));
    }
    match (&chosen.known_bad, chosen.installed) {
        (Some(reason), Some(installed)) if installed != release => {
            append(&mut text, format_args!("; the installed {installed} is known to be bad: {reason}"));
        }
        (Some(reason), Some(_) | None) => {
            append(&mut text, format_args!("; it is known to be bad: {reason}"));
        }
        (None, Some(_) | None) => {}
    }
    if let Some(newer) = chosen.newer {
        append(&mut text, format_args!("; {newer} fits too, set {} to move", driver.pin_field()));
    }
    for caution in cautions(chosen).into_iter().take(shown) {
        append(&mut text, format_args!("; note: {caution}"));
    }
    text
}

/// What to know of a choice: where the cluster lies outside of what the release is recommended for, then what its row
/// says of clusters like this one.
pub fn cautions(chosen: &Chosen) -> Vec<String> {
    let parts = chosen.outside.iter().map(|part| made_for(&chosen.row, part));
    parts.chain(chosen.cautions.iter().cloned()).collect()
}

/// What a release asks for, and what there is: `needs Kubernetes 1.33 to 1.35, the cluster runs 1.36.3`.
fn outside(part: &Outside, asks: &str, runs: &str) -> String {
    match part {
        Outside::Kubernetes { needs, runs: version } => {
            format!("{asks} Kubernetes {needs}, the cluster {runs} {version}")
        }
        Outside::Vsphere { vcenter, needs, runs: version } => {
            format!("{asks} vSphere {needs}, vCenter {vcenter} {runs} {version}")
        }
        Outside::Esxi { vcenter, needs, runs: version } => {
            format!("{asks} ESXi {needs}, a host of vCenter {vcenter} {runs} {version}")
        }
    }
}

fn refusal(no_match: &NoMatch, shown: usize) -> String {
    let driver = no_match.driver;
    let known_bad = no_match
        .known_bad
        .as_ref()
        .map(|reason| format!(", though it is known to be bad: {}", cut(reason, REASON)))
        .unwrap_or_default();
    if let (WayOut::Move(_), Some(stays)) = (no_match.way_out, &no_match.stays) {
        return format!(
            "{driver} {} is installed and does not fit: {}; it stays installed{known_bad}. To go on, {}",
            stays.release,
            misfit(stays),
            remedy(no_match)
        );
    }
    let mut text = match no_match.pin {
        Some(pin) => format!("{driver} {pin}, which {} asks for, does not fit: ", driver.pin_field()),
        None => format!("no {driver} release fits: "),
    };
    text.push_str(&rows(&no_match.misfits, shown));
    if let Some(installed) = no_match.installed {
        append(&mut text, format_args!("; {driver} {installed} stays installed{known_bad}"));
    }
    append(&mut text, format_args!(". To go on, {}", remedy(no_match)));
    text
}

/// Names the nearest rows. Rows that fail for the very same reason as one already named are only counted.
fn rows(misfits: &[Misfit], shown: usize) -> String {
    let Some(nearest) = misfits.first() else { return "the matrix has no row for it".into() };
    let mut named: Vec<&Misfit> = vec![nearest];
    for candidate in misfits {
        if named.len() < shown && named.iter().all(|other| other.why != candidate.why) {
            named.push(candidate);
        }
    }
    let more = misfits.len() - named.len();
    // A pinned release without a row is all there is to say; it is near to nothing.
    let mut text = if nearest.why == Why::NotInMatrix { String::new() } else { "nearest row ".to_owned() };
    text.push_str(&named.into_iter().map(misfit).collect::<Vec<_>>().join("; "));
    match more {
        0 => {}
        1 => text.push_str("; and 1 more row"),
        more => append(&mut text, format_args!("; and {more} more rows")),
    }
    text
}

fn remedy(no_match: &NoMatch) -> String {
    let of_release = match no_match.way_out {
        WayOut::ReadVcenters => {
            return "see the conditions of the VsphereCloudConfigs: no vCenter was read yet".into();
        }
        WayOut::AddRow => {
            return "add a row to the matrix for a release that you know to work here, or move the cluster into the \
                    bounds of a row"
                .into();
        }
        WayOut::Unpin(release) => format!(", which gives {release}, or set it to a release that fits"),
        WayOut::PinThis(_) => ", which is a candidate and fits".into(),
        WayOut::Move(_) | WayOut::Repin(_) | WayOut::GoBack(_) => ", which fits".into(),
    };
    let changes = no_match.changes.iter().map(|to| change(no_match.driver, *to, &of_release));
    let changes = changes.collect::<Vec<_>>().join(", or ");
    match no_match.way_out {
        WayOut::GoBack(_) => format!("{changes}: that goes back to an older release"),
        WayOut::ReadVcenters
        | WayOut::AddRow
        | WayOut::Unpin(_)
        | WayOut::PinThis(_)
        | WayOut::Move(_)
        | WayOut::Repin(_) => changes,
    }
}

/// A change of settings as it is told to the user, with what is to say of the release that it leads to.
fn change(driver: Driver, change: Change, of_release: &str) -> String {
    let (pin, channel, downgrade) = (driver.pin_field(), driver.channel_field(), driver.downgrade_field());
    match change {
        Change::Pin(release) => format!("set {pin} to {release}{of_release}"),
        Change::Unpin => format!("remove {pin}{of_release}"),
        Change::PinBack(release) => format!("set {pin} to {release}{of_release}, and {downgrade} to Allow"),
        Change::AllowBack => format!("set {downgrade} to Allow"),
        Change::OfferCandidates => format!("set {channel} to Candidate"),
    }
}

/// Writing to a `String` cannot fail.
fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes what is written to it");
}

#[cfg(test)]
mod tests;
