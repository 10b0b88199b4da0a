//! The dashboard of the chart, for Grafana, from `hack/generate/dashboard.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where it goes.
const FILE: &str = "charts/vdo/files/dashboard.json";
const TABLE: &str = include_str!("../dashboard.toml");
/// Of how many columns a row of panels is.
const COLUMNS: u32 = 24;
const HEIGHT: u32 = 8;
/// How Grafana is told to ask for the Prometheus that it has.
const SOURCE: &str = "${datasource}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    panel: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    about: String,
    kind: Kind,
    unit: String,
    width: u32,
    queries: Vec<Query>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Stat,
    Table,
    Timeseries,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    expr: String,
    legend: String,
}

/// The file, by its path.
pub fn files() -> Result<BTreeMap<PathBuf, String>> {
    let mut text = serde_json::to_string_pretty(&dashboard(&table()?))?;
    text.push('\n');
    Ok([(PathBuf::from(FILE), text)].into())
}

/// Every query of the dashboard.
#[cfg(test)]
pub fn queries() -> Vec<String> {
    let panels = table().unwrap().panel.into_iter();
    panels.flat_map(|panel| panel.queries).map(|query| query.expr).collect()
}

fn table() -> Result<Table> {
    toml::from_str(TABLE).context("hack/generate/dashboard.toml")
}

fn dashboard(table: &Table) -> Value {
    let (mut x, mut y) = (0, 0);
    let mut panels = Vec::new();
    for (panel, id) in table.panel.iter().zip(1..) {
        if x + panel.width > COLUMNS {
            (x, y) = (0, y + HEIGHT);
        }
        panels.push(panel.json(id, x, y));
        x += panel.width;
    }
    json!({
        "uid": "vdo",
        "title": "VDO: vSphere drivers",
        "tags": ["vdo", "vsphere"],
        "editable": true,
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{
            "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    })
}

impl Panel {
    fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let letters = ["A", "B", "C", "D"];
        let now = self.kind != Kind::Timeseries;
        let target = |(query, letter): (&Query, &str)| {
            json!({
                "refId": letter, "expr": query.expr, "legendFormat": query.legend, "instant": now, "range": !now,
                "datasource": {"type": "prometheus", "uid": SOURCE}})
        };
        let targets: Vec<Value> = self.queries.iter().zip(letters).map(target).collect();
        let kind = match self.kind {
            Kind::Stat => "stat",
            Kind::Table => "bargauge",
            Kind::Timeseries => "timeseries",
        };
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.about,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": HEIGHT},
            "datasource": {"type": "prometheus", "uid": SOURCE},
            "fieldConfig": {"defaults": {"unit": self.unit}, "overrides": []},
            "options": {},
            "targets": targets})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{families, unknown_in};

    #[test]
    fn panels_stay_within_their_columns_and_do_not_overlap() {
        let value = dashboard(&table().unwrap());
        let panels = value["panels"].as_array().unwrap();
        assert!(panels.len() > 15);
        let place = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (index, panel) in panels.iter().enumerate() {
            assert!(place(panel, "x") + place(panel, "w") <= u64::from(COLUMNS), "{}", panel["title"]);
            for other in &panels[..index] {
                let apart = place(other, "y") != place(panel, "y")
                    || place(other, "x") + place(other, "w") <= place(panel, "x");
                assert!(apart, "{} and {}", other["title"], panel["title"]);
            }
        }
    }

    #[test]
    fn every_metric_of_ours_is_on_the_dashboard_and_every_query_is_of_one() {
        let queries = queries().join("\n");
        for name in families().filter(|name| name.starts_with("vdo_")) {
            assert!(queries.contains(name), "{name} is on no panel");
        }
        assert_eq!(unknown_in(&queries), None);
    }
}
