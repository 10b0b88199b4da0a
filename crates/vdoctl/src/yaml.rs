//! YAML as kubectl reads it, in and out.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

/// The objects of a text, as [`vdo_matrix::objects`] reads them.
pub fn read(text: &str) -> Result<Vec<Value>> {
    vdo_matrix::objects(text, 250_000, 16 * 1024 * 1024).context("this is not the YAML of objects")
}

/// A value as one document. A string that a reader could take for something else is quoted.
pub fn write(value: &impl Serialize) -> Result<String> {
    // A folded text would be the same for a parser, but not for a person.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 1_000_000 };
    serde_saphyr::to_string_with_options(value, options).context("failed to write YAML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every one of them is a string here, and something else for one reader of YAML or another.
    const TRICKY: [&str; 40] = [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "n",
        "true",
        "False",
        "null",
        "~",
        "",
        "0644",
        "0o17",
        "0x1F",
        "0b1",
        "1",
        "-1",
        "+1",
        "1_000",
        "1.5",
        ".5",
        "1e3",
        ".inf",
        ".NaN",
        "1:30",
        "2001-01-01",
        "<<",
        "=",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "*a",
        "&a",
        "!a",
        "@a",
        "%a",
        " a ",
        "{}",
        "[]",
    ];

    #[test]
    fn a_string_stays_a_string_in_a_value_and_in_a_key() {
        for text in TRICKY {
            let value = json!({ "v": text, "list": [text], "map": { text: 1 } });
            let written = write(&value).unwrap();
            assert_eq!(read(&written).unwrap(), [value], "{written}");
            let bare = written.lines().any(|line| line == format!("v: {text}"));
            assert!(!bare, "{text:?} is not quoted: {written}");
        }
    }

    #[test]
    fn long_texts_lines_and_characters_come_back_as_they_were() {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", "QUJD ".repeat(40));
        for text in
            [pem.as_str(), "a\n\n\nb", "  a\nb", "\n", "a\n\n", "tab\tquote\"'\\ é \u{1}", &"w ".repeat(300)]
        {
            let value = json!({ "v": { "w": [text] } });
            assert_eq!(read(&write(&value).unwrap()).unwrap(), [value]);
        }
    }

    #[test]
    fn empty_things_numbers_and_words_keep_their_type() {
        let value = json!({ "a": {}, "b": [], "c": true, "d": null, "e": 420, "f": [{ "g": [] }, {}] });
        assert_eq!(read(&write(&value).unwrap()).unwrap(), [value]);
        assert_eq!(read("mode: 0644\n").unwrap(), [json!({ "mode": 420 })]);
    }

    #[test]
    fn an_error_shows_nothing_of_the_text() {
        for text in [
            "password: hunter2\n bad: x",
            "password: \"hunter2",
            "password: 'hunter2'x",
            "{password: hunter2",
            "password: hunter2\npassword: hunter2",
            "password: *hunter2",
            "password: !!int hunter2",
            "password: [hunter2}",
        ] {
            let said = format!("{:#}", read(text).unwrap_err());
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
