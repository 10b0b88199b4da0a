//! The screen that a person reads from top to bottom. Pure: the same sight and width give the same text.

use k8s_openapi::jiff::Timestamp;
use vdo_api::Truth;
use vdo_api::status::Verb;

use crate::seen::{DriverReport, Report, Seen, VcenterReport};

/// Where the texts begin; the names before them are shorter.
const INDENT: usize = 10;
/// A screen narrower than this is taken as this wide.
const NARROWEST: usize = 40;

/// The whole screen.
pub fn screen(seen: &Seen, width: usize) -> String {
    draw(&Report::of(seen), seen.now, width)
}

/// Draws what was summed up.
pub fn draw(report: &Report, now: Timestamp, width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut out = String::new();
    wrap(&report.summary, 0, "", width, &mut out);
    out.push('\n');
    if let Some(name) = &report.vdo_config {
        row("VDOConfig", name, width, &mut out);
    }
    for driver in &report.drivers {
        row(driver.driver.name(), &driver_line(driver, now), width, &mut out);
    }
    let mut title = "vCenters";
    for vcenter in &report.vcenters {
        row(title, &vcenter_line(vcenter), width, &mut out);
        title = "";
    }
    if let Some(nodes) = &report.nodes {
        let mut text = format!("{} of {} initialised", nodes.initialised, nodes.expected);
        if nodes.foreign > 0 {
            text.push_str(&format!("; {} outside of the vCenters", nodes.foreign));
        }
        row("Nodes", &text, width, &mut out);
        for finding in &nodes.findings {
            let more = usize::try_from(finding.count).unwrap_or_default().saturating_sub(finding.names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!("{}: {}{more}", finding.reason, finding.names.join(", "));
            row("", &text, width, &mut out);
        }
    }
    for condition in &report.conditions {
        let text =
            format!("{}={} ({}): {}", condition.type_, condition.status, condition.reason, condition.message);
        row("Also", &text, width, &mut out);
    }
    for operator in report.operators.iter().filter(|it| !it.is_whole()) {
        let text = format!("{}: {} of {} replicas work", operator.name, operator.available, operator.wanted);
        row("Operator", &text, width, &mut out);
    }
    for ignored in &report.ignored {
        row("Ignored", &format!("{}: {}", ignored.object, ignored.why), width, &mut out);
    }
    if !out.ends_with("\n\n") {
        out.push('\n');
    }
    wrap(&format!("Next: {}", report.next), 0, "      ", width, &mut out);
    out
}

fn driver_line(driver: &DriverReport, now: Timestamp) -> String {
    let said = &driver.condition;
    let installed = match &driver.installed {
        Some(release) => format!("{release} installed"),
        None => "not installed".to_owned(),
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
        Truth::True if driver.attempt.is_none() => "works".to_owned(),
        // What is rolled out stands before it already.
        Truth::True | Truth::False | Truth::Unknown => {
            let message =
                said.message.split_once("is being rolled out: ").map_or(&*said.message, |(_, what)| what);
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

fn row(name: &str, text: &str, width: usize, out: &mut String) {
    let indent = " ".repeat(INDENT);
    wrap(&format!("{name:<INDENT$}{text}"), INDENT, &indent, width, out);
}

/// Breaks at blanks, never before `keep`, and begins each further line with `indent`. A word that is longer than a
/// line, as a command to copy may be, stays whole.
fn wrap(text: &str, keep: usize, indent: &str, width: usize, out: &mut String) {
    for (number, paragraph) in text.lines().enumerate() {
        let (head, rest) = match number {
            0 => paragraph.split_at(paragraph.char_indices().nth(keep).map_or(paragraph.len(), |(at, _)| at)),
            _ => (indent, paragraph),
        };
        let mut line = head.to_owned();
        let mut is_begun = false;
        for word in rest.split_whitespace() {
            if is_begun && line.chars().count() + 1 + word.chars().count() > width {
                out.push_str(line.trim_end());
                out.push('\n');
                line = indent.to_owned();
                is_begun = false;
            }
            if is_begun {
                line.push(' ');
            }
            line.extend(word.chars().map(|c| if c.is_control() { '?' } else { c }));
            is_begun = true;
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_to_the_width_and_long_words_stay_whole() {
        let mut out = String::new();
        row(
            "Name",
            "one two three four five six https://a.very.long.address.example.com/path seven",
            40,
            &mut out,
        );
        let expected = "Name      one two three four five six\n          \
            https://a.very.long.address.example.com/path\n          seven\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_terminal_is_not_steered_by_what_a_server_says() {
        let mut out = String::new();
        row("x", "a\u{1b}[31mred", 80, &mut out);
        assert!(!out.contains('\u{1b}'));
    }

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
