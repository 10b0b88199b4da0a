//! What the rows of a matrix say, each for itself and beside each other.

use vdo_compat::{Channel, Driver, Range, Release, Rendering, Row};

use super::{Notes, rows_of};
use crate::known;
use crate::parse::{Form, Parsed};
use crate::pointer::unescaped;
use crate::rule::Rule;
use crate::span::{Reach, Span};

/// A row, its place, the clusters that it fits, and those that it is made for.
struct Reaching<'m> {
    row: &'m Row,
    at: &'m str,
    hard: Reach,
    recommended: Reach,
}

impl Reaching<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.row.driver, self.row.release)
    }

    fn is_too_old(&self) -> bool {
        self.hard.kubernetes.is_before(&known::OLDEST_KUBERNETES)
    }

    /// Is this row offered wherever the other one is?
    fn is_offered_like(&self, other: &Self) -> bool {
        let (row, other) = (self.row, other.row);
        let is_built = row.rendering == Rendering::BuiltIn || other.rendering == Rendering::Bundle;
        let is_good = row.marks.known_bad.is_none() || other.marks.known_bad.is_some();
        is_built && is_good && row.marks.channel <= other.marks.channel
    }

    /// Is it chosen without anybody asking for it?
    fn is_plain(&self) -> bool {
        let Row { rendering, marks, .. } = self.row;
        *rendering == Rendering::BuiltIn && marks.known_bad.is_none() && marks.channel == Channel::Stable
    }
}

pub(super) fn look(parsed: &Parsed, today: Option<&str>, notes: &mut Notes) {
    for driver in [Driver::Cpi, Driver::Csi] {
        let rows = rows_of(parsed).filter(|(row, _)| row.driver == driver);
        let reaching = |(row, at)| {
            let (hard, recommended) = (Reach::hard(row), Reach::recommended(row));
            Reaching { row, at, hard, recommended }
        };
        let mut rows: Vec<Reaching<'_>> = rows.map(reaching).collect();
        rows.sort_by_key(|it| it.row.release);
        let all = match parsed.form {
            Form::Rows => "/rows".to_owned(),
            Form::Original => format!("/{driver}"),
        };
        // Said once of all, else of each.
        if rows.iter().all(Reaching::is_too_old) {
            behind(&rows, &all, notes);
        } else {
            rows.iter().for_each(|it| too_old(it, parsed.form, notes));
        }
        match parsed.form {
            Form::Rows => {}
            Form::Original => string_order(driver, &rows, &all, notes),
        }
        for (index, it) in rows.iter().enumerate() {
            alone(it, parsed.form, today, notes);
            follows(it, &rows[..index], notes);
            beside(it, &rows[index + 1..], notes);
            stands_alone(it, &rows, notes);
        }
    }
}

/// No row is for a Kubernetes that the operators run on.
fn behind(rows: &[Reaching<'_>], at: &str, notes: &mut Notes) {
    let Some(newest) = rows.last() else { return };
    let message = format!(
        "no row of {} fits Kubernetes {} or newer, on which these operators run: the newest, {}, is for Kubernetes {}",
        newest.row.driver,
        oldest_kubernetes(),
        newest.row.release,
        newest.row.kubernetes.hard.range
    );
    notes.add(Rule::Behind, at, message);
}

fn too_old(it: &Reaching<'_>, form: Form, notes: &mut Notes) {
    if it.is_too_old() {
        let message = format!(
            "{} is for Kubernetes {}; these operators run on {} and newer",
            it.name(),
            it.row.kubernetes.hard.range,
            oldest_kubernetes()
        );
        notes.add(Rule::NoCluster, &format!("{}/{}", it.at, form.kubernetes()), message);
    }
}

/// What a row says for itself.
fn alone(it: &Reaching<'_>, form: Form, today: Option<&str>, notes: &mut Notes) {
    let (name, row) = (it.name(), it.row);
    if !known::has_image(row.driver, row.release) {
        let message = format!(
            "{name} has no official image that can be pulled: take the row out, or name a newer release"
        );
        notes.add(Rule::NoImage, it.at, message);
    }
    end_of_support(it, today, notes);
    let oldest = known::oldest_vsphere(row.driver, row.release);
    let rule = if it.hard.vsphere.is_before(&oldest) {
        Rule::NoCluster
    } else if it.hard.vsphere.begins_before(&oldest) {
        Rule::VsphereFloor
    } else {
        return;
    };
    let range = row.vsphere.hard.range;
    let range = if range == Range::ANY { "open".to_owned() } else { range.to_string() };
    let message = format!("{name} is not made for vSphere before {oldest}; its range is {range}");
    notes.add(rule, &format!("{}/{}", it.at, form.vsphere()), message);
}

/// Whether its makers have given it up: on the day that its row names, or else by their own list.
fn end_of_support(it: &Reaching<'_>, today: Option<&str>, notes: &mut Notes) {
    let (name, row) = (it.name(), it.row);
    match &row.marks.end_of_support {
        // Days in this form are in order as texts, too.
        Some(end) if today.is_some_and(|today| end.as_str() < today) => {
            let message = format!("{name} was supported by its makers until {end}, which is past");
            notes.add(Rule::EndOfSupport, &format!("{}/endOfSupport", it.at), message);
        }
        Some(_) => {}
        None => {
            if let Some(current) = known::given_up(row.driver, row.release) {
                let message = format!(
                    "{name} is not mended any more: its makers list {} and newer ({})",
                    current.from, current.source
                );
                notes.add(Rule::EndOfSupport, it.at, message);
            }
        }
    }
}

/// Whether somebody who has an older release of the matrix can move to this one.
fn follows(it: &Reaching<'_>, older: &[Reaching<'_>], notes: &mut Notes) {
    let from = it.row.upgrades_from;
    let is_held = |release: &Release| from.holds(release);
    // The oldest row may well follow releases that the matrix has no row for, but not only newer ones than itself.
    let holds_one = match older {
        [] => Span::of(&from).begins_before(&it.row.release) || is_held(&it.row.release),
        older => older.iter().any(|other| is_held(&other.row.release)),
    };
    if !holds_one {
        let message = format!("{} may follow {from}, and the matrix has no such older release", it.name());
        notes.add(Rule::FollowsNothing, &format!("{}/upgradesFrom", it.at), message);
    }
}

