//! The page and the drawing of the figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::budgets::{Budgets, Step};
use super::{CHOICE, CHURN, Choice, Figure, INSTALL, Measured};
use crate::plot::{Axis, Panel, draw};
use crate::prometheus::Series;

/// The numbers of nodes that have to be measured.
pub const NODES: [usize; 3] = [100, 1000, 5000];
/// The original's figures, at the numbers of nodes at which it was measured.
const ORIGINAL: &str = "original.json";
/// The sizes of the images.
pub const IMAGES: &str = "images.json";
/// The budget of each of them.
const IMAGE: &str = "imageMB";
/// What a choice costs.
const CHOICES: &str = "choice.json";
const PAGE: &str = "performance.md";
const DRAWING: &str = "growth.svg";

type ByNodes = BTreeMap<usize, BTreeMap<String, f64>>;

/// The figures beside their budgets, for a terminal.
pub fn table(measured: &Measured, budgets: &Budgets) -> Result<String> {
    let mut text = String::new();
    for figure in INSTALL.iter().chain(CHURN) {
        let Some(value) = measured.figures.get(figure.name) else { continue };
        let budget = budgets.at(figure.name, measured.nodes)?;
        let verdict = if *value > budget { "OVER" } else { "" };
        let value = format!("{value} {}", figure.unit);
        let _ = writeln!(text, "{:<52} {value:>12}  budget {budget:<6} {verdict}", figure.title);
    }
    Ok(text)
}

/// Writes the page and the drawing of a folder of docs.
pub fn write(docs: &Path) -> Result<()> {
    let (page, drawing) = made(docs)?;
    fs::write(docs.join(PAGE), page)?;
    fs::write(docs.join("bench").join(DRAWING), drawing)?;
    Ok(())
}

/// The page and the drawing, as the figures in that folder say.
fn made(docs: &Path) -> Result<(String, String)> {
    let folder = docs.join("bench");
    let original = fs::read(folder.join(ORIGINAL)).context(ORIGINAL)?;
    let all = read_measured(&folder)?;
    let original: ByNodes = serde_json::from_slice(&original)?;
    let (images, choice) = (read_images(&folder)?, read_choice(&folder)?);
    let budgets = Budgets::read(&folder)?;
    Ok((page(&all, &original, &images, &choice, &budgets)?, drawing(&all, &original, &budgets)?))
}

/// What was measured, the smallest number of nodes first.
fn read_measured(folder: &Path) -> Result<Vec<Measured>> {
    NODES.iter().map(|nodes| Measured::read(&folder.join(Measured::file(*nodes)))).collect()
}

/// Whatever was measured in a bed, with the name of its file.
fn read_all(folder: &Path) -> Result<Vec<(String, Measured)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name.ends_with(Measured::ENDING));
    names.sort();
    names.into_iter().map(|name| Ok((name.clone(), Measured::read(&folder.join(name))?))).collect()
}

/// Every figure of a folder of docs that is over its budget, in words.
pub fn over(docs: &Path) -> Result<Vec<String>> {
    let folder = docs.join("bench");
    let budgets = Budgets::read(&folder)?;
    over_budget(&read_all(&folder)?, &read_images(&folder)?, &read_choice(&folder)?, &budgets)
}

fn over_budget(
    all: &[(String, Measured)],
    images: &BTreeMap<String, u64>,
    choice: &Choice,
    budgets: &Budgets,
) -> Result<Vec<String>> {
    let mut over = Vec::new();
    let mut add = |file: &str, figures: &BTreeMap<String, f64>, nodes: usize| -> Result<()> {
        let found = budgets.over(figures, nodes).with_context(|| file.to_owned())?;
        over.extend(found.iter().map(|it| format!("{file}: {it}")));
        Ok(())
    };
    for (file, of) in all {
        add(file, &of.figures, of.nodes)?;
    }
    for (image, bytes) in images {
        let size = BTreeMap::from([(IMAGE.to_owned(), megabytes(*bytes))]);
        add(&format!("{IMAGES}: {image}"), &size, 0)?;
    }
    add(CHOICES, &choice.figures, 0)?;
    Ok(over)
}

