//! What may differ between two runs: a short list in git, each line with its reason, and never more than a small share.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::state::Leaves;

/// The most that may be left out of a comparison, in percent of all leaves.
pub const MOST_PERCENT: f64 = 2.0;

/// One line: leaves that are not compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The object, as `Kind NAMESPACE/NAME`; `*` stands for anything.
    object: String,
    /// The path in it; `*` stands for anything within one step.
    path: String,
    /// Whether it is the API server's own book-keeping, which no client can write. That is no field of ours, so it counts
    /// neither as hidden nor as compared.
    #[serde(default)]
    server: bool,
    /// Why it differs.
    why: String,
}

impl Line {
    fn is_for(&self, object: &str, path: &str) -> bool {
        like(object, &self.object) && is_at(path, &self.path)
    }
}

/// The whole list.
#[derive(Clone, Debug)]
pub struct Mask(Vec<Line>);

impl Mask {
    /// The list in git.
    pub fn reviewed() -> Result<Mask> {
        Mask::parse(include_str!("mask.json"))
    }

    fn parse(text: &str) -> Result<Mask> {
        let lines: Vec<Line> = serde_json::from_str(text).context("the mask")?;
        ensure!(lines.iter().all(|line| !line.why.is_empty()), "a line of the mask has no reason");
        Ok(Mask(lines))
    }

    /// Whether this leaf is left out.
    pub fn hides(&self, object: &str, path: &str) -> bool {
        self.0.iter().any(|line| line.is_for(object, path))
    }

    /// How much of what clients can write is left out, in percent.
    pub fn percent(&self, leaves: &Leaves) -> f64 {
        let line = |object: &str, path: &str| self.0.iter().find(|line| line.is_for(object, path));
        let (mut hidden, mut all) = (0u32, 0u32);
        for (object, path) in leaves.keys() {
            match line(object, path) {
                Some(line) if line.server => {}
                Some(_) => (hidden, all) = (hidden + 1, all + 1),
                None => all += 1,
            }
        }
        if all == 0 { 100.0 } else { 100.0 * f64::from(hidden) / f64::from(all) }
    }

    /// Refuses a state of which too much is left out: equal would mean little.
    pub fn check(&self, leaves: &Leaves) -> Result<f64> {
        let percent = self.percent(leaves);
        ensure!(
            percent <= MOST_PERCENT,
            "the mask hides {percent:.2} % of the leaves, more than {MOST_PERCENT} %"
        );
        Ok(percent)
    }
}

/// `*` at the end stands for any rest.
fn like(text: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => text == pattern,
    }
}

fn is_at(path: &str, pattern: &str) -> bool {
    let (steps, wanted): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), pattern.split('/').collect());
    steps.len() == wanted.len()
        && steps.iter().zip(wanted).all(|(step, wanted)| wanted == "*" || *step == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Leaves {
        let mut leaves: Leaves =
            (0..count - 1).map(|n| (("Lease a".to_owned(), format!("/spec/{n}")), String::new())).collect();
        leaves.insert(("Lease a".to_owned(), "/spec/renewTime".to_owned()), String::new());
        leaves
    }

    #[test]
    fn every_line_of_the_list_in_git_has_a_reason() {
        assert!(Mask::reviewed().is_ok());
        assert!(Mask::parse(r#"[{"object": "*", "path": "/spec", "why": ""}]"#).is_err());
    }

    #[test]
    fn a_line_hides_its_leaf_and_no_other() {
        let mask = Mask::reviewed().unwrap();

        assert!(mask.hides("Secret a/b", "/metadata/resourceVersion"));
        assert!(mask.hides("VDOConfig a/b", "/status/conditions/Ready/lastTransitionTime"));
        assert!(!mask.hides("VDOConfig a/b", "/status/conditions/Ready/status"));
        assert!(!mask.hides("Secret a/b", "/data/resourceVersion"));
        assert!(!mask.hides("Secret a/b", "/metadata/resourceVersion/x"));
    }

    #[test]
    fn a_mask_over_more_than_its_share_is_refused() {
        let mask = Mask::reviewed().unwrap();

        assert!(mask.check(&leaves(50)).is_ok());
        assert!(mask.check(&leaves(49)).unwrap_err().to_string().contains("2.04 %"));
    }

    #[test]
    fn what_only_the_server_writes_counts_neither_way() {
        let mask = Mask::reviewed().unwrap();
        let mut more = leaves(50);
        for n in 0..100 {
            more.insert((format!("Secret a/{n}"), "/metadata/creationTimestamp".to_owned()), String::new());
        }
        assert_eq!(mask.percent(&more), mask.percent(&leaves(50)));
    }
}
