//! Says what takes longer than a second, on the error stream and only where a person sees it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::look::Surface;

/// Whoever waits longer than this wants to know what for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is being done; the work says it, and says it anew when there is more to say.
#[derive(Debug, Default)]
pub struct Progress(RefCell<String>);

impl Progress {
    /// This is being done now.
    pub fn say(&self, what: impl Into<String>) {
        self.0.replace(what.into());
    }

    /// Waits for the work. After a second, and each second from then on, one line says what it is at; the line is gone
    /// when the work ends.
    pub async fn during<T>(&self, surface: Surface, to: &mut impl Write, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let begun = Instant::now();
        let mut is_shown = false;
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    if is_shown {
                        show(to, "");
                    }
                    return done;
                }
                () = sleep(PATIENCE), if surface == Surface::Terminal => {
                    let mut line = self.0.borrow().clone();
                    let _ = write!(line, " ({} s) ...", begun.elapsed().as_secs());
                    show(to, &line);
                    is_shown = true;
                }
            }
        }
    }
}

/// Writes over the line before. Who does not see it is not worse off.
fn show(to: &mut impl Write, line: &str) {
    let _ = write!(to, "\r\u{1b}[K{line}").and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(surface: Surface, seconds: u64) -> String {
        let (progress, mut out) = (Progress::default(), Vec::new());
        let work = async {
            for second in 0..seconds {
                progress.say(format!("reading page {second}"));
                sleep(Duration::from_millis(1_000)).await;
            }
            sleep(Duration::from_millis(500)).await;
        };
        progress.during(surface, &mut out, work).await;
        String::from_utf8(out).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_than_a_second_is_said_and_wiped_away() {
        let text = shown(Surface::Terminal, 2).await;
        assert!(
            text.contains("reading page 1 (1 s) ...") || text.contains("reading page 0 (1 s) ..."),
            "{text:?}"
        );
        assert!(text.contains("(2 s) ..."), "{text:?}");
        assert!(text.ends_with("\r\u{1b}[K"), "{text:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_quick_or_not_seen_is_not_said() {
        assert_eq!(shown(Surface::Terminal, 0).await, "");
        assert_eq!(shown(Surface::Elsewhere, 5).await, "");
    }
}