/// The bytes of each image.
fn read_images(folder: &Path) -> Result<BTreeMap<String, u64>> {
    let text = fs::read(folder.join(IMAGES)).context(IMAGES)?;
    serde_json::from_slice(&text).context(IMAGES)
}

/// What a choice costs.
fn read_choice(folder: &Path) -> Result<Choice> {
    let text = fs::read(folder.join(CHOICES)).context(CHOICES)?;
    serde_json::from_slice(&text).context(CHOICES)
}

fn page(
    all: &[Measured],
    original: &ByNodes,
    images: &BTreeMap<String, u64>,
    choice: &Choice,
    budgets: &Budgets,
) -> Result<String> {
    let mut text = String::from(
        "<!-- Written by `make bench` from the files in docs/bench. -->\n# What VDO costs\n\n\
         Measured from outside: by the API server's audit log, the vCenter simulator's counters and `/proc`, never by \
         what an operator says\nabout itself. Both drivers are installed (CPI 1.36.0, CSI 3.7.0) on nodes that are \
         Ready and tainted, with one vCenter, by the programs\nas they are released: static, optimised as a whole. \
         `make bench` measures again, and fails when a budget of\n[budgets.json](bench/budgets.json) is exceeded; what \
         makes up each number is in the files beside it.\n\n## An installation\n\n",
    );
    let at = |of: &Measured| format!(" {} nodes |", with_commas(of.nodes));
    let measured: String = all.iter().map(at).collect();
    let originals: String =
        original.keys().map(|nodes| format!(" the original, {} nodes |", with_commas(*nodes))).collect();
    let _ = writeln!(text, "| Figure | Budget |{measured}{originals}");
    let _ = writeln!(text, "|---|---|{}", "---|".repeat(all.len() + original.len()));
    for figure in INSTALL {
        let _ = write!(text, "| {} | {} |", figure.title, budget(budgets, figure)?);
        for of in all {
            let value = of.figures.get(figure.name);
            let value = value.with_context(|| format!("{} nodes: no {}", of.nodes, figure.name))?;
            let _ = write!(text, " {} |", shown(*value, figure));
        }
        for of in original.values() {
            let _ = write!(
                text,
                " {} |",
                of.get(figure.name).map_or_else(|| "–".to_owned(), |it| shown(*it, figure))
            );
        }
        text.push('\n');
    }
    text += "\n- Requests are those of all operators together, without leases, watches and the lists from which watches \
             begin.\n- The original does not wait for CPI to work before it applies CSI; its seconds to CSI begin with \
             the VDOConfig. It writes in\n  the steady state; how much was not counted.\n\
             - While a driver is waited for, its pods are held back; the steady state is watched for a minute here and \
             for ten in the story `quiet`.\n\n![How each figure grows with the nodes](bench/growth.svg)\n\n";
    text += &churn(all, budgets)?;
    text += &sizes(images, budgets)?;
    text += &choices(choice, budgets)?;
    let (first, rest) = all.split_first().context("nothing was measured")?;
    let _ = write!(text, "## When\n\n{} nodes on {} at commit {}", first.nodes, first.day, first.commit);
    for of in rest {
        let _ = write!(text, "; {} on {} at {}", with_commas(of.nodes), of.day, of.commit);
    }
    text += ". Two cores, shared by the whole bed: etcd, the API server, the drivers, the nodes.\n";
    Ok(text)
}

