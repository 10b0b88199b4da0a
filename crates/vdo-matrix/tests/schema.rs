//! The published schema says the same as the reader.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::string::string_regex;
use regex::Regex;
use serde_json::{Value, json};
use vdo_compat::{Source, builtin};
use vdo_matrix::{Error, Fault, Remark, parse, schema, write};

/// The keywords of JSON Schema that ours has. Another one is an error of this test, not passed over.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(keywords) = schema else { return schema.as_bool().unwrap() };
    let number = |it: &Value| it.as_u64().unwrap();
    let length = |text: &str| u64::try_from(text.chars().count()).unwrap();
    let count = |list: &[Value]| u64::try_from(list.len()).unwrap();
    keywords.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
        "$ref" => {
            let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
            accepts(root, target, value)
        }
        "type" => match rule.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64(),
            other => panic!("type {other}"),
        },
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_u64().is_none_or(|it| it >= number(rule)),
        "maximum" => value.as_u64().is_none_or(|it| it <= number(rule)),
        "minLength" => value.as_str().is_none_or(|it| length(it) >= number(rule)),
        "maxLength" => value.as_str().is_none_or(|it| length(it) <= number(rule)),
        "pattern" => value.as_str().is_none_or(|it| Regex::new(rule.as_str().unwrap()).unwrap().is_match(it)),
        "minItems" => value.as_array().is_none_or(|it| count(it) >= number(rule)),
        "maxItems" => value.as_array().is_none_or(|it| count(it) <= number(rule)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| accepts(root, rule, item))),
        "required" => value.as_object().is_none_or(|fields| {
            rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|fields| {
            fields.iter().all(|(name, field)| rule.get(name).is_none_or(|rule| accepts(root, rule, field)))
        }),
        "additionalProperties" => {
            assert_eq!(*rule, json!(false));
            let known = keywords["properties"].as_object().unwrap();
            value.as_object().is_none_or(|fields| fields.keys().all(|name| known.contains_key(name)))
        }
        "anyOf" => rule.as_array().unwrap().iter().any(|way| accepts(root, way, value)),
        "oneOf" => rule.as_array().unwrap().iter().filter(|way| accepts(root, way, value)).count() == 1,
        other => panic!("the keyword {other}"),
    })
}

fn is_accepted(value: &Value) -> bool {
    let schema = schema();
    accepts(&schema, &schema, value)
}

fn is_read(value: &Value) -> bool {
    parse(Source::Url, &value.to_string())
        .is_ok_and(|parsed| parsed.notes.iter().all(|note| note.remark != Remark::UnknownField))
}

fn full() -> Value {
    json!({
        "schemaVersion": 1,
        "serial": 7,
        "rows": [
            {
                "driver": "CSI",
                "release": "3.7.0",
                "source": "https://example.org",
                "kubernetes": {
                    "hard": {"min": "1.27", "evidence": {"grade": "inferred", "reference": "https://example.org"}},
                    "recommended": {"min": "1.33", "max": "1.35"},
                },
                "vsphere": {"hard": {"min": "7.0"}},
                "esxi": {"recommended": {"min": "7.0"}},
                "upgradesFrom": {"min": "2.3"},
                "needsCPI": true,
                "images": ["registry.k8s.io/csi-vsphere/driver:v3.7.0"],
                "channel": "candidate",
                "endOfSupport": "2026-08-31",
                "knownBad": "it loses volumes",
                "cautions": [{"kubernetes": {"min": "1.34"}, "vsphere": {"max": "7"}, "leaving": {}, "text": "try it"}],
            },
            {"driver": "CPI", "release": "v1.36.0-rc.1", "kubernetes": {"min": "1.36"}, "vsphere": {"hard": {}}},
        ],
    })
}

/// The example with the value at a pointer set, or taken out.
fn with(pointer: &str, value: Option<Value>) -> Value {
    let mut document = full();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(fields), Some(value)) => {
            fields.insert(name.to_owned(), value);
        }
        (Value::Object(fields), None) => {
            fields.remove(name).unwrap();
        }
        (Value::Array(items), Some(value)) => items[name.parse::<usize>().unwrap()] = value,
        (parent, value) => panic!("{pointer}: {parent} {value:?}"),
    }
    document
}

#[test]
fn what_is_read_is_accepted() {
    let original: Value = serde_saphyr::from_str(&write(builtin::matrix())).unwrap();
    let least =
        json!({"driver": "CSI", "release": "3.7.0", "kubernetes": {"hard": {}}, "vsphere": {"max": "8.0"}});
    let bare = json!({"min": "1", "evidence": {"grade": "stated", "reference": "me"}});
    for good in [
        full(),
        original,
        with("/rows/0", Some(least)),
        with("/rows/0/kubernetes", Some(bare)),
        with("/serial", None),
        with("/rows/0/images", Some(json!([]))),
        with("/rows/0/needsCPI", Some(json!(false))),
    ] {
        assert!(is_read(&good), "{good}");
        assert!(is_accepted(&good), "{good}");
    }
}

