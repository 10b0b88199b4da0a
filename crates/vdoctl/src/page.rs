//! Lines that keep to a width, for people to read from top to bottom. Pure.

use crate::look::{Look, Mark};

/// Where the texts begin; the names before them are shorter.
const INDENT: usize = 10;
/// A screen narrower than this is taken as this wide.
const NARROWEST: usize = 40;

/// Lines of a width, one below the other.
pub struct Page {
    look: Look,
    out: String,
}

impl Page {
    /// An empty one.
    pub fn new(look: Look) -> Page {
        Page { look: Look { width: look.width.max(NARROWEST), ..look }, out: String::new() }
    }

    /// What stands on it.
    pub fn text(self) -> String {
        self.out
    }

    /// One empty line, and never two.
    pub fn gap(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// A text whose first words, up to a colon, say it all.
    pub fn head(&mut self, mark: Mark, text: &str) {
        let name = text.split_inclusive(": ").next().unwrap_or_default();
        let name = if name.len() < text.len() { name.trim_end_matches(": ") } else { text };
        self.wrap(mark, name.chars().count().min(NARROWEST), text, 0, "");
    }

    /// A name, and a text that begins where all of them do.
    pub fn row(&mut self, mark: Mark, name: &str, text: &str) {
        self.item(mark, &format!("{name:<INDENT$}"), text);
    }

    /// A name of any length, and a text that stays right of it.
    pub fn item(&mut self, mark: Mark, name: &str, text: &str) {
        let width = name.chars().count();
        self.wrap(mark, name.trim_end().chars().count(), &format!("{name}{text}"), width, &" ".repeat(width));
    }

    /// The first `marked` characters are painted: what is painted is never broken, and counts no more than it shows.
    fn wrap(&mut self, mark: Mark, marked: usize, text: &str, keep: usize, indent: &str) {
        let mut lines = String::new();
        wrap(text, keep, indent, self.look.width, &mut lines);
        let end = lines.char_indices().nth(marked).map_or(lines.len(), |(at, _)| at);
        let (head, rest) = lines.split_at(end);
        let mark = if head.contains('\n') { Mark::None } else { mark };
        self.out.push_str(&self.look.paint.mark(mark, head));
        self.out.push_str(rest);
    }
}

/// A text as it may be shown: a server could steer a terminal with control characters.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Breaks at blanks, never before `keep`, and begins each further line with `indent`. A word that is longer than a
/// line, as a command to copy may be, stays whole.
fn wrap(text: &str, keep: usize, indent: &str, width: usize, out: &mut String) {
    for (number, paragraph) in text.lines().enumerate() {
        let (head, rest) = match number {
            0 => paragraph.split_at(paragraph.char_indices().nth(keep).map_or(paragraph.len(), |(at, _)| at)),
            _ => (indent, paragraph),
        };
        let mut line = shown(head);
        let mut is_begun = false;
        for word in rest.split_whitespace() {
            if is_begun && line.chars().count() + 1 + word.chars().count() > width {
                out.push_str(line.trim_end());
                out.push('\n');
                line = indent.to_owned();
                is_begun = false;
            }
            if is_begun {
                line.push(' ');
            }
            line.push_str(&shown(word));
            is_begun = true;
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Paint;

    fn row(look: Look, name: &str, text: &str) -> String {
        let mut page = Page::new(look);
        page.row(Mark::Bad, name, text);
        page.text()
    }

    #[test]
    fn lines_keep_to_the_width_and_long_words_stay_whole() {
        let text = "one two three four five six https://a.very.long.address.example.com/path seven";
        let expected = "Name      one two three four five six\n          \
            https://a.very.long.address.example.com/path\n          seven\n";
        assert_eq!(row(Look::plain(40), "Name", text), expected);
        let painted = row(Look { width: 40, paint: Paint::Coloured }, "Name", text);
        assert_eq!(painted, expected.replacen("Name", "\u{1b}[31mName\u{1b}[0m", 1));
    }

    #[test]
    fn a_terminal_is_not_steered_by_what_a_server_says() {
        assert!(!row(Look::plain(80), "x", "a\u{1b}[31mred").contains('\u{1b}'));
    }
}
