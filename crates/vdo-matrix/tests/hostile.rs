//! Documents that are made to be slow or large to read. Alone in its file, and in one test: what a process ever had in
//! memory is counted for all that runs in it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use vdo_compat::Source;
use vdo_matrix::{MAX_BYTES, lint, parse};

/// For one document. The profile of tests has an optimiser for what reads one.
const LONGEST: Duration = Duration::from_secs(1);
/// For the whole process, with this test and all its documents.
const LARGEST_KIB: u64 = 64 * 1024;

/// As often as fits into the longest document that is read.
fn filled(head: &str, part: &str, tail: &str) -> String {
    let count = (MAX_BYTES - head.len() - tail.len()) / part.len();
    format!("{head}{}{tail}", part.repeat(count))
}

fn alias_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let previous = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", ")));
    }
    text
}

/// A matrix of the largest size that is read, with as much in each row as it has room for.
fn full() -> String {
    let rows = (0..vdo_matrix::MAX_ROWS).map(|at| {
        let bounds = "{hard: {min: \"1.2\", max: \"1.4\"}, recommended: {min: \"1.3\", max: \"1.4\"}}";
        let (release, text) = (format!("1.{}.{}", at / 100, at % 100), "x".repeat(300));
        format!("- {{driver: CPI, release: {release}, kubernetes: {bounds}, vsphere: {bounds}, knownBad: {text}}}\n")
    });
    let text = format!("schemaVersion: 1\nrows:\n{}", rows.collect::<String>());
    assert!(text.len() > MAX_BYTES * 9 / 10 && text.len() <= MAX_BYTES, "{}", text.len());
    text
}

/// The front of the original's form.
const ORIGINAL: &str = "{\"CSI\":{\"3.7.0\":{\"vSphere\":{\"min\":\"7.0\",\"max\":\"9.0\"},\"k8s\":";

