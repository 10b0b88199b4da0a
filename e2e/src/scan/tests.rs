use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

use super::*;

/// Differs in every escape on both sides of what no escape changes.
const SECRET: &str = r#"é& <"'\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\'"<; >&é"#;
const CORE: &str = "Kx7Qm2Vb9Tz4Rw8Ln3";

fn scanner() -> &'static Scanner {
    static SCANNER: LazyLock<Scanner> = LazyLock::new(|| Scanner::new(&[("the password", SECRET)]).unwrap());
    &SCANNER
}

/// How it was written, as the scanner tells it.
fn told(bytes: impl AsRef<[u8]>) -> Vec<String> {
    scanner().scan("a log", bytes.as_ref()).into_iter().map(|hit| hit.form).collect()
}

#[track_caller]
fn is_told(form: &str, bytes: impl AsRef<[u8]>) {
    let told = told(bytes);
    assert!(told.iter().any(|it| it == form), "{form} is not among {told:?}");
}

#[test]
fn what_programs_are_known_to_write_is_found_as_a_whole() {
    for (form, written) in [
        ("raw", r#"é& <"'\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\'"<; >&é"#),
        ("reversed", r#"é&> ;<"'\%+/3nL8wR4zT9bV2mQ7xK/+%\'"< &é"#),
        ("JSON", r#"é& <\"'\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\'\"<; >&é"#),
        ("JSON for HTML", r#"é\u0026 \u003c\"'\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\'\"\u003c; \u003e\u0026é"#),
        ("upper JSON for HTML", r#"é\u0026 \u003C\"'\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\'\"\u003C; \u003E\u0026é"#),
        ("JSON in ASCII", r#"\u00e9& <\"'\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\'\"<; >&\u00e9"#),
        ("JSON with slashes in ASCII", r#"\u00e9& <\"'\\%+\/Kx7Qm2Vb9Tz4Rw8Ln3\/+%\\'\"<; >&\u00e9"#),
        ("JSON in JSON", r#"é& <\\\"'\\\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\\\'\\\"<; >&é"#),
        (
            "JSON in JSON for HTML",
            r#"é\u0026 \u003c\\\"'\\\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\\\'\\\"\u003c; \u003e\u0026é"#,
        ),
        ("XML", r#"é&amp; &lt;&quot;&apos;\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\&apos;&quot;&lt;; &gt;&amp;é"#),
        ("XML text", r#"é&amp; &lt;"'\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\'"&lt;; &gt;&amp;é"#),
        (
            "XML with quotes as numbers",
            r#"é&amp; &lt;&#34;&#39;\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\&#39;&#34;&lt;; &gt;&amp;é"#,
        ),
        ("XML by numbers", r#"é&#38; &#60;&#34;&#39;\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\&#39;&#34;&#60;; &#62;&#38;é"#),
        (
            "XML by hex",
            r#"é&#x26; &#x3c;&#x22;&#x27;\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\&#x27;&#x22;&#x3c;; &#x3e;&#x26;é"#,
        ),
        ("HTML", r#"é&amp; &lt;&quot;&#x27;\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\&#x27;&quot;&lt;; &gt;&amp;é"#),
        ("URL", "%C3%A9%26%20%3C%22%27%5C%25%2B%2FKx7Qm2Vb9Tz4Rw8Ln3%2F%2B%25%5C%27%22%3C%3B%20%3E%26%C3%A9"),
        (
            "lower URL",
            "%c3%a9%26%20%3c%22%27%5c%25%2b%2fKx7Qm2Vb9Tz4Rw8Ln3%2f%2b%25%5c%27%22%3c%3b%20%3e%26%c3%a9",
        ),
        (
            "URL form",
            "%C3%A9%26+%3C%22%27%5C%25%2B%2FKx7Qm2Vb9Tz4Rw8Ln3%2F%2B%25%5C%27%22%3C%3B+%3E%26%C3%A9",
        ),
        (
            "URL component",
            "%C3%A9%26%20%3C%22'%5C%25%2B%2FKx7Qm2Vb9Tz4Rw8Ln3%2F%2B%25%5C'%22%3C%3B%20%3E%26%C3%A9",
        ),
        (
            "URL path segment",
            "%C3%A9&%20%3C%22%27%5C%25+%2FKx7Qm2Vb9Tz4Rw8Ln3%2F+%25%5C%27%22%3C%3B%20%3E&%C3%A9",
        ),
        ("escaped bytes", r#"\xc3\xa9& <\"\'\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\\'\"<; >&\xc3\xa9"#),
        ("octal", r#"\303\251& <\"'\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\'\"<; >&\303\251"#),
        ("YAML", r#"\xE9& <\"'\\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\\'\"<; >&\xE9"#),
        ("YAML in single quotes", r#"é& <"''\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\''"<; >&é"#),
        ("shell in single quotes", r#"é& <"'\''\%+/Kx7Qm2Vb9Tz4Rw8Ln3/+%\'\''"<; >&é"#),
        ("its letters and digits", "Kx7Qm2Vb9Tz4Rw8Ln3"),
        ("reversed letters and digits", "3nL8wR4zT9bV2mQ7xK"),
        ("hex of its letters and digits", "4b7837516d32566239547a34527738"),
        (
            "numbers of its letters and digits between \", \"",
            "75, 120, 55, 81, 109, 50, 86, 98, 57, 84, 122, 52, 82, 119, 56, 76, 110, 51",
        ),
    ] {
        let whole = if form.starts_with("hex") { format!("{written}4c6e33") } else { written.to_owned() };
        is_told(form, format!("password={whole}, and so on"));
    }
}

#[test]
fn what_serializers_and_debug_print_is_found() {
    let json = serde_json::to_string(SECRET).unwrap();
    is_told("JSON", &json);
    is_told("JSON in JSON", serde_json::to_string(&json).unwrap());
    is_told("JSON", format!("{SECRET:?}"));
    is_told("numbers of its letters and digits between \", \"", format!("{:?}", SECRET.as_bytes()));
    is_told(
        "numbers of its letters and digits between \",\"",
        serde_json::to_string(SECRET.as_bytes()).unwrap(),
    );
    let wide: Vec<u8> = SECRET.encode_utf16().flat_map(u16::to_le_bytes).collect();
    is_told("UTF-16LE of it", wide);
}

#[test]
fn base64_is_found_wherever_it_begins_and_whatever_stands_around_it() {
    for before in 0..7 {
        for after in 0..=3 {
            let around = |inner: &[u8]| [&b"\xffsecret"[..before], inner, &b"\xfe\n\0"[..after]].concat();
            for inner in
                [SECRET.as_bytes(), serde_json::to_string(SECRET).unwrap().as_bytes(), CORE.as_bytes()]
            {
                for encoded in [BASE64_STANDARD.encode(around(inner)), BASE64_URL_SAFE.encode(around(inner))]
                {
                    let found = told(&encoded);
                    let core = |it: &String| it.contains("base64 of its letters and digits, ");
                    assert!(found.iter().any(core), "{before} before, {after} after: {found:?}");
                    // A Secret in a text in a Secret.
                    let twice = told(BASE64_STANDARD.encode(around(encoded.as_bytes())));
                    let inner = |it: &String| it.contains("base64 of that (");
                    assert!(twice.iter().any(inner), "{before} before, {after} after: {twice:?}");
                }
            }
            let whole = told(BASE64_STANDARD.encode(around(SECRET.as_bytes())));
            let form = format!("base64 of raw, {} bytes into a group", before % 3);
            assert!(whole.contains(&form), "{form} is not among {whole:?}");
        }
    }
}

#[test]
fn each_needle_alone_is_found_at_its_place_by_its_name() {
    let scanner = scanner();
    assert!(scanner.count() > 140, "{} forms", scanner.count());
    for needle in &scanner.needles {
        for (before, after) in [(&b""[..], &b""[..]), (b"\x1f\x8b:", b"\""), (&[0; 70], &[0xff; 3])] {
            let bytes = [before, &needle.bytes, after].concat();
            let hits = scanner.scan("a log", &bytes);
            let hit = hits.iter().find(|hit| hit.form == needle.form);
            let hit = hit.unwrap_or_else(|| panic!("{} is not among {hits:?}", needle.form));
            assert_eq!((hit.offset, hit.count), (before.len(), 1), "{hit}");
        }
        // With its last byte changed it is another text.
        let mut other = needle.bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(scanner.scan("", &other).iter().all(|hit| hit.form != needle.form), "{}", needle.form);
    }
}

#[test]
fn nothing_is_found_where_no_password_is() {
    let scanner = scanner();
    let other = SECRET.replace("Rw8", "Rw9");
    for bytes in ["", "K", "Kx7Qm2Vb", &CORE[..CORE.len() - 1], "password", &other] {
        assert_eq!(scanner.scan("a log", bytes.as_bytes()), [], "{bytes}");
    }
    let all: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert_eq!(scanner.scan("a log", &all), []);
}

#[test]
fn a_hit_counts_and_tells_place_and_form_and_nothing_of_the_password() {
    let scanner = Scanner::new(&[("the old one", "0123456789abcdefgh"), ("the new one", SECRET)]).unwrap();
    let hits = scanner.scan("etcd /registry/a", format!("a {SECRET} b {SECRET}").as_bytes());
    let raw = hits.iter().find(|hit| hit.form == "raw").unwrap();
    assert_eq!(raw.to_string(), "etcd /registry/a: the new one as raw, 2 times, first at byte 2");
    let shown: String = hits.iter().map(|hit| format!("{hit} {hit:?}")).collect();
    assert!(scanner.scan("", shown.as_bytes()).is_empty(), "a hit shows what it found");
    assert!(hits.iter().all(|hit| hit.label == "the new one"), "{hits:?}");
}

#[test]
fn it_is_blind_to_nothing_unless_what_is_there_hides_it() {
    let mut scanner = Scanner::new(&[("the password", SECRET)]).unwrap();
    for bytes in [&b""[..], b"x", &[0xff; 1000]] {
        assert_eq!(scanner.blind_to(bytes), [""; 0]);
    }
    scanner.pairs.fill(false);
    assert_eq!(scanner.blind_to(b"").len(), scanner.count());
}

#[test]
fn a_password_that_could_stand_anywhere_by_chance_is_no_canary() {
    for secret in ["", "secret", "a-b-c-d-e-f-g-h-i-j-k-l-m-n", "123456789012345"] {
        assert!(Scanner::new(&[("it", secret)]).is_err());
    }
}
