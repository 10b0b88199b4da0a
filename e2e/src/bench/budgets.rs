//! The most that each figure may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The file of the budgets.
const FILE: &str = "budgets.json";

/// The budgets by figure.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Budgets(BTreeMap<String, Budget>);

/// One budget: the same at any number of nodes, or with steps that an ADR explains.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Budget {
    Always(f64),
    Steps(Vec<Step>),
}

/// From so many nodes on.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// The nodes.
    pub from_nodes: usize,
    /// The most that the figure may be.
    pub most: f64,
}

impl Budgets {
    /// Those of a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// The steps of one figure, the smallest number of nodes first. A figure without a budget is a mistake.
    pub fn steps(&self, figure: &str) -> Result<Vec<Step>> {
        let budget = self.0.get(figure).with_context(|| format!("{figure} has no budget"))?;
        let mut steps = match budget {
            Budget::Always(most) => vec![Step { from_nodes: 0, most: *most }],
            Budget::Steps(steps) => steps.clone(),
        };
        steps.sort_by_key(|step| step.from_nodes);
        Ok(steps)
    }

    /// What a figure may be at so many nodes.
    pub fn at(&self, figure: &str, nodes: usize) -> Result<f64> {
        let steps = self.steps(figure)?;
        let step = steps.iter().rev().find(|step| step.from_nodes <= nodes);
        step.map(|step| step.most).with_context(|| format!("{figure} has no budget at {nodes} nodes"))
    }

    /// Figures that exceed their budget, in words.
    pub fn over(&self, figures: &BTreeMap<String, f64>, nodes: usize) -> Result<Vec<String>> {
        let mut over = Vec::new();
        for (name, measured) in figures {
            let most = self.at(name, nodes)?;
            if *measured > most {
                over.push(format!("{name} is {measured}, budget {most}"));
            }
        }
        Ok(over)
    }

    /// The names of the figures that have one.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets() -> Budgets {
        let text = r#"{"a": 1, "b": [{"fromNodes": 1000, "most": 4}, {"fromNodes": 0, "most": 2}]}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_figure_over_its_budget_is_told_and_one_without_a_budget_is_refused() {
        let figures = BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.5)]);
        assert_eq!(budgets().over(&figures, 999).unwrap(), ["b is 2.5, budget 2"]);
        assert_eq!(budgets().over(&figures, 1000).unwrap(), [""; 0]);
        let unknown = BTreeMap::from([("c".to_owned(), 0.0)]);
        assert_eq!(budgets().over(&unknown, 1).unwrap_err().to_string(), "c has no budget");
    }

    #[test]
    fn a_step_counts_from_its_number_of_nodes_on() {
        let at = |nodes| budgets().at("b", nodes).unwrap();
        assert_eq!((at(100), at(1000), at(5000)), (2.0, 4.0, 4.0));
        assert_eq!(budgets().at("a", 5000).unwrap(), 1.0);
    }
}
