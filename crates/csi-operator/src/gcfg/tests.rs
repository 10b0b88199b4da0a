use super::*;
use proptest::prelude::*;

fn written(label: &str, value: &str) -> String {
    let mut writer = Writer::default();
    writer.section("Global");
    writer.word("cluster-id", "c-1");
    writer.subsection("VirtualCenter", &Text::new(label).unwrap());
    writer.entry("password", &Text::new(value).unwrap());
    writer.word("insecure-flag", "false");
    writer.finish().expose_secret().to_owned()
}

fn read_back(label: &str, value: &str) -> (Option<String>, Option<String>) {
    let document = parse(&written(label, value)).unwrap();
    (
        document.value("VirtualCenter", label, "password").map(str::to_owned),
        document.value("VirtualCenter", label, "insecure-flag").map(str::to_owned),
    )
}

#[test]
fn every_printable_ascii_character_is_read_back() {
    let all: String = (' '..='~').collect();
    assert_eq!(read_back("vc.example.com", &all), (Some(all.clone()), Some("false".into())));
    for c in ' '..='~' {
        for value in [c.to_string(), format!("a{c}"), format!("{c}a"), format!("{c}{c}"), format!("\\{c}\"")]
        {
            assert_eq!(read_back("vc", &value), (Some(value.clone()), Some("false".into())), "{value:?}");
        }
    }
}

#[test]
fn what_cannot_be_carried_is_refused() {
    assert_eq!(Text::new("a\nb").unwrap_err(), Unrepresentable::LineBreak);
    assert_eq!(Text::new("a\r").unwrap_err(), Unrepresentable::LineBreak);
    assert_eq!(Text::new("a\0").unwrap_err(), Unrepresentable::Nul);
    assert_eq!(Text::new("a\u{1b}").unwrap_err(), Unrepresentable::Control(0x1b));
}

#[test]
fn debug_shows_no_value() {
    assert!(!format!("{:?}", Text::new("hunter2").unwrap()).contains("hunter2"));
}

#[test]
fn the_reader_follows_the_driver_where_the_writer_never_goes() {
    let text = "; comment\r\n[global]\r\nCluster-ID = mine ; not this\nport = \"4\"43\n\
                [VirtualCenter \"A\\\"b\"] # x\nuser = a\\\"b\nblank\ncontinued = a\\\nb\n";
    let document = parse(text).unwrap();
    assert_eq!(document.cluster_id(), Some("mine"));
    assert_eq!(document.value("GLOBAL", "", "port"), Some("443"));
    assert_eq!(document.labels("virtualcenter"), ["A\"b"]);
    assert_eq!(document.value("VirtualCenter", "A\"b", "user"), Some("a\"b"));
    assert_eq!(document.value("VirtualCenter", "A\"b", "blank"), None);
    assert_eq!(document.value("VirtualCenter", "A\"b", "continued"), Some("ab"));
}

#[test]
fn the_reader_stops_where_the_driver_stops() {
    for (text, fault) in [
        ("[Global]\nuser = \"a\nb\"\n", "text without closing quote"),
        ("[Global]\nuser = \"a\\;b\"\n", "unknown escape in a value"),
        ("[Global]\nuser = DOMAIN\\user\n", "unknown escape in a value"),
        ("[VirtualCenter \"\"]\n", "empty section label"),
        ("[VirtualCenter \"a\\n\"]\n", "unknown escape in a section label"),
        ("user = a\n", "expected a section"),
        ("\u{feff}[Global]\n", "expected a section or a key"),
        ("[Global] user = a\n", "expected the end of the line"),
        ("[Global]\nuser: a\n", "expected ="),
        ("[Global]\nuser = a\0\n", "NUL character"),
    ] {
        assert_eq!(parse(text).unwrap_err().fault, fault, "{text:?}");
    }
}

#[test]
fn the_last_value_of_a_key_counts() {
    assert_eq!(parse("[Global]\ncluster-id=a\n[global]\ncluster-id=b\n").unwrap().cluster_id(), Some("b"));
}

proptest! {
    #[test]
    fn any_text_that_is_accepted_is_read_back(label in "[^\\p{Cc}]{1,40}", value in "[^\\p{Cc}\\t]{0,80}|[ -~\t]{0,80}") {
        prop_assert_eq!(read_back(&label, &value), (Some(value), Some("false".to_owned())));
    }

    #[test]
    fn text_is_accepted_or_refused_but_never_changed(value in any::<String>()) {
        if let Ok(text) = Text::new(&value) {
            prop_assert_eq!(text.expose(), value.as_str());
            prop_assert_eq!(read_back("vc", &value).0, Some(value));
        } else {
            prop_assert!(value.chars().any(char::is_control));
        }
    }

    #[test]
    fn reading_never_panics(text in any::<String>()) {
        let _ = parse(&text);
    }
}
