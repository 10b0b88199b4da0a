use proptest::prelude::*;
use vdo_compat::{
    Bound, Bounds, Caution, Channel, Driver, End, Evidence, Grade, KubernetesVersion, Line, Marks, Matrix,
    Range, Release, Rendering, Row, Source, Version, VsphereVersion, builtin,
};

use super::read::stated;
use super::*;
use crate::error::{Error, Fault};
use crate::parse::{Form, Note, Parsed, Remark, parse};
use crate::places::Position;
use crate::span::Span;

const FULL: &str = r#"
schemaVersion: 1
serial: 7
rows:
- driver: CSI
  release: 3.7.0
  source: https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.7.0
  kubernetes:
    hard: {min: "1.27", evidence: {grade: inferred, reference: https://example.org/hard}}
    recommended: {min: "1.33", max: "1.35", evidence: {grade: documented, reference: https://example.org/best}}
  vsphere: {hard: {min: "7.0"}, recommended: {min: "8.0", max: "9.0"}}
  esxi: {hard: {min: "7.0"}}
  upgradesFrom: {min: "2.3"}
  needsCPI: false
  images:
  - registry.k8s.io/csi-vsphere/driver:v3.7.0@sha256:aa
  channel: candidate
  endOfSupport: 2026-08-31
  knownBad: it loses volumes
  cautions:
  - kubernetes: {min: "1.34"}
    vsphere: {max: "7.0"}
    leaving: {max: "3.6"}
    text: >
      its controller ends
      without a node
  - text: try it first
- driver: CPI
  release: v1.36.0
  kubernetes: {min: "1.36", max: "1.37", evidence: {grade: tested, reference: our own clusters}}
  vsphere: {recommended: {min: "6.7.3"}}
"#;

fn read(text: &str) -> Parsed {
    parse(Source::Url, text).unwrap()
}

fn refusal(text: &str) -> (String, Option<Position>, Fault) {
    match parse(Source::Url, text) {
        Err(Error::Invalid { at, position, fault }) => (at, position, fault),
        other => panic!("{other:?} for {text}"),
    }
}

/// The example with one part of it changed.
fn with(part: &str, other: &str) -> String {
    assert_eq!(FULL.matches(part).count(), 1, "{part}");
    FULL.replace(part, other)
}

#[test]
fn everything_that_a_row_can_say_is_read() {
    let Parsed { matrix, form, at, notes } = read(FULL);
    assert_eq!((matrix.serial, matrix.source, form, notes), (Some(7), Source::Url, Form::Rows, vec![]));
    assert_eq!(at, ["/rows/0", "/rows/1"]);
    let [storage, cloud] = &matrix.rows[..] else { panic!("{matrix:?}") };
    let line = |text: &str| text.parse().unwrap();
    let vsphere = |text: &str| text.parse::<Line<VsphereVersion>>().unwrap();
    let bound = |range, grade, reference: &str| Bound {
        range,
        evidence: Evidence { grade, reference: reference.into() },
    };
    let wanted = Row {
        driver: Driver::Csi,
        release: Release::new(3, 7, 0),
        kubernetes: Bounds {
            hard: bound(Range::at_least(line("1.27")), Grade::Inferred, "https://example.org/hard"),
            recommended: Some(bound(
                Range::between(line("1.33"), line("1.35")),
                Grade::Documented,
                "https://example.org/best",
            )),
        },
        vsphere: Bounds {
            hard: Bound { range: Range::at_least(vsphere("7.0")), evidence: stated() },
            recommended: Some(Bound {
                range: Range::between(vsphere("8.0"), vsphere("9.0")),
                evidence: stated(),
            }),
        },
        esxi: Some(Bounds {
            hard: Bound { range: Range::at_least(vsphere("7.0")), evidence: stated() },
            recommended: None,
        }),
        upgrades_from: Range::at_least("2.3".parse().unwrap()),
        needs_cpi: false,
        rendering: Rendering::BuiltIn,
        marks: Marks {
            channel: Channel::Candidate,
            known_bad: Some("it loses volumes".into()),
            end_of_support: Some("2026-08-31".into()),
            cautions: vec![
                Caution {
                    kubernetes: Range::at_least(line("1.34")),
                    vsphere: Range::at_most(vsphere("7.0")),
                    leaving: Some(Range::at_most("3.6".parse().unwrap())),
                    text: "its controller ends without a node".into(),
                },
                Caution {
                    kubernetes: Range::ANY,
                    vsphere: Range::ANY,
                    leaving: None,
                    text: "try it first".into(),
                },
            ],
        },
        source: Some("https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.7.0".into()),
        images: vec!["registry.k8s.io/csi-vsphere/driver:v3.7.0@sha256:aa".into()],
        deployment_path: Vec::new(),
    };
    assert_eq!(*storage, wanted);
    assert_eq!((cloud.driver, cloud.release, cloud.needs_cpi), (Driver::Cpi, Release::new(1, 36, 0), false));
    assert_eq!(cloud.kubernetes.hard.range.to_string(), "1.36 to 1.37");
    assert_eq!((cloud.kubernetes.weakest(), &cloud.kubernetes.recommended), (Grade::Tested, &None));
    // Only advised against: nothing is refused.
    assert_eq!(cloud.vsphere.hard, Bound { range: Range::ANY, evidence: stated() });
    assert_eq!(cloud.vsphere.window().range.to_string(), "6.7.3 or newer");
    assert_eq!((&cloud.esxi, cloud.upgrades_from, &cloud.marks), (&None, Range::ANY, &Marks::default()));
}

#[test]
fn a_bound_in_the_words_of_a_distribution_is_read() {
    let text = with("min: \"1.33\", max: \"1.35\"", "min: v1.33.4+rke2r1, max: 1.35.1-eks-3861362")
        .replace("max: \"9.0\"", "max: 9.0 Update 1");
    let row = read(&text).matrix.rows.remove(0);
    assert_eq!(row.kubernetes.window().range.to_string(), "1.33.4 to 1.35.1");
    assert_eq!(row.vsphere.window().range.to_string(), "8.0 to 9.0.1");
}

#[test]
fn what_nothing_is_said_of_is_as_an_author_expects() {
    let text = "schemaVersion: 1\nrows:\n- {driver: CSI, release: 3.7.0, kubernetes: {hard: {}}, vsphere: {min: '7.0'}}\n";
    let Parsed { matrix, notes, .. } = read(text);
    assert_eq!((matrix.serial, notes), (None, vec![]));
    let [row] = &matrix.rows[..] else { panic!("{matrix:?}") };
    assert!(row.needs_cpi);
    assert_eq!(
        row.kubernetes,
        Bounds { hard: Bound { range: Range::ANY, evidence: stated() }, recommended: None }
    );
    assert_eq!((&row.marks, row.upgrades_from), (&Marks::default(), Range::ANY));
}

#[test]
fn a_field_that_the_form_does_not_have_is_noted_and_the_rest_used() {
    let text = with("  needsCPI: false\n", "  needsCpi: false\n  esx: {hard: {}}\n")
        .replace("serial: 7", "serials: [7]");
    let Parsed { matrix, notes, .. } = read(&text);
    let at: Vec<_> = notes.iter().map(|note| (note.at.as_str(), note.remark)).collect();
    let unknown = Remark::UnknownField;
    assert_eq!(at, [("/serials", unknown), ("/rows/0/needsCpi", unknown), ("/rows/0/esx", unknown)]);
    assert_eq!((matrix.serial, matrix.rows[0].needs_cpi), (None, true));
    let within = with("{max: \"7.0\"}", "{max: \"7.0\", step: 1}");
    assert_eq!(read(&within).notes[0].at, "/rows/0/cautions/0/vsphere/step");
}

#[test]
fn a_release_that_nobody_builds_is_noted() {
    let Parsed { matrix, notes, .. } = read(&with("release: 3.7.0", "release: 3.99.0"));
    assert_eq!(notes, [Note { at: "/rows/0/release".into(), remark: Remark::NotRenderable }]);
    assert_eq!(matrix.rows[0].rendering, Rendering::Bundle);
}

#[test]
fn a_fault_is_named_with_its_place_and_what_belongs_there() {
    for (text, line, words) in [
        (
            with("min: \"1.27\"", "min: 1.27"),
            9,
            "/rows/0/kubernetes/hard/min is a number where a text in quotes belongs",
        ),
        (
            with("release: 3.7.0", "release: 3.7"),
            6,
            "/rows/0/release is a number where a text in quotes belongs",
        ),
        (
            with("release: 3.7.0", "release: \"3\""),
            6,
            "/rows/0/release cannot be read: \"3\" is not a driver release",
        ),
        (
            with("min: \"1.33\"", "min: latest"),
            10,
            "/rows/0/kubernetes/recommended/min cannot be read: \"latest\" is not a Kubernetes version",
        ),
        (
            with("{max: \"7.0\"}", "{max: \"7.0+\"}"),
            22,
            "/rows/0/cautions/0/vsphere/max cannot be read: \"7.0+\" is a range where one vSphere version belongs",
        ),
        (
            with("release: 3.7.0", "release: 3.7.0-3.8.0"),
            6,
            "/rows/0/release cannot be read: \"3.7.0-3.8.0\" is a range where one driver release belongs",
        ),
        (
            with("min: \"1.33\"", "min: 1.33-1.34"),
            10,
            "/rows/0/kubernetes/recommended/min cannot be read: \"1.33-1.34\" is a range where one Kubernetes version \
             belongs",
        ),
        (
            with("max: \"9.0\"", "max: 8.0 or newer"),
            11,
            "/rows/0/vsphere/recommended/max cannot be read: \"8.0 or newer\" has words or a build beside the vSphere \
             version; leave them out",
        ),
        (
            with("upgradesFrom: {min: \"2.3\"}", "upgradesFrom: {min: 2.3 - 3.6}"),
            13,
            "/rows/0/upgradesFrom/min cannot be read: \"2.3 - 3.6\" is a range where one driver release belongs",
        ),
        (
            with("{min: \"1.33\", max", "{min: \"1.36\", max"),
            10,
            "/rows/0/kubernetes/recommended has a min above its max",
        ),
        (
            with("min: \"1.33\"", "min: \"1.26\""),
            10,
            "/rows/0/kubernetes/recommended is 1.26 to 1.35, which reaches beyond the hard bound, 1.27 or newer",
        ),
        (
            with("recommended: {min: \"8.0\", max: \"9.0\"}", "max: \"9.0\""),
            11,
            "/rows/0/vsphere has hard or recommended and min, max or evidence beside it; only one way to say it is \
             allowed",
        ),
        (with("{hard: {min: \"7.0\"}}", "{}"), 12, "/rows/0/esxi has no hard, recommended, min or max"),
        (
            with("  esxi: {hard: {min: \"7.0\"}}", "  esxi:"),
            12,
            "/rows/0/esxi is null where an object belongs",
        ),
        (
            with("needsCPI: false", "needsCPI: maybe"),
            14,
            "/rows/0/needsCPI is a text where true or false belongs",
        ),
        (
            with("release: v1.36.0", "release: v1.36.0\n  needsCPI: false"),
            30,
            "/rows/1/needsCPI is a field of CSI rows only",
        ),
        (with("driver: CSI", "driver: CSX"), 5, "/rows/0/driver is \"CSX\" where one of CPI, CSI belongs"),
        (with("driver: CSI", "driver: no"), 5, "/rows/0/driver is true or false where a text belongs"),
        (
            with("channel: candidate", "channel: Stable"),
            17,
            "/rows/0/channel is \"Stable\" where one of stable, candidate belongs",
        ),
        (
            with("grade: tested", "grade: known"),
            30,
            "/rows/1/kubernetes/evidence/grade is \"known\" where one of tested, documented, inferred, stated belongs",
        ),
        (with("grade: tested, ", ""), 30, "/rows/1/kubernetes/evidence has no grade"),
        (with(", reference: our own clusters", ""), 30, "/rows/1/kubernetes/evidence has no reference"),
        (
            with("2026-08-31", "2026-02-31"),
            18,
            "/rows/0/endOfSupport is \"2026-02-31\" where a day belongs, as in 2026-08-31",
        ),
        (with("it loses volumes", "' '"), 19, "/rows/0/knownBad is empty"),
        (
            with("it loses volumes", "\"a\\nb\""),
            19,
            "/rows/0/knownBad has a line break or another control character in it",
        ),
        (
            with("it loses volumes", &"x".repeat(MAX_SENTENCE + 1)),
            19,
            "/rows/0/knownBad is longer than any matrix needs",
        ),
        (
            with("it loses volumes", "no"),
            19,
            "/rows/0/knownBad is true or false where a text in quotes belongs",
        ),
        (with("  - text: try it first\n", "  - {leaving: {}}\n"), 27, "/rows/0/cautions/1 has no text"),
        (with("  vsphere: {recommended: {min: \"6.7.3\"}}\n", ""), 28, "/rows/1 has no vsphere"),
        (with("  release: v1.36.0\n", ""), 28, "/rows/1 has no release"),
        (
            with("driver: CPI\n  release: v1.36.0", "driver: CSI\n  release: v3.7.0"),
            29,
            "/rows/1/release is CSI 3.7.0 a second time",
        ),
        (with("serial: 7\n", "serial: 7\nserial: 8\n"), 4, "/serial stands there a second time"),
        (with("serial: 7", "serial: -7"), 3, "/serial is a number where a whole number belongs"),
        (with("serial: 7", "serial: \"7\""), 3, "/serial is a text where a whole number belongs"),
        (with("schemaVersion: 1\n", ""), 2, "the document has no schemaVersion"),
        (with("schemaVersion: 1\n", "schemaVersion: 0\n"), 2, "/schemaVersion is 0; the oldest is 1"),
        (
            with("schemaVersion: 1\n", "schemaVersion: \"1\"\n"),
            2,
            "/schemaVersion is a text where a whole number belongs",
        ),
        ("schemaVersion: 1\n".into(), 1, "the document has no rows"),
        ("schemaVersion: 1\nrows: []\n".into(), 2, "/rows is empty"),
        ("schemaVersion: 1\nrows: {}\n".into(), 2, "/rows is an object where a list belongs"),
        ("schemaVersion: 1\nrows:\n- 7\n".into(), 3, "/rows/0 is a number where an object belongs"),
    ] {
        let (at, position, fault) = refusal(&text);
        let said = Error::Invalid { at, position: None, fault }.to_string();
        assert_eq!(said, words, "{text}");
        assert_eq!(position.map(|it| it.line), Some(line), "{words}");
    }
}

#[test]
fn a_newer_form_is_refused_as_such_whatever_else_is_in_it() {
    for text in ["schemaVersion: 2\nrows: {new: form}\n", "{\"schemaVersion\": 2, \"lines\": []}"] {
        assert_eq!(parse(Source::Url, text), Err(Error::TooNew { found: 2 }));
    }
}

#[test]
fn what_is_no_matrix_says_what_one_looks_like() {
    let config_map = "apiVersion: v1\nkind: ConfigMap\ndata:\n  versionConfigContent: |\n    {}\n";
    let message = parse(Source::Url, config_map).unwrap_err().to_string();
    assert!(message.contains("apiVersion, kind, data; of a ConfigMap, give only the text in"), "{message}");
    let message = parse(Source::Url, "<html>\n<p>404: not found</p>\n").unwrap_err().to_string();
    assert!(
        message.starts_with("the document is ") || message.starts_with("the matrix is not YAML"),
        "{message}"
    );
    let both = format!("{FULL}CSI: {{}}\n");
    assert_eq!(read(&both).notes, [Note { at: "/CSI".into(), remark: Remark::UnknownField }]);
}

#[test]
fn more_rows_than_any_matrix_has_are_refused() {
    let rows = |count: usize| {
        let row = |at: usize| {
            format!(
                "- {{driver: CPI, release: 1.{}.{}, kubernetes: {{hard: {{}}}}, vsphere: {{hard: {{}}}}}}\n",
                at / 100,
                at % 100
            )
        };
        format!("schemaVersion: 1\nrows:\n{}", (0..count).map(row).collect::<String>())
    };
    assert_eq!(read(&rows(crate::MAX_ROWS)).matrix.rows.len(), crate::MAX_ROWS);
    assert_eq!(parse(Source::Url, &rows(crate::MAX_ROWS + 1)), Err(Error::TooManyRows));
    let images =
        |count: usize| with("  images:\n", &format!("  images:\n{}", "  - a/b:v1\n".repeat(count - 1)));
    assert_eq!(read(&images(MAX_IMAGES)).matrix.rows[0].images.len(), MAX_IMAGES);
    assert_eq!(refusal(&images(MAX_IMAGES + 1)).2, Fault::TooLong);
    let cautions = |count: usize| with("  - text: try it first\n", &"  - text: a\n".repeat(count - 1));
    assert_eq!(read(&cautions(MAX_CAUTIONS)).matrix.rows[0].marks.cautions.len(), MAX_CAUTIONS);
    assert_eq!(refusal(&cautions(MAX_CAUTIONS + 1)).2, Fault::TooLong);
}

#[test]
fn the_built_in_matrix_written_down_is_read_back() {
    let text = write(builtin::matrix());
    let Parsed { matrix, notes, .. } = read(&text);
    assert_eq!(notes, []);
    assert_eq!(matrix.rows, builtin::matrix().rows);
    // The author sees what is meant, and no ground or mark that nobody gave.
    assert!(
        text.starts_with("schemaVersion: 1\nrows:\n- driver: CPI\n  release: \"1.28.1\"\n"),
        "{text:.200}"
    );
    for missing in ["null", "stated", "stable", "needsCPI", "images", "esxi"] {
        assert!(!text.contains(missing), "{missing}");
    }
}

#[test]
fn a_matrix_of_the_original_becomes_one_of_ours() {
    let original = r#"{"CSI": {"3.7.0": {"vSphere": {"min": "7.0", "max": "100.0.0"}, "k8s": {"min": "1.33", "max": "1.36"},
        "isCPIRequired": false, "deploymentPath": ["a"]}}}"#;
    let mut rows = read(original).matrix.rows;
    let text = write(&read(original).matrix);
    rows[0].deployment_path.clear();
    assert_eq!(read(&text).matrix.rows, rows, "{text}");
    assert!(
        text.contains("    hard:\n      min: \"1.33\"\n      max: \"1.36\"\n") || text.contains("'1.33'"),
        "{text}"
    );
}

fn any_range<V: Version + 'static>(longest: usize) -> impl Strategy<Value = Range<V>> {
    let line = prop::collection::vec(0..40u32, 1..=longest).prop_map(|numbers| End::At(Line::new(&numbers)));
    let end = || prop_oneof![2 => line.clone().boxed(), 1 => Just(End::Open).boxed()];
    (end(), end())
        .prop_map(|(from, to)| Range { from, to })
        .prop_filter("a range holds something", |range| !range.is_inverted())
}