fn churn(all: &[Measured], budgets: &Budgets) -> Result<String> {
    let mut text = String::from("## Nodes that come and go\n\n");
    for of in all {
        let Some(churn) = of.churn else { continue };
        let _ = writeln!(
            text,
            "With {} nodes, {} a minute go and come back a minute later, for {} minutes; the real CPI initialises each \
             that comes.\n\n| Figure | Budget | Measured |\n|---|---|---|",
            with_commas(of.nodes),
            churn.nodes_per_minute,
            churn.minutes
        );
        for figure in CHURN {
            let value = of.figures.get(figure.name).with_context(|| format!("no {}", figure.name))?;
            let most = budgets.at(figure.name, of.nodes)?;
            let _ =
                writeln!(text, "| {} | {} | {} |", figure.title, shown(most, figure), shown(*value, figure));
        }
        text.push('\n');
    }
    Ok(text)
}

fn sizes(images: &BTreeMap<String, u64>, budgets: &Budgets) -> Result<String> {
    let budget = budgets.at(IMAGE, 0)?;
    let mut text = format!(
        "## Images\n\nBuilt from nothing (`FROM scratch`): the program is all that is in them. Budget: {budget} MB \
         each.\n\n| Image | MB |\n|---|---|\n"
    );
    for (name, bytes) in images {
        let _ = writeln!(text, "| {name} | {:.1} |", megabytes(*bytes));
    }
    text.push('\n');
    Ok(text)
}

fn choices(choice: &Choice, budgets: &Budgets) -> Result<String> {
    let mut text = String::from(
        "## The compatibility matrix\n\nOne core, no cluster, medians of criterion (`cargo xtask \
         bench --choice`).\n\n| Figure | Budget | Measured |\n|---|---|---|\n",
    );
    for figure in CHOICE {
        let value = choice.figures.get(figure.name).with_context(|| format!("no {}", figure.name))?;
        let _ =
            writeln!(text, "| {} | {} | {} |", figure.title, budget(budgets, figure)?, shown(*value, figure));
    }
    let _ = writeln!(text, "\nOn {} at commit {}.\n", choice.day, choice.commit);
    Ok(text)
}

fn megabytes(bytes: u64) -> f64 {
    u32::try_from(bytes / 1000).map_or(f64::INFINITY, |kilobytes| f64::from(kilobytes) / 1000.0)
}

fn drawing(all: &[Measured], original: &ByNodes, budgets: &Budgets) -> Result<String> {
    let nodes = |nodes: usize| -> Result<f64> { Ok(f64::from(u32::try_from(nodes)?)) };
    let most = NODES.iter().copied().max().unwrap_or_default();
    let mut panels = Vec::new();
    for figure in INSTALL {
        let ours = all
            .iter()
            .map(|of| Ok((nodes(of.nodes)?, of.figures.get(figure.name).copied().unwrap_or_default())));
        let theirs = original.iter().filter_map(|(at, of)| Some((*at, *of.get(figure.name)?)));
        let theirs = theirs.map(|(at, value)| Ok((nodes(at)?, value)));
        let steps = budgets.steps(figure.name)?;
        // Each step ends where the next one begins.
        let ends = steps.iter().skip(1).map(|step| step.from_nodes).chain([most]);
        let budget =
            steps.iter().zip(ends).flat_map(|(step, end)| [(step.from_nodes, step.most), (end, step.most)]);
        let budget = budget.map(|(at, value)| Ok((nodes(at)?, value)));
        let mut lines = vec![
            ("VDO".to_owned(), ours.collect::<Result<Vec<_>>>()?),
            ("budget".to_owned(), budget.collect::<Result<Vec<_>>>()?),
            ("the original".to_owned(), theirs.collect::<Result<Vec<_>>>()?),
        ];
        lines.retain(|(_, points)| !points.is_empty());
        let unit = if figure.unit.is_empty() { String::new() } else { format!(" ({})", figure.unit) };
        let series = |points| Series { labels: serde_json::Value::Null, points };
        panels.push(Panel {
            title: format!("{}{unit}", figure.title),
            lines: lines.into_iter().map(|(name, points)| (name, series(points))).collect(),
        });
    }
    draw(&panels, Axis::Nodes)
}

