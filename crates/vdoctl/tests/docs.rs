//! docs/vdoctl.md shows what the program prints, and nothing else.
#![allow(clippy::unwrap_used)]

mod page;

use std::path::Path;

use clap::CommandFactory;
use vdoctl::args::Args;
use vdoctl::seen::Operator;
use vdoctl::version::{ClusterVersions, Drivers, Versions};

const BEGIN: &str = "<!-- golden: ";

/// What a golden file shows.
fn golden(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.snap"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.splitn(3, "---\n").nth(2).unwrap().trim_end().to_owned()
}

/// The page with each screen as it is printed now, and the names of the screens.
fn current(page: &str) -> (String, Vec<String>) {
    let (mut out, mut names) = (String::new(), Vec::new());
    let mut parts = page.split(BEGIN);
    out.push_str(parts.next().unwrap());
    for part in parts {
        let (name, rest) = part.split_once(" -->\n```text\n").unwrap();
        let (_, after) = rest.split_once("```\n").unwrap();
        out.push_str(&format!("{BEGIN}{name} -->\n```text\n{}\n```\n{after}", golden(name)));
        names.push(name.to_owned());
    }
    (out, names)
}

#[test]
fn the_page_shows_the_screens_as_they_are_printed() {
    let page = std::fs::read_to_string(page::path()).unwrap();
    let (current, names) = current(&page);
    if std::env::var("INSTA_UPDATE").is_ok_and(|wish| wish == "always") {
        std::fs::write(page::path(), &current).unwrap();
    } else {
        assert!(page == current, "docs/vdoctl.md is old: INSTA_UPDATE=always cargo test -p vdoctl");
    }
    for sight in [
        "status-ready",
        "status-waiting-for-cpi",
        "status-held",
        "status-failed",
        "status-deleting",
        "nodes-mixed",
    ] {
        for width in [80, 200] {
            let name = format!("{sight}-{width}");
            assert!(names.contains(&name), "{name} is not shown");
        }
    }
}

#[test]
fn the_page_tells_of_every_command_and_of_how_a_cluster_is_found() {
    let page = std::fs::read_to_string(page::path()).unwrap();
    let line = Args::command();
    for command in line.get_subcommands() {
        let name = command.get_name();
        assert!(page.contains(&format!("\n| `vdoctl {name}")), "{name}");
        for part in command.get_subcommands().map(|part| part.get_name()) {
            assert!(page.contains(&format!("\n| `vdoctl {name} {part}`")), "{name} {part}");
        }
    }
    for option in line.get_arguments().filter_map(|option| option.get_long()) {
        assert!(page.contains(&format!("--{option}")), "--{option}");
    }
}

#[test]
fn the_page_lists_the_fields_of_a_version() {
    let operator = Operator { name: "vdo-core".to_owned(), image: "i".to_owned(), wanted: 2, available: 2 };
    let cluster = ClusterVersions {
        kubernetes: "v1.36.3".to_owned(),
        operators: vec![operator],
        drivers: Some(Drivers::default()),
    };
    let known = Versions { cluster: Some(cluster), unread: Vec::new(), ..Versions::alone(String::new()) };
    let answers = [known, Versions::alone("no cluster".to_owned())];
    page::lists_the_fields_of("version", &answers.map(|it| serde_json::to_value(it).unwrap()));
}
