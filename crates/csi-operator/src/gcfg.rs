//! The format of `csi-vsphere.conf`: written so that the driver reads back exactly what was meant.
//!
//! The driver reads it with gcfg (<https://pkg.go.dev/gopkg.in/gcfg.v1>), which looks like an INI file and is not
//! one: only four escapes exist, a wrong one is fatal, and an unknown key is silently ignored. [`parse`] follows the
//! same rules; it reads the configuration of an earlier installation, and proves the writer in tests.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};

mod parse;

pub use parse::{Document, Entry, SyntaxError, parse};

/// Why a text cannot be a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrepresentable {
    /// gcfg drops it from Windows line ends, or ends the line there; we never send half a password.
    #[error("has a line break")]
    LineBreak,
    /// The driver stops at it.
    #[error("has a NUL character")]
    Nul,
    /// Never meant: what is pasted from a terminal.
    #[error("has a control character (U+{0:04X})")]
    Control(u32),
}

/// A text that gcfg can carry. As any of them may be a password, `Debug` shows none.
#[derive(Clone, Debug)]
pub struct Text(SecretString);

impl Text {
    /// The text, unless gcfg cannot carry it.
    pub fn new(text: &str) -> Result<Self, Unrepresentable> {
        match text.chars().find(|c| c.is_control() && *c != '\t') {
            None => Ok(Text(SecretString::from(text))),
            Some('\n' | '\r') => Err(Unrepresentable::LineBreak),
            Some('\0') => Err(Unrepresentable::Nul),
            Some(other) => Err(Unrepresentable::Control(u32::from(other))),
        }
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<u16> for Text {
    fn from(number: u16) -> Self {
        Text(SecretString::from(number.to_string()))
    }
}

/// Writes a configuration, section by section.
#[derive(Default)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// Begins `[name]`.
    pub fn section(&mut self, name: &'static str) {
        self.begin();
        let _ = writeln!(self.text, "[{name}]");
    }

    /// Begins `[name "label"]`. A label has two escapes only; everything else stands for itself.
    pub fn subsection(&mut self, name: &'static str, label: &Text) {
        self.begin();
        let label = label.expose().replace('\\', r"\\").replace('"', r#"\""#);
        let _ = writeln!(self.text, "[{name} \"{label}\"]");
    }

    /// Writes `key = "value"`, always in quotes: outside of them `;`, `#` and blanks change the meaning.
    pub fn entry(&mut self, key: &'static str, value: &Text) {
        let value = value.expose().replace('\\', r"\\").replace('"', r#"\""#).replace('\t', r"\t");
        let _ = writeln!(self.text, "{key} = \"{value}\"");
    }

    /// Begins `[name "number"]`, for sections whose label means nothing.
    pub fn numbered(&mut self, name: &'static str, number: usize) {
        self.begin();
        let _ = writeln!(self.text, "[{name} \"{number}\"]");
    }

    /// Writes values that the driver separates by commas; none of them has one.
    pub fn list(&mut self, key: &'static str, values: &[Text]) {
        let values: Vec<&str> = values.iter().map(Text::expose).collect();
        self.entry(key, &Text(SecretString::from(values.join(","))));
    }

    /// Writes `key = word` for one of the driver's own words.
    pub fn word(&mut self, key: &'static str, word: &'static str) {
        let _ = writeln!(self.text, "{key} = \"{word}\"");
    }

    /// What was written.
    pub fn finish(self) -> SecretString {
        SecretString::from(self.text)
    }

    fn begin(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests;
