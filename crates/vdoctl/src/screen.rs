//! The screen that a person reads from top to bottom. Pure: the same sight and width give the same text.

use k8s_openapi::jiff::Timestamp;
use vdo_api::Truth;
use vdo_api::status::Verb;

use vdo_plan::driver::reasons;

use crate::look::{Look, Mark};
use crate::page::Page;
use crate::seen::{DriverReport, Report, Said, Seen, VcenterReport};

/// Reasons for which a driver is not where it should be, and nobody has to do anything about this driver.
const PATIENT: [&str; 8] = [
    reasons::ROLLING_OUT.name,
    reasons::REMOVING.name,
    reasons::WAITS_FOR_GATES.name,
    reasons::GATE_HELD.name,
    reasons::CPI_NOT_READY.name,
    reasons::CPI_STILL_THERE.name,
    reasons::PAUSED.name,
    reasons::SETTLING.name,
];

/// The whole screen.
pub fn screen(seen: &Seen, look: Look) -> String {
    draw(&Report::of(seen), seen.now, look)
}

/// Draws what was summed up.
pub fn draw(report: &Report, now: Timestamp, look: Look) -> String {
    let mut page = Page::new(look);
    page.head(summary_mark(report), &report.summary);
    page.gap();
    if let Some(name) = &report.vdo_config {
        page.row(Mark::None, "VDOConfig", name);
    }
    for driver in &report.drivers {
        page.row(driver_mark(driver), driver.driver.name(), &driver_line(driver, now));
    }
    let mut title = "vCenters";
    for vcenter in &report.vcenters {
        page.row(mark(&vcenter.condition), title, &vcenter_line(vcenter));
        title = "";
    }
    if let Some(nodes) = &report.nodes {
        let mut text = format!("{} of {} initialised", nodes.initialised, nodes.expected);
        if nodes.foreign > 0 {
            text.push_str(&format!("; {} outside of the vCenters", nodes.foreign));
        }
        let mark = if nodes.findings.is_empty() { Mark::Good } else { Mark::Waiting };
        page.row(mark, "Nodes", &text);
        for finding in &nodes.findings {
            let more = usize::try_from(finding.count).unwrap_or_default().saturating_sub(finding.names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            page.row(Mark::None, "", &format!("{}: {}{more}", finding.reason, finding.names.join(", ")));
        }
    }
    if let Some(upgrade) = &report.upgrade {
        page.row(Mark::None, "Upgrade", &upgrade.message);
    }
    for condition in &report.conditions {
        let text =
            format!("{}={} ({}): {}", condition.type_, condition.status, condition.reason, condition.message);
        let mark = if condition.type_ == "Degraded" { Mark::Bad } else { Mark::Waiting };
        page.row(mark, "Also", &text);
    }
    for operator in report.operators.iter().filter(|it| !it.is_whole()) {
        let text = format!("{}: {} of {} replicas work", operator.name, operator.available, operator.wanted);
        page.row(if operator.available == 0 { Mark::Bad } else { Mark::Waiting }, "Operator", &text);
    }
    for ignored in &report.ignored {
        page.row(Mark::Waiting, "Ignored", &format!("{}: {}", ignored.object, ignored.why));
    }
    page.gap();
    page.item(Mark::Head, "Next: ", &report.next);
    page.text()
}

fn summary_mark(report: &Report) -> Mark {
    match &report.condition {
        _ if report.ready => Mark::Good,
        Some(said) if PATIENT.contains(&said.reason.as_str()) => Mark::Waiting,
        Some(said) => mark(said),
        None => Mark::Bad,
    }
}

fn mark(said: &Said) -> Mark {
    match said.status {
        Truth::True => Mark::Good,
        Truth::False => Mark::Bad,
        Truth::Unknown => Mark::Waiting,
    }
}

fn driver_mark(driver: &DriverReport) -> Mark {
    if driver.attempt.is_some() || driver.has_news() || PATIENT.contains(&driver.condition.reason.as_str()) {
        return Mark::Waiting;
    }
    mark(&driver.condition)
}

fn driver_line(driver: &DriverReport, now: Timestamp) -> String {
    let said = &driver.condition;
    let chosen = driver.chosen.as_ref().filter(|_| driver.attempt.is_none());
    let installed = match (&driver.installed, chosen) {
        (Some(release), Some(chosen)) if release != chosen => {
            format!("{release} installed, {chosen} chosen")
        }
        (Some(release), _) => format!("{release} installed"),
        (None, Some(chosen)) => format!("{chosen} chosen, not installed"),
        (None, None) => "not installed".to_owned(),
    };
    let attempt = driver.attempt.as_ref().map(|attempt| {
        let release = attempt.release.as_deref().unwrap_or_default();
        let what = match attempt.verb {
            Verb::Roll => format!("{release} being rolled out"),
            Verb::Remove => "being removed".to_owned(),
        };
        let left = if attempt.deadline > now {
            format!("given up in {}", span(now, attempt.deadline))
        } else {
            "its time is over".to_owned()
        };
        format!("; {what} for {}, {left}", span(attempt.since, now))
    });
    let why = match said.status {
        Truth::True if driver.attempt.is_none() => match (driver.beyond(), driver.has_news()) {
            ("", _) => "works".to_owned(),
            (beyond, false) => format!("works; {beyond}"),
            (beyond, true) => format!("works; {beyond} ({})", said.reason),
        },
        // What is rolled out stands before it already.
        Truth::True | Truth::False | Truth::Unknown => {
            let message = driver.beyond();
            let message = message.split_once("is being rolled out: ").map_or(message, |(_, what)| what);
            format!("{message} ({})", said.reason)
        }
    };
    format!("{installed}{}: {why}", attempt.unwrap_or_default())
}

fn vcenter_line(vcenter: &VcenterReport) -> String {
    let said = &vcenter.condition;
    let server = if vcenter.server.is_empty() { String::new() } else { format!(", {}", vcenter.server) };
    let version = vcenter.version.as_ref().map(|version| format!(", {version}")).unwrap_or_default();
    let verdict = match said.status {
        Truth::True => "verified".to_owned(),
        Truth::False => format!("{} ({})", said.message, said.reason),
        Truth::Unknown => format!("not known yet: {} ({})", said.message, said.reason),
    };
    format!("{}{server}{version}: {verdict}", vcenter.name)
}

/// How long it is from one time to another, in the largest whole unit.
pub fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.as_second().saturating_sub(from.as_second()).max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_use_the_unit_that_a_person_would() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, text) in
            [(-5, "0 s"), (7, "7 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (200_000, "2 days")]
        {
            assert_eq!(span(at(0), at(seconds)), text);
        }
    }
}
