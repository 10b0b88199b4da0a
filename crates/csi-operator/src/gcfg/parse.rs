//! Reads the format by the driver's rules.

use std::iter::Peekable;
use std::str::CharIndices;

use super::Text;

/// What a file says: entries in the order in which they stand.
#[derive(Clone, Debug, Default)]
pub struct Document {
    entries: Vec<Entry>,
}

/// One entry of a file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The section, in lower case.
    pub section: String,
    /// The label after the section's name; empty without one. Its case matters.
    pub label: String,
    /// The key, in lower case.
    pub key: String,
    /// The value; `None` for a key without `=`.
    pub value: Option<String>,
}

impl Document {
    /// The value of a key; the last one counts.
    pub fn value(&self, section: &str, label: &str, key: &str) -> Option<&str> {
        let of = |e: &&Entry| e.section.eq_ignore_ascii_case(section) && e.label == label && e.key == key;
        self.entries.iter().rev().find(of).and_then(|entry| entry.value.as_deref())
    }

    /// The labels of a section, each once, in the order in which they first stand.
    pub fn labels(&self, section: &str) -> Vec<&str> {
        let mut labels = Vec::new();
        for entry in self.entries.iter().filter(|e| e.section.eq_ignore_ascii_case(section)) {
            if !labels.contains(&entry.label.as_str()) {
                labels.push(entry.label.as_str());
            }
        }
        labels
    }

    /// The cluster id of an earlier installation, if this is its configuration.
    pub fn cluster_id(&self) -> Option<&str> {
        self.value("global", "", "cluster-id").filter(|id| !id.is_empty())
    }
}

/// Where a file stops making sense. Never says what stands there: it may be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: &'static str,
}

/// Reads a file, or says where the driver would stop reading it.
pub fn parse(text: &str) -> Result<Document, SyntaxError> {
    let mut reader = Reader { chars: text.char_indices().peekable(), line: 1 };
    let mut document = Document::default();
    let mut place: Option<(String, String)> = None;
    if text.contains('\0') {
        return Err(reader.fault("NUL character"));
    }
    loop {
        reader.skip_blanks();
        match reader.peek() {
            None => return Ok(document),
            Some('\n') => reader.step(),
            Some(';' | '#') => reader.skip_comment(),
            Some('[') => place = Some(reader.header()?),
            Some(c) if c.is_alphabetic() => {
                let Some((section, label)) = place.clone() else {
                    return Err(reader.fault("expected a section"));
                };
                let (key, value) = reader.entry()?;
                document.entries.push(Entry { section, label, key, value });
            }
            Some(_) => return Err(reader.fault("expected a section or a key")),
        }
    }
}

struct Reader<'a> {
    chars: Peekable<CharIndices<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn fault(&self, fault: &'static str) -> SyntaxError {
        SyntaxError { line: self.line, fault }
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn step(&mut self) {
        if let Some((_, '\n')) = self.chars.next() {
            self.line += 1;
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r')) {
            self.step();
        }
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.step();
        }
    }

    fn identifier(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || *c == '-') {
            name.push(c);
            self.step();
        }
        name.to_lowercase()
    }

    /// After a header or a value only a comment may follow on the line.
    fn end_of_line(&mut self) -> Result<(), SyntaxError> {
        self.skip_blanks();
        match self.peek() {
            None | Some('\n') => Ok(()),
            Some(';' | '#') => {
                self.skip_comment();
                Ok(())
            }
            Some(_) => Err(self.fault("expected the end of the line")),
        }
    }

    fn header(&mut self) -> Result<(String, String), SyntaxError> {
        self.step();
        self.skip_blanks();
        let name = self.identifier();
        if !name.starts_with(char::is_alphabetic) {
            return Err(self.fault("expected a section name"));
        }
        self.skip_blanks();
        let mut label = String::new();
        if self.peek() == Some('"') {
            self.step();
            loop {
                match self.peek() {
                    None | Some('\n') => return Err(self.fault("text without closing quote")),
                    Some('"') => break self.step(),
                    Some('\\') => {
                        self.step();
                        match self.peek() {
                            Some(c @ ('\\' | '"')) => label.push(c),
                            _ => return Err(self.fault("unknown escape in a section label")),
                        }
                    }
                    Some(c) => label.push(c),
                }
                self.step();
            }
            if label.is_empty() {
                return Err(self.fault("empty section label"));
            }
            self.skip_blanks();
        }
        if self.peek() != Some(']') {
            return Err(self.fault("expected ]"));
        }
        self.step();
        self.end_of_line()?;
        Ok((name, label))
    }

    fn entry(&mut self) -> Result<(String, Option<String>), SyntaxError> {
        let key = self.identifier();
        self.skip_blanks();
        match self.peek() {
            None | Some('\n' | ';' | '#') => {
                self.end_of_line()?;
                return Ok((key, None));
            }
            Some('=') => self.step(),
            Some(_) => return Err(self.fault("expected =")),
        }
        self.skip_blanks();
        let value = self.value()?;
        self.end_of_line()?;
        Ok((key, Some(value)))
    }

    /// A value may be quoted in part; blanks at its end count only inside quotes.
    fn value(&mut self) -> Result<String, SyntaxError> {
        let (mut value, mut kept, mut quoted) = (String::new(), 0, false);
        loop {
            let Some(c) = self.peek() else {
                if quoted {
                    return Err(self.fault("text without closing quote"));
                }
                break;
            };
            match c {
                '\n' if quoted => return Err(self.fault("text without closing quote")),
                '\n' | ';' | '#' if !quoted => break,
                '"' => quoted = !quoted,
                '\\' => {
                    self.step();
                    match self.peek() {
                        Some(c @ ('\\' | '"')) if quoted || c == '"' => value.push(c),
                        Some('n') if quoted => value.push('\n'),
                        Some('t') if quoted => value.push('\t'),
                        Some('\n') if !quoted => {}
                        _ => return Err(self.fault("unknown escape in a value")),
                    }
                }
                '\r' => {}
                c => value.push(c),
            }
            self.step();
            if quoted || !matches!(c, ' ' | '\t' | '\r') {
                kept = value.len();
            }
        }
        value.truncate(kept);
        Ok(value)
    }
}

impl Entry {
    /// The value as one that can be written again.
    pub fn text(&self) -> Option<Text> {
        self.value.as_deref().and_then(|value| Text::new(value).ok())
    }
}
