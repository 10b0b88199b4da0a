//! The terminal that this program was started on, if any.

use std::io::IsTerminal;

use crate::args::Colour;
use crate::look::{Environment, Look, Paint, Surface};

/// How wide a screen is taken to be where there is none.
const USUAL_WIDTH: usize = 80;
/// How many lines fit where that is not known.
const USUAL_HEIGHT: usize = 24;

/// Whether a person sees the answer.
pub fn out() -> Surface {
    surface(std::io::stdout().is_terminal())
}

/// Whether a person sees what is said beside the answer.
pub fn err() -> Surface {
    surface(std::io::stderr().is_terminal())
}

fn surface(is_terminal: bool) -> Surface {
    if is_terminal { Surface::Terminal } else { Surface::Elsewhere }
}

/// How answers look at this moment. Into a file or a pipe, lines are as long as on the usual terminal.
pub fn look(wish: Colour) -> Look {
    let said = Environment { no_color: std::env::var("NO_COLOR").ok(), term: std::env::var("TERM").ok() };
    Look { width: size().map_or(USUAL_WIDTH, |(width, _)| width), paint: Paint::decide(wish, out(), &said) }
}

/// How many lines fit at this moment.
pub fn height() -> usize {
    size().map_or(USUAL_HEIGHT, |(_, height)| height)
}

/// The size of what standard output is; not that of another stream, which an answer in a file has nothing to do with.
fn size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some((usize::from(width.0), usize::from(height.0)))
}