/// Texts that YAML reads as something else unless they are quoted, and others.
fn any_words() -> impl Strategy<Value = String> {
    const TRICKY: &[&str] = &[
        "no",
        "1.30",
        "~",
        "null",
        "- a",
        "a: b",
        "#a",
        "*a",
        "&a",
        "!a",
        "{}",
        "[]",
        "'",
        "\"",
        "2026-08-31",
        "<<",
        "0644",
        "%",
        "a #b",
        "\\n",
        "é 中 🎉",
        "|",
        ">",
        "? a",
        "@a",
        "`",
        "=",
        ".inf",
        "1e3",
        "a:",
        ":a",
        ",",
        "---",
        "...",
    ];
    prop_oneof![
        prop::sample::select(TRICKY).prop_map(str::to_owned),
        "[^\\p{Cc}\\p{Z}]([^\\p{Cc}]{0,120}[^\\p{Cc}\\p{Z}])?",
    ]
    .prop_filter("blanks around a text are no part of it", |text| text.trim() == text)
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let grade = prop::sample::select(vec![Grade::Stated, Grade::Inferred, Grade::Documented, Grade::Tested]);
    prop_oneof![
        Just(stated()),
        (grade, any_words()).prop_map(|(grade, reference)| Evidence { grade, reference })
    ]
}

