//! How often words are written while a number only grows: thousands of nodes that come up one by one are no reason for
//! thousands of writes, and the first of them should be seen at once.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::{Monotonic, monotonic};

/// The pause after the first word of progress; each that follows it closely doubles it.
const FIRST: Duration = Duration::from_secs(2);
/// The longest pause.
const MOST: Duration = Duration::from_secs(60);

/// When there was progress to tell of, last.
#[derive(Default)]
pub(super) struct Words {
    last: Cell<Option<(Monotonic, Duration)>>,
}

impl Words {
    /// How long to keep back the next words, if that is not over. What is no progress is never kept back.
    pub(super) fn left(&self, progress: bool) -> Option<Duration> {
        self.left_at(progress, monotonic())
    }

    /// Notes that words were written.
    pub(super) fn note(&self, progress: bool) {
        self.note_at(progress, monotonic());
    }

    fn left_at(&self, progress: bool, now: Monotonic) -> Option<Duration> {
        let (at, pause) = self.last.get().filter(|_| progress)?;
        pause.checked_sub(now.saturating_duration_since(at)).filter(|left| !left.is_zero())
    }

    fn note_at(&self, progress: bool, now: Monotonic) {
        let after = |(at, pause): (Monotonic, Duration)| {
            // After some rest it begins anew.
            let rested = now.saturating_duration_since(at) >= pause + MOST;
            if rested { FIRST } else { (pause * 2).min(MOST) }
        };
        self.last.set(progress.then(|| (now, self.last.get().map_or(FIRST, after))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_less_and_less_often_and_at_once_after_a_rest() {
        let (words, begin) = (Words::default(), monotonic());
        let second = |n| begin + Duration::from_secs(n);
        assert_eq!(words.left_at(true, begin), None);
        let mut told = Vec::new();
        for n in 0..200 {
            if words.left_at(true, second(n)).is_none() {
                words.note_at(true, second(n));
                told.push(n);
            }
        }
        assert_eq!(told, [0, 2, 6, 14, 30, 62, 122, 182]);
        assert_eq!(words.left_at(true, second(183)), Some(Duration::from_secs(59)));
        assert_eq!(words.left_at(true, second(400)), None);
        words.note_at(true, second(400));
        assert_eq!(words.left_at(true, second(401)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_somebody_has_to_act_on_is_never_kept_back() {
        let (words, begin) = (Words::default(), monotonic());
        words.note_at(true, begin);
        assert_eq!(words.left_at(false, begin), None);
        words.note_at(false, begin);
        assert_eq!(words.left_at(true, begin), None);
    }
}
