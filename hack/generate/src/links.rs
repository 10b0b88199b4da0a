//! Every link of the README and of `docs/` leads somewhere, and what troubleshooting has to name is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// The README and the pages beside each other in `docs/`.
pub fn pages() -> Vec<PathBuf> {
    let root = root().unwrap();
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

/// The text without what stands between fences, where nothing is a link or a heading.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The targets of all links.
fn links(text: &str) -> Vec<String> {
    let rest = text.split("](").skip(1);
    rest.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// What a heading is called in an address.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn broken(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (file, place) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
    if !path.exists() {
        return Some(format!("{}: {target} is not there", page.display()));
    }
    let found = place.is_empty() || anchors(&prose(&fs::read_to_string(&path).ok()?)).contains(place);
    (!found).then(|| format!("{}: {target} has no such heading", page.display()))
}

#[test]
fn every_link_of_the_pages_leads_to_a_file_and_a_heading_that_are_there() {
    let mut count = 0;
    let mut bad = Vec::new();
    for page in pages() {
        for target in links(&prose(&fs::read_to_string(&page).unwrap())) {
            count += 1;
            bad.extend(broken(&page, &target));
        }
    }
    println!("{count} links");
    assert!(count > 300, "{count}");
    assert_eq!(bad, Vec::<String>::new());
}

#[test]
fn a_link_to_a_missing_file_or_heading_is_found() {
    let page = root().unwrap().join("docs/security.md");
    assert_eq!(broken(&page, "security.md#credentials"), None);
    assert_eq!(broken(&page, "#credentials"), None);
    assert!(broken(&page, "no-such-page.md").is_some());
    assert!(broken(&page, "#no-such-heading").is_some());
    assert_eq!(anchor("CPI: what is `x`?"), "cpi-what-is-x");
    assert_eq!(links("a [b](c.md#d) and [e](f)"), ["c.md#d", "f"]);
}

#[test]
fn every_page_is_in_the_index() {
    let root = root().unwrap();
    let index = fs::read_to_string(root.join("docs/README.md")).unwrap();
    for page in pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("({name}")),
            "{name} is not in docs/README.md"
        );
    }
}

#[test]
fn every_reason_that_asks_something_of_a_user_is_in_troubleshooting() {
    let root = root().unwrap();
    let text = fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let mut asked = 0;
    for reason in crate::docs::reasons() {
        let idle = ["Nothing to do.", "Wait until it is removed."].contains(&reason.remedy);
        if !idle {
            asked += 1;
            let link = format!("[{}](conditions.md#{})", reason.name, reason.name.to_ascii_lowercase());
            assert!(text.contains(&link), "docs/troubleshooting.md does not name {link}");
        }
    }
    println!("{asked} reasons");
    assert!(asked > 60, "{asked}");
}
