//! Keeps a status current until somebody ends it.

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::time::sleep;

use crate::look::Surface;
use crate::progress::Progress;
use crate::run::{Answer, Reader, write};
use crate::seen::{Report, Seen};

/// How often it is looked: a person does not see more, and an API server does not notice it.
pub const EVERY: Duration = Duration::from_secs(2);

/// Over the screen before, without an empty moment between the two.
const HOME: &str = "\u{1b}[H";
const CLEAR: &str = "\u{1b}[2J";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// What was seen, and what it comes to.
type Sight = (Seen, Report);

/// Where and how it is shown.
pub struct Watch<'a, W: Write> {
    /// Where to.
    pub out: &'a mut W,
    /// Whether a person sees it.
    pub surface: Surface,
    /// How many lines fit, at this moment.
    pub height: &'a dyn Fn() -> usize,
    /// The text of a sight: the screen, or the answer for programs.
    pub form: &'a dyn Fn(&Report, Timestamp) -> Result<String>,
    /// What is said of a look that failed, where no screen shows it.
    pub complain: &'a dyn Fn(&str),
    /// What is said until there is something to show.
    pub first: First<'a>,
}

/// What a person sees before the first look has ended.
pub struct First<'a> {
    /// What the look is at.
    pub progress: &'a Progress,
    /// Whether a person sees it.
    pub surface: Surface,
    /// Where to.
    pub to: &'a mut dyn Write,
}

impl<W: Write> Watch<'_, W> {
    /// Looks again and again until `end` comes or nobody reads any more. The answer is that of the last look.
    ///
    /// # Errors
    ///
    /// The first look failed, or the last one did.
    pub async fn run(
        &mut self,
        mut observe: impl AsyncFnMut() -> Result<Seen>,
        end: impl Future<Output = ()>,
    ) -> Result<Answer> {
        let mut end = pin!(end);
        let mut last: Option<Sight> = None;
        let mut told = Told::default();
        loop {
            let trouble = tokio::select! {
                biased;
                () = &mut end => return answer(last.as_ref(), None),
                look = self.look(&mut observe, last.is_none()) => match look {
                    Ok(seen) => {
                        let report = Report::of(&seen);
                        last = Some((seen, report));
                        None
                    }
                    Err(error) => Some(error),
                },
            };
            let Some(sight) = &last else { return answer(None, trouble) };
            let reader = match self.surface {
                Surface::Terminal => self.redraw(sight, trouble.as_ref(), &mut told)?,
                Surface::Elsewhere => self.append(sight, trouble.as_ref(), &mut told)?,
            };
            if reader == Reader::Gone {
                return answer(last.as_ref(), None);
            }
            tokio::select! {
                biased;
                () = &mut end => return answer(last.as_ref(), trouble),
                () = sleep(EVERY) => {}
            }
        }
    }

    /// Nothing is on the screen before the first look ends, so that one says how long it takes.
    async fn look(
        &mut self,
        observe: &mut impl AsyncFnMut() -> Result<Seen>,
        is_first: bool,
    ) -> Result<Seen> {
        if !is_first {
            return observe().await;
        }
        let First { progress, surface, to } = &mut self.first;
        progress.during(*surface, to, observe()).await
    }

    /// One screen, which is drawn again when it differs.
    fn redraw(
        &mut self,
        (seen, report): &Sight,
        trouble: Option<&anyhow::Error>,
        told: &mut Told,
    ) -> Result<Reader> {
        let mut lines: Vec<String> = (self.form)(report, seen.now)?.lines().map(str::to_owned).collect();
        let foot = match trouble {
            Some(error) => format!("As it was at {}; now: {error:#}", clock(seen.now)),
            None => "Kept current; Ctrl-C ends it.".to_owned(),
        };
        // What stands on top matters most; a screen that scrolls would lose it.
        let room = (self.height)().saturating_sub(3).max(1);
        let hidden = lines.len().saturating_sub(room);
        if hidden > 0 {
            lines.truncate(room);
            lines.push(format!("({hidden} more lines: make the window higher)"));
        }
        lines.push(String::new());
        lines.extend(foot.lines().next().map(str::to_owned));
        let mut frame = HOME.to_owned();
        for line in &lines {
            frame.push_str(&format!("{line}{REST_OF_LINE}\n"));
        }
        frame.push_str(REST_OF_SCREEN);
        if told.frame.as_ref() == Some(&frame) {
            return Ok(Reader::There);
        }
        let first = if told.frame.is_none() { CLEAR } else { "" };
        let shown = write(self.out, &format!("{first}{frame}"));
        told.frame = Some(frame);
        shown
    }

    /// A new text below the one before, when something differs that is more than time that passed.
    fn append(
        &mut self,
        (seen, report): &Sight,
        trouble: Option<&anyhow::Error>,
        told: &mut Told,
    ) -> Result<Reader> {
        let complaint = trouble.map(|error| format!("{error:#}"));
        if complaint != told.complaint {
            let restored = || "the cluster answers again".to_owned();
            (self.complain)(&complaint.clone().unwrap_or_else(restored));
            told.complaint = complaint;
        }
        if trouble.is_some() {
            return Ok(Reader::There);
        }
        let essence = essence(seen, told.since.get_or_insert(seen.now))?;
        if told.essence.as_ref() == Some(&essence) {
            return Ok(Reader::There);
        }
        told.essence = Some(essence);
        let text = (self.form)(report, seen.now)?;
        write(self.out, &text)
    }
}

/// What was shown last.
#[derive(Default)]
struct Told {
    frame: Option<String>,
    essence: Option<(Value, Vec<bool>)>,
    complaint: Option<String>,
    since: Option<Timestamp>,
}

fn answer(last: Option<&Sight>, trouble: Option<anyhow::Error>) -> Result<Answer> {
    match (trouble, last) {
        (Some(error), _) => Err(error),
        (None, Some((_, report))) if report.ready => Ok(Answer::Yes),
        (None, _) => Ok(Answer::No),
    }
}

/// What a report says apart from how long something takes already, and whose time is over.
fn essence(seen: &Seen, since: &Timestamp) -> Result<(Value, Vec<bool>)> {
    let report = Report::of(&Seen { now: *since, ..seen.clone() });
    let attempts = report.drivers.iter().filter_map(|driver| driver.attempt.as_ref());
    let over = attempts.map(|attempt| attempt.deadline <= seen.now).collect();
    Ok((serde_json::to_value(&report)?, over))
}

fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M:%SZ").to_string()
}