/// Made one by one: together they would be the most of what is in memory.
type Document = (&'static str, fn() -> String);

fn documents() -> Vec<Document> {
    vec![
        ("a bomb of aliases in ten levels", alias_bomb),
        ("an anchor of 100 KB and 100,000 aliases", || {
            format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 100_000].join(", "))
        }),
        ("200,000 lists in JSON", || "[".repeat(200_000)),
        ("200,000 lists in YAML", || format!("a: {}", "[".repeat(200_000))),
        ("100,000 maps in JSON", || "{\"a\": ".repeat(100_000)),
        ("100,000 maps in YAML", || format!("# no JSON\n{}", "{a: ".repeat(100_000))),
        ("JSON that is 10,000 deep", || format!("{}1{}", "{\"rows\":[".repeat(5_000), "]}".repeat(5_000))),
        ("a block that is 100,000 deep", || filled("", "- ", "x")),
        ("questions in questions", || filled("", "? ", "x")),
        ("merge keys", || filled("a: &a {x: 1}\nb:\n", "  <<: *a\n", "")),
        ("merge keys without an anchor", || filled("b:\n", "  <<: {a: 1}\n", "")),
        ("an anchor on each item", || filled("", "- &a x\n", "")),
        ("tags", || filled("", "- !!python/object/apply:os.system [x]\n", "")),
        ("tags of YAML", || filled("schemaVersion: 1\nrows:\n", "- !!map {? !!str a : !!int 1}\n", "")),
        ("directives", || filled("", "%TAG !e! tag:example.org,2000:\n", "--- x\n")),
        ("documents", || filled("", "--- x\n", "")),
        ("documents of nothing", || filled("", "---\n", "")),
        ("comments", || filled("", "# x\n", "schemaVersion: 1\n")),
        ("one comment", || filled("# ", "x", "\nschemaVersion: 1\n")),
        ("blank lines", || filled("schemaVersion: 1\nrows:\n", "\n", "- x\n")),
        ("blanks", || filled("schemaVersion: 1\nrows:\n", " ", "- x\n")),
        ("tabs", || filled("schemaVersion: 1\nrows:\n", "\t", "- x\n")),
        ("one text", || filled("schemaVersion: 1\nrows: '", "x", "'\n")),
        ("one text that never ends", || filled("schemaVersion: 1\nrows: \"", "x", "")),
        ("one text of escapes", || filled("schemaVersion: 1\nrows: \"", "\\u0041", "\"\n")),
        ("a text of many lines", || filled("schemaVersion: 1\nrows: |\n", "  x\n", "")),
        ("a folded text of many lines", || filled("schemaVersion: 1\nrows: >\n", "  x\n\n", "")),
        ("a plain text of many lines", || filled("schemaVersion: 1\nrows: x\n", "  x\n", "")),
        ("one name", || filled("", "x", ": 1\n")),
        ("one name in quotes", || filled("\"", "x", "\": 1\n")),
        ("one name in JSON", || filled("{\"", "x", "\": 1}")),
        ("the same name", || filled("", "a: 1\n", "")),
        ("the same name in JSON", || filled("{", "\"rows\":1,", "\"rows\":1}")),
        ("other names", || (0..60_000).map(|at| format!("a{at}: 1\n")).collect()),
        ("other names in JSON", || {
            format!("{{{}\"rows\":[]}}", (0..60_000).map(|at| format!("\"a{at}\":1,")).collect::<String>())
        }),
        ("other fields of a row", || {
            let fields: String = (0..60_000).map(|at| format!("  a{at}: 1\n")).collect();
            format!("schemaVersion: 1\nrows:\n- driver: CPI\n{fields}")
        }),
        ("rows of nothing", || filled("schemaVersion: 1\nrows:\n", "-\n", "")),
        ("one number", || filled("schemaVersion: ", "9", "\n")),
        ("one version", || filled("{\"CSI\": {\"3.7.0\": {\"k8s\": {\"min\": \"", "9", "\"}}}}")),
        ("octal numbers and words from Norway", || {
            filled("schemaVersion: 1\nrows:\n", "- 0644\n- no\n- 0x1F\n", "")
        }),
        ("marks at the front", || filled("", "\u{feff}", "schemaVersion: 1\n")),
        ("carriage returns", || filled("schemaVersion: 1\r\nrows:\r\n", "- x\r\n", "")),
        ("commas", || filled("[", ",", "]")),
        ("commas in YAML", || filled("a: [", ",", "]\n")),
        ("colons", || filled("", ":", "\n")),
        ("braces", || filled("a: ", "{}", "\n")),
        ("control characters", || filled("", "\u{0}", "")),
        ("other characters", || filled("a: ", "\u{10ffff}", "\n")),
        ("paths of one entry", || {
            filled(
                &format!("{ORIGINAL}{{\"skewVersion\":\"1.34\"}},\"deploymentPath\":["),
                "\"a\",",
                "\"a\"]}}}",
            )
        }),
        ("fields of one range", || filled(&format!("{ORIGINAL}{{"), "\"min\":\"1\",", "\"min\":\"1\"}}}}")),
        ("holes to fill in", || filled("schemaVersion: 1\nrows:\n", "- ${\n", "")),
        ("half a hole", || filled("schemaVersion: 1\nrows: \"", "<", "\"\n")),
        ("10 MiB", || "x".repeat(10 << 20)),
    ]
}

/// The most that this process ever had in memory.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What this thread had of a processor, which other programs do not change. Where that is not told, what the clock says.
fn spent() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.as_deref().and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanoseconds.filter(|it| *it > 0).map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn timed<T>(name: &str, what: &str, act: impl FnOnce() -> T) -> T {
    let start = spent();
    let result = act();
    let took = spent() - start;
    println!("{took:>12.3?} {what} {name}");
    assert!(took < LONGEST, "{what} {name} took {took:?}");
    result
}

#[test]
fn no_document_takes_a_second_or_64_mebibytes() {
    for (name, document) in documents() {
        let text = document();
        assert!(text.len() <= MAX_BYTES || name == "10 MiB", "{name} has {} bytes", text.len());
        let read = timed(name, "reading", || parse(Source::Url, &text));
        let error = read.expect_err(name).to_string();
        assert!(error.chars().count() < 400 && !error.chars().any(char::is_control), "{name}: {error}");
        let linted = timed(name, "looking through", || lint(&text, &BTreeMap::new(), None));
        assert!(linted.matrix.is_none() && !linted.findings.is_empty(), "{name}");
        #[cfg(target_os = "linux")]
        assert!(peak_kib() < LARGEST_KIB, "after {name} the process had {} KiB", peak_kib());
    }
    let text = full();
    let rows = timed("a full matrix", "reading", || parse(Source::Url, &text)).unwrap().matrix.rows;
    assert_eq!(rows.len(), vdo_matrix::MAX_ROWS);
    #[cfg(target_os = "linux")]
    assert!(peak_kib() < LARGEST_KIB, "after a full matrix the process had {} KiB", peak_kib());
}