#[test]
fn what_is_refused_for_its_shape_is_not_accepted() {
    let long = "x".repeat(5_000);
    for (pointer, value) in [
        ("/schemaVersion", None),
        ("/schemaVersion", Some(json!(2))),
        ("/schemaVersion", Some(json!(0))),
        ("/schemaVersion", Some(json!("1"))),
        ("/serial", Some(json!(-1))),
        ("/serial", Some(json!(null))),
        ("/rows", None),
        ("/rows", Some(json!([]))),
        ("/rows", Some(json!({}))),
        ("/rows", Some(json!(vec![full()["rows"][0].clone(); 2_001]))),
        ("/row", Some(json!([]))),
        ("/rows/0", Some(json!("CSI 3.7.0"))),
        ("/rows/0/driver", None),
        ("/rows/0/driver", Some(json!("csi"))),
        ("/rows/0/release", None),
        ("/rows/0/release", Some(json!(3.7))),
        ("/rows/0/release", Some(json!("newest"))),
        ("/rows/0/release", Some(json!("3"))),
        ("/rows/0/source", Some(json!(""))),
        ("/rows/0/source", Some(json!(long))),
        ("/rows/0/kubernetes", None),
        ("/rows/0/kubernetes", Some(json!({}))),
        ("/rows/0/kubernetes", Some(json!({"evidence": {"grade": "stated", "reference": "me"}}))),
        ("/rows/0/kubernetes/min", Some(json!("1.30"))),
        ("/rows/0/kubernetes/evidence", Some(json!({"grade": "stated", "reference": "me"}))),
        ("/rows/0/kubernetes/hard", Some(json!(null))),
        ("/rows/0/kubernetes/hard/min", Some(json!(1.3))),
        ("/rows/0/kubernetes/hard/min", Some(json!("latest"))),
        ("/rows/0/kubernetes/hard/min", Some(json!("1.2.3.4.5"))),
        ("/rows/0/kubernetes/hard/least", Some(json!("1.30"))),
        ("/rows/0/kubernetes/hard/evidence/grade", Some(json!("known"))),
        ("/rows/0/kubernetes/hard/evidence/grade", None),
        ("/rows/0/kubernetes/hard/evidence/reference", None),
        ("/rows/0/kubernetes/hard/evidence/reference", Some(json!(""))),
        ("/rows/0/vsphere", None),
        ("/rows/0/esx", Some(json!({"hard": {}}))),
        ("/rows/0/esxi", Some(json!(null))),
        ("/rows/0/upgradesFrom", Some(json!("2.3"))),
        ("/rows/0/upgradesFrom/evidence", Some(json!({}))),
        ("/rows/0/needsCPI", Some(json!("yes"))),
        ("/rows/0/images", Some(json!("a"))),
        ("/rows/0/images", Some(json!(vec!["a"; 33]))),
        ("/rows/0/images/0", Some(json!(""))),
        ("/rows/0/channel", Some(json!("Stable"))),
        ("/rows/0/endOfSupport", Some(json!("soon"))),
        ("/rows/0/endOfSupport", Some(json!("2026-13-01"))),
        ("/rows/0/knownBad", Some(json!(true))),
        ("/rows/0/knownBad", Some(json!(""))),
        ("/rows/0/knownBad", Some(json!("x".repeat(513)))),
        ("/rows/0/cautions", Some(json!([{}]))),
        ("/rows/0/cautions", Some(json!(vec![json!({"text": "a"}); 33]))),
        ("/rows/0/cautions/0/text", Some(json!(""))),
        ("/rows/0/cautions/0/kubernetes", Some(json!("1.30"))),
        ("/rows/0/cautions/0/release", Some(json!("3.7.0"))),
    ] {
        let bad = with(pointer, value);
        assert!(!is_read(&bad), "{pointer}: {bad:.300}");
        assert!(!is_accepted(&bad), "{pointer}: {bad:.300}");
    }
}

/// What no schema can say is left to the reader, and to `vdoctl matrix lint`.
#[test]
fn only_what_values_say_to_each_other_is_accepted_and_not_read() {
    for (pointer, value, fault) in [
        ("/rows/0/kubernetes/hard/max", json!("1.26"), Fault::Inverted),
        ("/rows/0/endOfSupport", json!("2026-02-30"), Fault::Day("2026-02-30".into())),
        ("/rows/0/knownBad", json!(" "), Fault::Nothing),
        ("/rows/0/knownBad", json!("a\nb"), Fault::Control),
        ("/rows/1/needsCPI", json!(false), Fault::Misplaced { only: "CSI" }),
        ("/rows/1", full()["rows"][0].clone(), Fault::Twice("CSI 3.7.0".into())),
    ] {
        let document = with(pointer, Some(value));
        assert!(is_accepted(&document), "{pointer}");
        let error = parse(Source::Url, &document.to_string()).unwrap_err();
        assert!(
            matches!(&error, Error::Invalid { fault: found, .. } if *found == fault),
            "{pointer}: {error}"
        );
    }
}

/// The texts that a pattern of the schema holds.
fn texts_of(pointer: &str) -> impl Strategy<Value = String> + use<> {
    let schema = schema();
    let pattern = schema.pointer(pointer).unwrap()["pattern"].as_str().unwrap();
    string_regex(pattern.trim_matches(['^', '$'])).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_version_that_the_schema_accepts_is_read(
        line in texts_of("/$defs/Bound/properties/min"),
        release in texts_of("/$defs/Row/properties/release"),
    ) {
        let bounds = json!({"min": line});
        let row = json!({"driver": "CSI", "release": release, "kubernetes": bounds, "vsphere": bounds});
        let document = json!({"schemaVersion": 1, "rows": [row]});
        prop_assert!(is_accepted(&document));
        prop_assert!(is_read(&document), "{document}");
    }
}
