use super::*;

fn said(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn json_and_yaml_of_one_meaning_are_one_tree() {
    let json = "{\"a\": [\"1.30\", 1.30, 7, -7, true, null, {}], \"b\": \"x\"}";
    let yaml = "# a comment\na:\n- \"1.30\"\n- 1.30\n- 7\n- -7\n- true\n- ~\n- {}\nb: x\n";
    assert_eq!(read(json).unwrap(), read(yaml).unwrap());
    for same in [
        format!("\u{feff}{yaml}"),
        yaml.replace('\n', "\r\n"),
        format!("--- \n{yaml}"),
        format!("\n\n{yaml}...\n"),
        format!("\u{feff} {json}"),
    ] {
        assert_eq!(read(&same).unwrap(), read(yaml).unwrap(), "{same:?}");
    }
}

#[test]
fn what_one_reader_takes_for_a_text_and_another_for_something_else_is_no_text() {
    for number in ["1.30", "0644", "0o17", "0x1F", "0b1", "1_000", "1e3", ".inf", ".NaN", "-1", "8.0", "010"]
    {
        let Node::Map(fields) = read(&format!("a: {number}\n")).unwrap() else { panic!("no map") };
        assert_eq!(fields[0].1.kind(), "a number", "{number}");
    }
    for flag in ["yes", "No", "on", "OFF", "true"] {
        let Node::Map(fields) = read(&format!("a: {flag}\n")).unwrap() else { panic!("no map") };
        assert_eq!(fields[0].1.kind(), "true or false", "{flag}");
    }
    for text in ["3.7.0", "2026-08-31", "\"1.30\"", "'no'", "v1", "!!str 1.30"] {
        let Node::Map(fields) = read(&format!("a: {text}\n")).unwrap() else { panic!("no map") };
        assert_eq!(fields[0].1.kind(), "a text", "{text}");
    }
}

#[test]
fn a_name_that_comes_twice_is_told_at_its_second_place() {
    for text in ["a: 1\na: 2\n", "{\"a\": 1, \"a\": 2}", "a: 1\n\"a\": 2\n"] {
        let refusal = read(text).unwrap().fields(&Pointer::Root).unwrap_err();
        assert_eq!(Error::from(refusal).to_string(), "/a stands there a second time", "{text}");
    }
}

#[test]
fn what_cannot_be_read_says_where() {
    assert_eq!(
        said("{\"CSI\": {\n  \"3.7.0\": {,}}}"),
        "the matrix is not JSON: key must be a string in line 2, column 13"
    );
    for (text, position) in [("a:\n\t- b\n", (2, 2)), ("a: [1\nb: 2\n", (2, 2)), ("a: \"x\n", (1, 4))] {
        let error = read(text).unwrap_err();
        let Error::Syntax { syntax: Syntax::Yaml, position: Some(at), .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((at.line, at.column), position, "{text:?}: {error}");
    }
}

#[test]
fn what_makes_a_short_yaml_long_is_refused_by_name() {
    let no_anchors =
        "the matrix is not YAML: a matrix has no anchors and no aliases, write out each value in line 1";
    for text in ["a: &x 1\n", "a: &x 1\nb: *x\n", "a: &x [1]\nb:\n  <<: *x\n"] {
        assert!(said(text).starts_with(no_anchors), "{text}: {}", said(text));
    }
    let merged =
        "the matrix is not YAML: a matrix has no merge keys, write out each value in line 2, column 3";
    assert_eq!(said("a:\n  <<: {b: 1}\n"), merged);
    for tag in ["!!python/object:os.system x", "!include /etc/shadow", "!x {}"] {
        assert!(said(&format!("a: {tag}\n")).contains("unsupported tag"), "{tag}");
    }
    assert!(
        said("a: 1\n---\na: 1\n").starts_with("the matrix is not YAML: "),
        "{}",
        said("a: 1\n---\nb: 1\n")
    );
    let deep = format!("a: {}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(said(&deep).starts_with("the matrix is not YAML: "), "{}", said(&deep));
    assert!(read(&format!("a: {}{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1))).is_ok());
}

#[test]
fn what_is_too_large_is_refused_unread() {
    let large = " ".repeat(MAX_BYTES + 1);
    assert_eq!(read(&large), Err(Error::TooLarge { bytes: MAX_BYTES + 1 }));
    for many in [format!("{{\"a\": [{}0]}}", "0,".repeat(MAX_VALUES)), "- 0\n".repeat(MAX_VALUES)] {
        assert_eq!(read(&many), Err(Error::TooManyRows));
    }
    assert!(read(&"- 0\n".repeat(MAX_VALUES - 2)).is_ok());
}

#[test]
fn what_says_nothing_is_empty() {
    for empty in ["", "  \n", "\u{feff}", "# only a comment\n", "---\n", "null", "~"] {
        assert_eq!(read(empty), Err(Error::Empty), "{empty:?}");
    }
}

#[test]
fn a_long_text_is_not_repeated_in_a_message() {
    let long = "x".repeat(100_000);
    for text in [format!("{{{long}}}"), format!("a: !{long} b\n"), format!("a: *{long}\n")] {
        assert!(said(&text).chars().count() < 300, "{}", said(&text));
    }
}
