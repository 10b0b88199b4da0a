//! docs/compatibility-matrix.md: its fields are those of the form, its example can be used, and its commands work.
#![allow(clippy::unwrap_used)]

mod typed;

use std::collections::BTreeMap;

use serde_json::Value;
use typed::{Folder, block};
use vdo_compat::Source;
use vdo_fetch::Pin;
use vdo_matrix::Level;
use vdo_matrix::lint::{Manifests, lint};

const EXAMPLE: &str = "vdo-matrix.yaml";
/// A day on which every row of the example is mended.
const TODAY: &str = "2026-01-01";

fn page() -> String {
    typed::page("docs/compatibility-matrix.md")
}

/// Each field of an object of the schema with whether it has to be there; ranges and bounds stand for themselves.
fn fields(schema: &Value, object: &Value, at: &str, into: &mut BTreeMap<String, bool>) {
    let object = resolved(schema, object);
    let required = object["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.map(|name| name.as_str().unwrap()).collect();
    for (name, part) in object["properties"].as_object().unwrap() {
        let is_required = required.contains(&name.as_str());
        let part = resolved(schema, part);
        let at = if part["type"] == "array" { format!("{at}{name}[]") } else { format!("{at}{name}") };
        into.insert(at.clone(), is_required);
        let item = resolved(schema, &part["items"]);
        if item["type"] == "object" {
            fields(schema, item, &format!("{at}."), into);
        }
    }
}

fn resolved<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    part["$ref"].as_str().map_or(part, |name| schema.pointer(name.strip_prefix('#').unwrap()).unwrap())
}

#[test]
fn the_page_lists_every_field_and_which_ones_are_required() {
    let (page, schema) = (page(), vdo_matrix::schema());
    let mut wanted = BTreeMap::new();
    fields(&schema, &schema, "", &mut wanted);
    assert!(wanted.len() > 15, "{wanted:?}");
    let (_, table) = page.split_once("<!-- fields -->\n").unwrap();
    let (table, _) = table.split_once("<!-- end -->").unwrap();
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `")?.split_once("` | "));
    let listed: BTreeMap<String, bool> =
        rows.map(|(name, rest)| (name.to_owned(), rest.split(" | ").nth(1) == Some("refused"))).collect();
    assert_eq!(listed, wanted);

    // What bounds are made of is told below.
    let (_, told) = page.split_once("**Range**").unwrap();
    let (told, _) = told.split_once("\n## ").unwrap();
    for part in ["Bounds", "Bound", "Range", "Evidence"] {
        for name in schema["$defs"][part]["properties"].as_object().unwrap().keys() {
            let is_told = told.contains(&format!("`{name}`")) || told.contains(&format!("{name}: "));
            assert!(is_told, "{part} has {name}");
        }
    }
    for grade in schema["$defs"]["Grade"]["oneOf"].as_array().unwrap() {
        assert!(told.contains(&format!("`{}`", grade["const"].as_str().unwrap())), "{grade}");
    }
    assert_eq!(u64::from(page.contains("| number, `1` |")), vdo_matrix::SCHEMA_VERSION);
    for bound in [vdo_matrix::MAX_ADDRESS, vdo_matrix::MAX_ROWS] {
        assert!(table.contains(&format!("{},{:03}", bound / 1_000, bound % 1_000)), "{bound}");
    }
    for bound in [vdo_matrix::MAX_SENTENCE, vdo_matrix::MAX_IMAGES, vdo_matrix::MAX_CAUTIONS] {
        assert!(table.contains(&format!("up to {bound}")), "{bound}");
    }
}

#[test]
fn the_example_has_no_fault_and_its_digest_stands_below_it() {
    let page = page();
    let example = block(&page, &format!("example: {EXAMPLE}"), "yaml");
    let parsed = vdo_matrix::parse(Source::Url, &example).unwrap();
    assert_eq!(parsed.notes, []);
    let worst = lint(&example, &Manifests::new(), Some(TODAY)).findings;
    let worst: Vec<_> = worst.iter().filter(|it| it.level != Level::Note).collect();
    assert!(worst.is_empty(), "{worst:?}");
    // Every field is shown once.
    let schema = vdo_matrix::schema();
    let mut all = BTreeMap::new();
    fields(&schema, &schema, "", &mut all);
    for name in all.keys().map(|name| name.rsplit('.').next().unwrap().trim_end_matches("[]")) {
        assert!(example.contains(&format!("{name}:")), "{name} is not in the example");
    }
    assert!(page.contains(&format!("versionConfigSHA256: {}\n", Pin::of(example.as_bytes()))));
}

#[test]
fn the_commands_do_what_stands_beside_them() {
    let page = page();
    let folder = Folder::new("matrix-page");
    let file = folder.0.join(EXAMPLE);
    std::fs::write(&file, block(&page, &format!("example: {EXAMPLE}"), "yaml")).unwrap();

    let names: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("<!-- offline: ")?.strip_suffix(" -->")).collect();
    assert_eq!(names, ["check", "pin", "sign"]);
    let mut said = BTreeMap::new();
    for name in names {
        let mut printed = String::new();
        for line in block(&page, &format!("offline: {name}"), "console").lines() {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("{line:?} is no command"));
            let (ok, out) = folder.run(command);
            assert!(ok, "{command}\n{out}");
            printed.push_str(&out);
        }
        said.insert(name, printed);
    }
    assert!(said["check"].contains("CSI: CSI 3.7.3 is the newest release that fits"), "{}", said["check"]);
    assert!(said["check"].contains("nothing is wrong") && said["sign"].contains("nothing is wrong"));
    let digest = Pin::of(&std::fs::read(&file).unwrap()).to_string();
    assert!(said["pin"].contains(&digest), "{}", said["pin"]);

    // The same commands find a change, so that they can.
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "# changed\n").unwrap();
    for (option, words) in
        [("--public-key matrix.pub", "does not belong"), (&*format!("--sha256 {digest}"), "not the pinned")]
    {
        let (ok, out) = folder.run(&format!("vdoctl matrix lint {EXAMPLE} {option}"));
        assert!(!ok && out.contains(words), "{out}");
    }
}
