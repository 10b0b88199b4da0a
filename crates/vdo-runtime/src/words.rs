//! How often words alone are written: thousands of nodes that come up one by one are no reason for thousands of writes,
//! and the first of them should be seen at once.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Monotonic;

/// How much there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Only words and counts moved, and nobody has to do anything: they can wait.
    Words,
    /// What somebody decides or has to act on: never kept back.
    Facts,
}

/// The pauses between words that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The first pauses.
    pub pause: Duration,
    /// How many of them come before each is twice as long as the one before.
    pub patience: u32,
    /// The longest.
    pub longest: Duration,
}

/// When something was said last.
#[derive(Debug)]
pub struct Words {
    rhythm: Rhythm,
    /// When, and how many times words followed each other without a rest.
    last: Cell<Option<(Monotonic, u32)>>,
}

impl Words {
    /// Nothing was said yet.
    pub fn new(rhythm: Rhythm) -> Self {
        Words { rhythm, last: Cell::new(None) }
    }

    /// How long this is kept back, if it is.
    pub fn left(&self, news: News, now: Monotonic) -> Option<Duration> {
        let (at, said) = self.last.get().filter(|_| news == News::Words)?;
        self.after(said).checked_sub(now.saturating_duration_since(at)).filter(|left| !left.is_zero())
    }

    /// Notes that it was written.
    pub fn note(&self, news: News, now: Monotonic) {
        let follows = |(at, said): (Monotonic, u32)| {
            let rested = now.saturating_duration_since(at) >= self.after(said) + self.rhythm.longest;
            (!rested).then_some(said + 1)
        };
        let said = self.last.get().filter(|_| news == News::Words).and_then(follows);
        self.last.set(Some((now, said.unwrap_or_default())));
    }

    fn after(&self, said: u32) -> Duration {
        let Rhythm { pause, patience, longest } = self.rhythm;
        let doublings = said.saturating_sub(patience).min(16);
        (pause * 2_u32.pow(doublings)).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    const QUICK: Rhythm =
        Rhythm { pause: Duration::from_secs(2), patience: 0, longest: Duration::from_secs(60) };
    const EVEN: Rhythm =
        Rhythm { pause: Duration::from_secs(10), patience: 6, longest: Duration::from_secs(60) };

    /// In which seconds words are written that move all the time.
    fn told(words: &Words, begin: Monotonic, seconds: std::ops::Range<u64>) -> Vec<u64> {
        let may = |second: &u64| {
            let now = begin + Duration::from_secs(*second);
            let may = words.left(News::Words, now).is_none();
            if may {
                words.note(News::Words, now);
            }
            may
        };
        seconds.filter(may).collect()
    }

    #[test]
    fn what_moves_for_long_is_told_less_and_less_often_and_at_once_after_a_rest() {
        let (words, begin) = (Words::new(QUICK), monotonic());
        assert_eq!(told(&words, begin, 0..200), [0, 2, 6, 14, 30, 62, 122, 182]);
        assert_eq!(told(&words, begin, 400..403), [400, 402]);

        let words = Words::new(EVEN);
        assert_eq!(told(&words, begin, 0..300), [0, 10, 20, 30, 40, 50, 60, 70, 90, 130, 190, 250]);
        assert_eq!(told(&words, begin, 371..385), [371, 381]);
    }

    #[test]
    fn facts_are_never_kept_back_and_words_wait_for_the_first_pause_after_them() {
        let (words, begin) = (Words::new(QUICK), monotonic());
        assert_eq!(told(&words, begin, 0..60), [0, 2, 6, 14, 30]);
        let now = begin + Duration::from_secs(60);
        assert_eq!(words.left(News::Facts, now), None);
        words.note(News::Facts, now);
        assert_eq!(words.left(News::Facts, now), None);
        assert_eq!(words.left(News::Words, now), Some(Duration::from_secs(2)));
    }
}