fn any_bound<V: Version + 'static>() -> impl Strategy<Value = Bound<V>> {
    (any_range(4), any_evidence()).prop_map(|(range, evidence)| Bound { range, evidence })
}

fn any_bounds<V: Version + 'static>() -> impl Strategy<Value = Bounds<V>> {
    (any_bound(), prop::option::of(any_bound())).prop_map(
        |(hard, recommended): (Bound<V>, Option<Bound<V>>)| {
            let within = |it: &Bound<V>| Span::of(&hard.range).holds(&Span::of(&it.range));
            let recommended = recommended.filter(within);
            Bounds { hard, recommended }
        },
    )
}

fn any_caution() -> impl Strategy<Value = Caution> {
    (
        any_range::<KubernetesVersion>(3),
        any_range::<VsphereVersion>(4),
        prop::option::of(any_range(3)),
        any_words(),
    )
        .prop_map(|(kubernetes, vsphere, leaving, text)| Caution { kubernetes, vsphere, leaving, text })
}

fn any_marks() -> impl Strategy<Value = Marks> {
    let day = (1970..2100u32, 1..=12u32, 1..=28u32).prop_map(|(y, m, d)| format!("{y}-{m:02}-{d:02}"));
    (
        prop::bool::ANY,
        prop::option::of(any_words()),
        prop::option::of(day),
        prop::collection::vec(any_caution(), 0..3),
    )
        .prop_map(|(candidate, known_bad, end_of_support, cautions)| Marks {
            channel: if candidate { Channel::Candidate } else { Channel::Stable },
            known_bad,
            end_of_support,
            cautions,
        })
}