/// What a row says beside the newer ones of its driver, the nearest first. Those that are not offered where
/// it is stand in nobody's way.
fn beside(it: &Reaching<'_>, newer: &[Reaching<'_>], notes: &mut Notes) {
    let mut newer = newer.iter().filter(|other| other.is_offered_like(it));
    let follows_more =
        |other: &Reaching<'_>| Span::of(&other.row.upgrades_from).holds(&Span::of(&it.row.upgrades_from));
    let over = newer.clone().find(|other| {
        other.hard.holds(&it.hard) && other.recommended.holds(&it.recommended) && follows_more(other)
    });
    if let Some(over) = over {
        let message = format!(
            "{} is installed only where it is pinned: {}, which is newer, fits every cluster that it fits",
            it.name(),
            over.row.release
        );
        notes.add(Rule::Shadowed, it.at, message);
    } else if let Some(other) = newer.find(|other| other.recommended.meets(&it.recommended)) {
        let message = format!(
            "{} and {} fit the same clusters in part (Kubernetes {} and {}, vSphere {} and {}); the newer one is chosen \
             there",
            it.name(),
            other.row.release,
            it.row.kubernetes.window().range,
            other.row.kubernetes.window().range,
            it.row.vsphere.window().range,
            other.row.vsphere.window().range
        );
        notes.add(Rule::Overlap, it.at, message);
    }
}

/// Whether clusters have nothing but a release that is not for everybody.
fn stands_alone(it: &Reaching<'_>, rows: &[Reaching<'_>], notes: &mut Notes) {
    let marks = &it.row.marks;
    if it.row.rendering == Rendering::Bundle {
        return;
    }
    let what = match (&marks.known_bad, marks.channel) {
        (Some(_), _) => "known to be bad",
        (None, Channel::Candidate) => "a candidate",
        (None, Channel::Stable) => return,
    };
    if !rows.iter().any(|other| other.is_plain() && other.hard.meets(&it.hard)) {
        let message = format!(
            "{} is {what}, and no other release fits any cluster that it fits: new ones of them get no driver",
            it.name()
        );
        notes.add(Rule::StandsAlone, it.at, message);
    }
}

/// Whether the original, which compared letters, took another release for the newest.
fn string_order(driver: Driver, rows: &[Reaching<'_>], at: &str, notes: &mut Notes) {
    let spelled = |it: &Reaching<'_>| unescaped(it.at.rsplit('/').next().unwrap_or_default());
    let by_letter = rows.iter().max_by_key(|it| spelled(it));
    if let (Some(by_letter), Some(by_number)) = (by_letter, rows.last())
        && by_letter.row.release != by_number.row.release
    {
        let message = format!(
            "the newest {driver} is {}; the original, which compared letter by letter, took {} for it",
            spelled(by_number),
            spelled(by_letter)
        );
        notes.add(Rule::StringOrder, at, message);
    }
}

/// Its minor, as people write it.
fn oldest_kubernetes() -> String {
    let text = known::OLDEST_KUBERNETES.to_string();
    text.rsplit_once('.').map_or(text.clone(), |(line, _)| line.to_owned())
}
