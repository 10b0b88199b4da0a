//! How an answer looks: how wide it is, and in colour or not. Pure.

use crate::args::Colour;

/// Where something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A person sees it while it is made.
    Terminal,
    /// A file, a pipe, another program.
    Elsewhere,
}

/// How it looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The longest line, in characters.
    pub width: usize,
    /// In colour or not.
    pub paint: Paint,
}

impl Look {
    /// Without colour.
    pub fn plain(width: usize) -> Look {
        Look { width, paint: Paint::Plain }
    }
}

/// In colour or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// With the codes that a terminal understands.
    Coloured,
    /// As it is.
    Plain,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Good,
    /// It takes time, or somebody decides.
    Waiting,
    /// It needs somebody.
    Bad,
    /// What a person looks for first.
    Head,
    /// No colour.
    None,
}

impl Paint {
    /// What was asked for; else colour only where a person sees it, who has not said otherwise.
    pub fn decide(wish: Colour, surface: Surface, said: &Environment) -> Paint {
        let unwanted = said.no_color.as_deref().is_some_and(|it| !it.is_empty());
        match (wish, surface) {
            (Colour::Always, _) => Paint::Coloured,
            (Colour::Auto, Surface::Terminal) if !unwanted && said.term.as_deref() != Some("dumb") => {
                Paint::Coloured
            }
            (Colour::Auto | Colour::Never, _) => Paint::Plain,
        }
    }

    /// The text in the colour of the mark.
    pub fn mark(self, mark: Mark, text: &str) -> String {
        let code = match mark {
            Mark::Good => "32",
            Mark::Waiting => "33",
            Mark::Bad => "31",
            Mark::Head => "1",
            Mark::None => return text.to_owned(),
        };
        match self {
            Paint::Coloured if !text.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Paint::Coloured | Paint::Plain => text.to_owned(),
        }
    }
}

/// What the environment says about colours.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NO_COLOR`; anything but nothing means no colour (no-color.org).
    pub no_color: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_people_who_have_not_said_otherwise() {
        let said = |no_color: Option<&str>, term: Option<&str>| Environment {
            no_color: no_color.map(str::to_owned),
            term: term.map(str::to_owned),
        };
        let xterm = Some("xterm");
        for (wish, surface, environment, expected) in [
            (Colour::Auto, Surface::Terminal, said(None, xterm), Paint::Coloured),
            (Colour::Auto, Surface::Terminal, said(Some(""), xterm), Paint::Coloured),
            (Colour::Auto, Surface::Terminal, said(Some("1"), xterm), Paint::Plain),
            (Colour::Auto, Surface::Terminal, said(None, Some("dumb")), Paint::Plain),
            (Colour::Auto, Surface::Elsewhere, said(None, xterm), Paint::Plain),
            (Colour::Always, Surface::Elsewhere, said(Some("1"), xterm), Paint::Coloured),
            (Colour::Never, Surface::Terminal, said(None, xterm), Paint::Plain),
        ] {
            assert_eq!(
                Paint::decide(wish, surface, &environment),
                expected,
                "{wish:?} {surface:?} {environment:?}"
            );
        }
    }

    #[test]
    fn nothing_is_painted_where_nothing_stands() {
        assert_eq!(Paint::Coloured.mark(Mark::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(Paint::Coloured.mark(Mark::Bad, ""), "");
        assert_eq!(Paint::Coloured.mark(Mark::None, "no"), "no");
        assert_eq!(Paint::Plain.mark(Mark::Bad, "no"), "no");
    }
}