fn any_row() -> impl Strategy<Value = Row> {
    const RELEASES: &[&str] =
        &["3.7.0", "3.8.0", "1.36.0", "4.0.0", "3.9.0-rc.1", "2.1.0.5", "1.37.0-alpha.1.4"];
    (
        (prop::bool::ANY, prop::sample::select(RELEASES), any_range(3), prop::bool::ANY),
        (any_bounds(), any_bounds(), prop::option::of(any_bounds())),
        (any_marks(), prop::option::of(any_words()), prop::collection::vec(any_words(), 0..3)),
    )
        .prop_map(
            |(
                (cpi, release, upgrades_from, needed),
                (kubernetes, vsphere, esxi),
                (marks, source, images),
            )| {
                let driver = if cpi { Driver::Cpi } else { Driver::Csi };
                let release = release.parse().unwrap();
                let is_built = builtin::renders(driver, release);
                Row {
                    driver,
                    release,
                    kubernetes,
                    vsphere,
                    esxi,
                    upgrades_from,
                    needs_cpi: !cpi && needed,
                    rendering: if is_built { Rendering::BuiltIn } else { Rendering::Bundle },
                    marks,
                    source,
                    images,
                    deployment_path: Vec::new(),
                }
            },
        )
}

fn any_matrix() -> impl Strategy<Value = Matrix> {
    (prop::option::of(any::<u64>()), prop::collection::vec(any_row(), 1..6)).prop_map(|(serial, mut rows)| {
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert((row.driver, row.release)));
        Matrix { source: Source::Url, serial, digest: String::new(), rows }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(matrix in any_matrix()) {
        let text = write(&matrix);
        match parse(Source::Url, &text) {
            Ok(parsed) => {
                let digest = parsed.matrix.digest.clone();
                prop_assert_eq!(parsed.matrix, Matrix { digest, ..matrix });
            }
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = parse(Source::Url, &text);
    }

    #[test]
    fn no_damage_to_a_good_matrix_makes_the_reader_panic(
        at in 0..FULL.len(), with in "[\\[\\]{}\":,&*!|>#'%@`\n\t 0-9a-z.-]{0,4}", drop in 0..40usize,
    ) {
        let end = (at + drop).min(FULL.len());
        let damaged = format!("{}{with}{}", &FULL[..at], &FULL[end..]);
        if let Ok(parsed) = parse(Source::Url, &damaged) {
            prop_assert!(!parsed.matrix.rows.is_empty());
            for row in &parsed.matrix.rows {
                let ranges = [row.kubernetes.hard.range, row.kubernetes.window().range];
                prop_assert!(ranges.iter().all(|range| !range.is_inverted()));
            }
        }
    }
}
