//! The list of nodes as a person reads it: a row for each, then what to do. Pure.

use crate::look::{Look, Mark};
use crate::nodes::{FindingReport, NodeReport, NodesReport, Provider};
use crate::page::Page;
use crate::table::{Cell, NOTHING, head, longest, table};

/// How much is shown of each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// What fits next to each other.
    Usual,
    /// Addresses and identities, too.
    Wide,
}

/// Draws the list. A row is never broken; where it would be too long, the first finding stands for all of them. What
/// stands below keeps to the width.
pub fn draw(report: &NodesReport, columns: Columns, look: Look) -> String {
    if report.nodes.is_empty() {
        return "There are no nodes.\n".to_owned();
    }
    let names = match columns {
        Columns::Usual => &["NAME", "READY", "PROVIDER-ID", "CPI", "CSI", "FINDING"][..],
        Columns::Wide => &[
            "NAME",
            "READY",
            "ROLE",
            "INTERNAL-IP",
            "PROVIDER-ID",
            "CPI",
            "CSI",
            "SYSTEM-UUID",
            "ID",
            "FINDING",
        ],
    };
    let mut rows: Vec<Vec<Cell>> = vec![head(names)];
    rows.extend(report.nodes.iter().map(|node| match columns {
        Columns::Usual => usual(node),
        Columns::Wide => wide(node),
    }));
    if columns == Columns::Usual && longest(&rows) > look.width {
        for (row, node) in rows.iter_mut().skip(1).zip(&report.nodes) {
            row.pop();
            row.push(first_finding(node));
        }
    }
    let mut out = table(&rows, look);
    let mut page = Page::new(look);
    if !report.findings.is_empty() || !report.unread.is_empty() {
        out.push('\n');
    }
    for finding in &report.findings {
        page.item(Mark::Waiting, &format!("{}: ", finding.reason), &count(finding));
        page.item(Mark::None, "  ", &format!("{} {}", finding.meaning, finding.remedy));
    }
    for why in &report.unread {
        page.item(Mark::Bad, "Not known: ", why);
    }
    out.push_str(&page.text());
    out
}

fn usual(node: &NodeReport) -> Vec<Cell> {
    vec![name(node), ready(node), provider(node), cpi(node), csi(node), finding(node)]
}

fn wide(node: &NodeReport) -> Vec<Cell> {
    let role = if node.control_plane { "control-plane" } else { "worker" };
    let plain = |text: &str| (Mark::None, if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() });
    vec![
        name(node),
        ready(node),
        plain(role),
        plain(&node.internal_ips.join(",")),
        provider(node),
        cpi(node),
        csi(node),
        plain(node.system_uuid.as_deref().unwrap_or_default()),
        plain(node.provider_id.as_deref().unwrap_or_default()),
        finding(node),
    ]
}

fn name(node: &NodeReport) -> Cell {
    (Mark::None, node.name.clone())
}

fn ready(node: &NodeReport) -> Cell {
    if node.ready { (Mark::Good, "yes".to_owned()) } else { (Mark::Bad, "no".to_owned()) }
}

fn provider(node: &NodeReport) -> Cell {
    let (mark, text) = match node.provider {
        Provider::Vsphere => (Mark::None, "vSphere"),
        Provider::Malformed => (Mark::Bad, "malformed"),
        Provider::Foreign => (Mark::Waiting, "foreign"),
        Provider::None => (Mark::Waiting, "none"),
    };
    (mark, text.to_owned())
}

fn cpi(node: &NodeReport) -> Cell {
    let waits = vdo_core::reasons::WAITS_FOR_CLOUD_PROVIDER.name;
    match node.findings.iter().any(|it| it == waits) {
        _ if node.initialised => (Mark::Good, "initialised".to_owned()),
        true => (Mark::Waiting, "waits".to_owned()),
        false => (Mark::Waiting, "no".to_owned()),
    }
}

fn csi(node: &NodeReport) -> Cell {
    match node.csi_registered {
        Some(true) => (Mark::Good, "registered".to_owned()),
        Some(false) => (Mark::Waiting, "no".to_owned()),
        None => (Mark::Waiting, "?".to_owned()),
    }
}

fn finding(node: &NodeReport) -> Cell {
    match node.findings.as_slice() {
        [] => (Mark::None, NOTHING.to_owned()),
        findings => (Mark::Bad, findings.join(",")),
    }
}

fn first_finding(node: &NodeReport) -> Cell {
    match node.findings.as_slice() {
        [first, _, ..] => (Mark::Bad, format!("{first} +{}", node.findings.len() - 1)),
        [] | [_] => finding(node),
    }
}

fn count(finding: &FindingReport) -> String {
    let nodes = if finding.count == 1 { "node" } else { "nodes" };
    let only = match finding.unnamed {
        0 => String::new(),
        unnamed => format!(", {unnamed} of them counted by the VDOConfig and not named"),
    };
    format!("{} {nodes}{only}", finding.count)
}