/// A budget, and where it is another one: `0.3 s; 0.5 s from 1,000 nodes on`.
fn budget(budgets: &Budgets, figure: &Figure) -> Result<String> {
    let step = |step: &Step| match step.from_nodes {
        0 => shown(step.most, figure),
        nodes => format!("{} from {} nodes on", shown(step.most, figure), with_commas(nodes)),
    };
    Ok(budgets.steps(figure.name)?.iter().map(step).collect::<Vec<_>>().join("; "))
}

fn shown(value: f64, figure: &Figure) -> String {
    let number = if value >= 1000.0 { with_commas(value as usize) } else { value.to_string() };
    format!("{number} {}", figure.unit).trim().to_owned()
}

fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::checkout;
    use crate::stand::OPERATORS;

    fn measured(nodes: usize) -> Measured {
        let figures = INSTALL.iter().map(|figure| (figure.name.to_owned(), 1.0));
        Measured {
            nodes,
            day: "2026-01-02".to_owned(),
            commit: "abc".to_owned(),
            figures: figures.collect(),
            ..Measured::default()
        }
    }

    /// A budget of one for each figure, and of two calls from 5,000 nodes on.
    fn ones() -> Budgets {
        let figures = INSTALL.iter().chain(CHURN).chain(CHOICE);
        let names = figures.map(|figure| figure.name).chain([IMAGE]);
        let mut budgets: serde_json::Map<String, serde_json::Value> =
            names.map(|name| (name.to_owned(), json!(1.0))).collect();
        let steps = json!([{"fromNodes": 0, "most": 1.0}, {"fromNodes": 5000, "most": 2.0}]);
        budgets.insert("vcenterCalls".to_owned(), steps);
        serde_json::from_value(budgets.into()).unwrap()
    }

    #[test]
    fn every_figure_has_a_budget() {
        let budgets = Budgets::read(&checkout("docs/bench")).unwrap();
        assert_eq!(budgets.names(), ones().names());
        for figure in INSTALL.iter().chain(CHURN).chain(CHOICE) {
            budgets.at(figure.name, 1).unwrap();
        }
    }

    #[test]
    fn the_page_and_the_drawing_are_what_the_files_say() {
        let docs = checkout("docs");
        let (page, drawing) = made(&docs).unwrap();
        for (name, text) in [(PAGE.to_owned(), page), (format!("bench/{DRAWING}"), drawing)] {
            let there = fs::read_to_string(docs.join(&name)).unwrap();
            assert!(there == text, "docs/{name} differs: run `cargo xtask bench --report`");
        }
    }

    #[test]
    fn every_budget_is_met_at_every_number_of_nodes_by_every_image_and_by_every_choice() {
        let folder = checkout("docs/bench");
        for of in read_measured(&folder).unwrap() {
            for figure in INSTALL {
                assert!(of.figures.contains_key(figure.name), "{} nodes: no {}", of.nodes, figure.name);
            }
        }
        let choice = read_choice(&folder).unwrap();
        for figure in CHOICE {
            assert!(choice.figures.contains_key(figure.name), "no {}", figure.name);
        }
        let images = read_images(&folder).unwrap();
        let names: BTreeSet<&str> = images.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(OPERATORS));
        assert_eq!(over(&checkout("docs")).unwrap(), [""; 0]);
    }

    #[test]
    fn a_figure_over_its_budget_is_told_with_its_file_whichever_that_is() {
        let figures = |name: &str, value| BTreeMap::from([(name.to_owned(), value)]);
        let of = |nodes, value| {
            let figures = figures("vcenterCalls", value);
            (Measured::file(nodes), Measured { nodes, figures, ..Measured::default() })
        };
        let told = |all: &[(String, Measured)], bytes, microseconds| {
            let images = BTreeMap::from([("vdo-core".to_owned(), bytes)]);
            let choice = Choice { figures: figures("refuseMicroseconds", microseconds), ..Choice::default() };
            over_budget(all, &images, &choice, &ones()).unwrap()
        };
        assert_eq!(told(&[of(100, 1.0), of(5000, 2.0)], 1_000_000, 1.0), [""; 0]);
        assert_eq!(
            told(&[of(100, 1.5), of(200, 1.0), of(5000, 2.5)], 1_500_000, 1.5),
            [
                "100-nodes.json: vcenterCalls is 1.5, budget 1",
                "5000-nodes.json: vcenterCalls is 2.5, budget 2",
                "images.json: vdo-core: imageMB is 1.5, budget 1",
                "choice.json: refuseMicroseconds is 1.5, budget 1",
            ]
        );
    }

    #[test]
    fn every_file_of_figures_is_looked_at() {
        let looked: BTreeSet<String> =
            read_all(&checkout("docs/bench")).unwrap().into_iter().map(|(file, _)| file).collect();
        assert!(NODES.iter().all(|nodes| looked.contains(&Measured::file(*nodes))), "{looked:?}");
    }

    #[test]
    fn a_hundred_nodes_a_minute_came_and_went_among_five_thousand_for_half_an_hour_without_a_flap() {
        let all = read_measured(&checkout("docs/bench")).unwrap();
        let largest = all.last().unwrap();
        let churn = largest.churn.unwrap();
        assert_eq!(largest.nodes, 5000);
        assert!(churn.minutes >= 30 && churn.nodes_per_minute >= 100, "{churn:?}");
        for figure in CHURN {
            assert!(largest.figures.contains_key(figure.name), "no {}", figure.name);
        }
        assert_eq!(largest.figures["churnReadyFlaps"], 0.0);
    }

    #[test]
    fn the_page_shows_every_figure_beside_its_budget_and_the_originals() {
        let mut churned = measured(5000);
        churned.figures.extend(CHURN.iter().map(|figure| (figure.name.to_owned(), 0.5)));
        churned.churn = Some(super::super::Churn { minutes: 30, nodes_per_minute: 100 });
        let original = ByNodes::from([(100, BTreeMap::from([("vcenterCalls".to_owned(), 671.0)]))]);
        let images = BTreeMap::from([("vdo-core".to_owned(), 7_900_000)]);
        let choice = Choice {
            figures: CHOICE.iter().map(|figure| (figure.name.to_owned(), 0.25)).collect(),
            ..Choice::default()
        };
        let page = page(&[measured(100), churned.clone()], &original, &images, &choice, &ones()).unwrap();
        for line in [
            "| Calls to the vCenter for an installation | 1; 2 from 5,000 nodes on | 1 | 1 | 671 |",
            "| … of them logins | 1 | 1 | 1 | – |",
            "| Times that a Ready condition changed | 1 | 0.5 |",
            "With 5,000 nodes, 100 a minute go",
            "| vdo-core | 7.9 |",
            "| Reading the built-in matrix as JSON | 1 µs | 0.25 µs |",
            "100 nodes on 2026-01-02 at commit abc; 5,000 on",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        churned.figures.remove("residentMiB");
        let why = super::page(&[churned], &original, &images, &choice, &ones()).unwrap_err().to_string();
        assert_eq!(why, "5000 nodes: no residentMiB");
    }

    #[test]
    fn the_drawing_has_a_panel_for_each_figure() {
        let text = drawing(&[measured(100), measured(1000)], &ByNodes::new(), &ones()).unwrap();
        for figure in INSTALL {
            assert!(text.contains(figure.title), "{}", figure.title);
        }
    }

    #[test]
    fn numbers_are_shown_with_commas_and_units() {
        assert_eq!(with_commas(5), "5");
        assert_eq!(with_commas(1033), "1,033");
        let figure = Figure { name: "", title: "", unit: "s" };
        assert_eq!(shown(0.25, &figure), "0.25 s");
        assert_eq!(shown(6166.0, &figure), "6,166 s");
    }
}
