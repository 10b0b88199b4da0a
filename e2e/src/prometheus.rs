//! A real Prometheus in a bed: Debian's, which finds the operators by the Services that the chart made.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::bed::Bed;

use crate::http;

const PORT: u16 = 19090;
const PATIENCE: Duration = Duration::from_secs(10);
/// Short, so that a test sees what an admin sees in minutes.
const SCRAPE: &str = "1s";

/// A running Prometheus. It ends with this value.
pub struct Prometheus {
    child: Child,
}

/// A series of a range: its labels, and its points by Unix time.
pub struct Series {
    /// The labels.
    pub labels: Value,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// Where a program of Debian's package is: on the PATH, where hack/prerequisites puts it.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not on the PATH; hack/prerequisites test installs it"))
}

impl Prometheus {
    /// Starts it with these scrape configurations and these groups of rules.
    pub fn start(bed: &Bed, scrape: &Value, rules: &Value) -> Result<Self> {
        let folder = bed.path("tmp/prometheus");
        fs::create_dir_all(&folder)?;
        let config = folder.join("prometheus.yml");
        fs::write(folder.join("rules.yml"), rules.to_string())?;
        fs::write(
            &config,
            json!({
                "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
                "rule_files": ["rules.yml"], "scrape_configs": scrape["scrape_configs"]})
            .to_string(),
        )?;
        let said = Command::new(program("promtool")?).args(["check", "config"]).arg(&config).output()?;
        if !said.status.success() {
            bail!("{}", String::from_utf8_lossy(&said.stderr));
        }
        let output = fs::File::create(bed.path("log/prometheus.log"))?;
        let child = Command::new(program("prometheus")?)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{PORT}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .context("failed to start Prometheus")?;
        Ok(Prometheus { child })
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let mut text = String::new();
        http::request(("127.0.0.1", PORT), &format!("GET {path}"), "", PATIENCE)?
            .read_to_string(&mut text)?;
        let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        if answer["status"] != "success" {
            bail!("{path}: {answer}");
        }
        Ok(answer["data"].clone())
    }

    /// What is scraped: the labels of each target, and whether it answers.
    pub fn targets(&self) -> Result<Vec<(Value, bool)>> {
        let data = self.ask("/api/v1/targets?state=active")?;
        let targets = data["activeTargets"].as_array().context("no targets")?;
        Ok(targets.iter().map(|it| (it["labels"].clone(), it["health"] == "up")).collect())
    }

    /// What a query gives now: the labels of each series with its value.
    pub fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(query)))?;
        let series = data["result"].as_array().with_context(|| format!("{query}: {data}"))?;
        Ok(series.iter().map(|it| (it["metric"].clone(), number(&it["value"][1]))).collect())
    }

    /// What a query gave in the last so many seconds.
    pub fn range(&self, query: &str, seconds: u64) -> Result<Vec<Series>> {
        let end = jiff::Timestamp::now().as_second();
        let start = end - i64::try_from(seconds)?;
        let step = (seconds / 120).max(1);
        let query = encoded(query);
        let data =
            self.ask(&format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}"))?;
        let series = data["result"].as_array().with_context(|| data.to_string())?;
        let points = |it: &Value| {
            let points = it["values"].as_array().into_iter().flatten();
            points.map(|point| (point[0].as_f64().unwrap_or_default(), number(&point[1]))).collect()
        };
        Ok(series.iter().map(|it| Series { labels: it["metric"].clone(), points: points(it) }).collect())
    }

    /// The names of the alerts that fire.
    pub fn firing(&self) -> Result<Vec<String>> {
        let data = self.ask("/api/v1/alerts")?;
        let alerts = data["alerts"].as_array().context("no alerts")?.iter();
        let mut names: Vec<String> = alerts
            .filter(|alert| alert["state"] == "firing")
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// How many rules it has loaded.
    pub fn rules(&self) -> Result<usize> {
        let data = self.ask("/api/v1/rules")?;
        let groups = data["groups"].as_array().context("no groups")?.iter();
        Ok(groups.map(|group| group["rules"].as_array().map_or(0, Vec::len)).sum())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Prometheus writes numbers as text, for those that JSON does not have.
fn number(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// A query as a part of a URL.
fn encoded(query: &str) -> String {
    let mut text = String::new();
    for byte in query.bytes() {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
