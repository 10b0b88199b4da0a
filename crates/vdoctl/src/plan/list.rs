//! The plan as a list, for people to read from top to bottom. Pure.

use vdo_api::condition::clip;

use super::{Action, DriverPlan, FieldPlan, ObjectPlan, PlanReport, Step, Unread};
use crate::look::{Look, Mark};
use crate::page::Page;

/// Where fields begin.
const INDENT: &str = "      ";

/// How much is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Of new objects only their images, and no marks.
    Usual,
    /// Every field.
    All,
}

/// The whole list.
pub fn draw(report: &PlanReport, detail: Detail, look: Look) -> String {
    let mut page = Page::new(look);
    let mark = match (report.changes, report.partial) {
        (_, true) => Mark::Bad,
        (true, false) => Mark::Waiting,
        (false, false) => Mark::Good,
    };
    page.head(mark, &report.summary);
    if let Some(name) = &report.vdo_config {
        page.item(Mark::None, "", &format!("VDOConfig {name}"));
    }
    for driver in &report.drivers {
        page.gap();
        draw_driver(&mut page, driver, detail, look);
    }
    if !report.unread.is_empty() {
        page.gap();
        page.head(Mark::Bad, "Not read: the plan is a part");
        report.unread.iter().for_each(|it| page.item(Mark::None, "  ", &missing(it)));
    }
    page.text()
}

fn draw_driver(page: &mut Page, driver: &DriverPlan, detail: Detail, look: Look) {
    let mark = match driver.step {
        Step::Nothing => Mark::Good,
        Step::Wait | Step::RollOut => Mark::Waiting,
        Step::Unknown | Step::Remove => Mark::Bad,
        _ => Mark::Head,
    };
    page.item(mark, &format!("{}  ", driver.driver.name()), &driver.summary);
    let waits = matches!(driver.step, Step::Wait | Step::Unknown);
    for finding in &driver.findings {
        // What is waited for is said already, and what a condition says, too.
        if waits && driver.condition.message.contains(&finding.message)
            || driver.summary.contains(&finding.message)
        {
            continue;
        }
        page.item(Mark::None, "     ", &format!("{} ({})", finding.message, finding.reason));
    }
    let is_marked = |object: &&ObjectPlan| detail == Detail::Usual && object.is_only_marked();
    let mut stage = None;
    for object in driver.objects.iter().filter(|it| !is_marked(it)) {
        if object.stage.is_some() && object.stage != stage {
            stage = object.stage.clone();
            page.item(Mark::None, "  ", &format!("Stage {}", stage.as_deref().unwrap_or_default()));
        }
        draw_object(page, object, detail, look);
    }
    let marked: Vec<String> =
        driver.objects.iter().filter(is_marked).map(|it| it.object.to_string()).collect();
    if !marked.is_empty() {
        page.item(Mark::None, "  ", "Only marked with the new revision:");
        page.item(Mark::None, "    ", &marked.join(", "));
    }
}

fn draw_object(page: &mut Page, object: &ObjectPlan, detail: Detail, look: Look) {
    let (sign, mark) = match object.action {
        Action::Create => ("  + ", Mark::Good),
        Action::Change | Action::Replace => ("  ~ ", Mark::Waiting),
        Action::Delete | Action::Restart => ("  - ", Mark::Bad),
    };
    let more = match (object.action, &object.replaces) {
        (Action::Restart, _) => ", which its controller makes anew".to_owned(),
        (_, Some(before)) => format!(" in the place of {before}"),
        (Action::Change, None) if object.fields.is_empty() => ": its marks only".to_owned(),
        (_, None) => String::new(),
    };
    page.item(mark, sign, &format!("{}{more}", object.object));
    let is_shown = |field: &&FieldPlan| match (detail, object.action) {
        (Detail::All, _) => true,
        (Detail::Usual, Action::Create) => object.stage.is_none() || field.path.ends_with(".image"),
        (Detail::Usual, _) => !field.is_mark(),
    };
    object.fields.iter().filter(is_shown).for_each(|field| draw_field(page, field, look));
}

fn draw_field(page: &mut Page, field: &FieldPlan, look: Look) {
    let room = look.width.max(40).saturating_sub(INDENT.len());
    let by = field.manager.as_ref().map(|it| format!(" (set by {it})")).unwrap_or_default();
    let (from, to) = (field.from.as_deref(), field.to.as_deref());
    let change = match (from, to) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        (None, Some(to)) => to.to_owned(),
        (Some(from), None) => format!("{from} -> (gone)"),
        (None, None) => "(changed)".to_owned(),
    };
    let line = format!("{}: {change}{by}", field.path);
    if line.chars().count() <= room {
        return page.item(Mark::None, &format!("{INDENT}{line}"), "");
    }
    let put = |page: &mut Page, lead: &str, text: &str| {
        let kept = fitted(text, room.saturating_sub(lead.len()));
        page.item(Mark::None, &format!("{INDENT}{lead}{kept}"), "");
    };
    put(page, "", &format!("{}:", field.path));
    if let Some(from) = from {
        let from = fitted(from, room.saturating_sub(2 + by.chars().count()));
        put(page, "  ", &format!("{from}{by}"));
    }
    match (from, to) {
        (Some(_), Some(to)) => put(page, "  -> ", to),
        (None, Some(to)) => put(page, "  ", to),
        (_, None) => put(page, "  -> ", "(gone)"),
    }
}

/// A text that fits. Both ends of what is cut stay: what differs in an image is its tag.
fn fitted(text: &str, room: usize) -> String {
    let count = text.chars().count();
    if count <= room {
        return text.to_owned();
    }
    let head = clip(text, room.div_ceil(2));
    let tail: String = text.chars().skip(count - room / 2).collect();
    format!("{head}{tail}")
}

fn missing(unread: &Unread) -> String {
    let place = unread.namespace.as_ref().map(|it| format!(" in {it}")).unwrap_or_default();
    format!("{} {}{place}: {}; {}", unread.verb, unread.resource, unread.why, unread.assumed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_cut_keeps_both_ends() {
        assert_eq!(fitted("registry.example.com/a/b:v1.36.0", 16), "registr…:v1.36.0");
        assert_eq!(fitted("short", 16), "short");
    }
}
