//! The one place that turns a selection into words.
//!
//! Conditions, events and `vdoctl` print what these functions return, so that they never disagree.

use std::fmt::Write;

use crate::select::{Chosen, ChosenBy, Misfit, NoMatch, Selection, WayOut, Why};

/// How many rows a message names; the rest is counted.
pub const SHOWN: usize = 5;

/// The most characters of a message. Status fields hold 1,024, and callers may put a few words before it.
pub const LONGEST: usize = 960;

/// A selection in one line: what was chosen or what stands in the way, and what to do.
pub fn selection(selection: &Selection) -> String {
    let text = |shown| match selection {
        Selection::Chosen(chosen) => choice(chosen),
        Selection::NoMatch(no_match) => refusal(no_match, shown),
    };
    // What to do stands at the end, so rows are given up before the end is.
    let fits = |text: &String| text.chars().count() <= LONGEST;
    (1..=SHOWN).rev().map(text).find(fits).unwrap_or_else(|| cut(&text(1)))
}

/// Only a name or a reason of absurd length gets here.
fn cut(text: &str) -> String {
    let mut kept: String = text.chars().take(LONGEST - 1).collect();
    kept.push('…');
    kept
}

/// A misfit in one clause, such as "CSI 3.7.0 needs Kubernetes 1.33 to 1.35, the cluster runs 1.36.3".
pub fn misfit(misfit: &Misfit) -> String {
    let row = format!("{} {}", misfit.driver, misfit.release);
    match &misfit.why {
        Why::KubernetesBelow { needs, runs } | Why::KubernetesAbove { needs, runs } => {
            format!("{row} needs Kubernetes {needs}, the cluster runs {runs}")
        }
        Why::VsphereBelow { vcenter, needs, runs } | Why::VsphereAbove { vcenter, needs, runs } => {
            format!("{row} needs vSphere {needs}, vCenter {vcenter} runs {runs}")
        }
        Why::NoVcenterKnown => format!("{row} needs the version of a vCenter, and none was read yet"),
        Why::KnownBad { reason } => format!("{row} is known to be bad: {reason}"),
        Why::NotRenderable => format!("{row} is a release that these operators cannot build"),
        Why::Candidate => format!("{row} is a candidate"),
        Why::OlderThanInstalled { installed } => format!("{row} is older than the installed {installed}"),
        Why::NotInMatrix => format!("{row} has no row in the matrix"),
    }
}

fn choice(chosen: &Chosen) -> String {
    let driver = chosen.row.driver;
    let release = chosen.release();
    let mut text = match (chosen.chosen_by, chosen.installed) {
        (ChosenBy::Pin, _) => {
            format!("{driver} {release} is what {} asks for, and it fits", driver.pin_field())
        }
        (ChosenBy::Matrix, Some(installed)) if installed == release => {
            format!("{driver} {release} is installed and fits")
        }
        (ChosenBy::Matrix, Some(_) | None) => format!("{driver} {release} is the newest release that fits"),
    };
    if let Some(left) = &chosen.left {
        append(&mut text, format_args!("; it follows what is installed: {}", misfit(left)));
    }
    if let Some(reason) = &chosen.row.marks.known_bad {
        append(&mut text, format_args!("; it is known to be bad: {reason}"));
    }
    if let Some(newer) = chosen.newer {
        append(&mut text, format_args!("; {newer} fits too, set {} to move", driver.pin_field()));
    }
    for caution in chosen.cautions.iter().take(SHOWN) {
        append(&mut text, format_args!("; note: {caution}"));
    }
    text
}

fn refusal(no_match: &NoMatch, shown: usize) -> String {
    let driver = no_match.driver;
    let mut text = match no_match.pin {
        Some(pin) => format!("{driver} {pin}, which {} asks for, does not fit: ", driver.pin_field()),
        None => format!("no {driver} release fits: "),
    };
    text.push_str(&rows(&no_match.misfits, shown));
    if let Some(installed) = no_match.installed {
        append(&mut text, format_args!("; {driver} {installed} stays installed"));
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
    let field = no_match.driver.pin_field();
    match no_match.way_out {
        WayOut::ReadVcenters => {
            "see the conditions of the VsphereCloudConfigs: no vCenter was read yet".into()
        }
        WayOut::Unpin(release) => {
            format!("remove {field}, which gives {release}, or set it to a release that fits")
        }
        WayOut::PinThis(release) => {
            format!("set {field} to {release}, which fits, or add a row to the matrix")
        }
        WayOut::AddRow => {
            "add a row to the matrix for a release that you know to work here, or move the cluster \
                           into the bounds of a row"
                .into()
        }
    }
}

/// Writing to a `String` cannot fail.
fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes what is written to it");
}

#[cfg(test)]
mod tests;
