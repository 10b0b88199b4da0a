//! Waiting on a condition: the only way in which tests let time pass.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(75);

/// Looks again and again until `look` succeeds. At the end of `within` it panics with `what` and the last reason
/// why not.
///
/// ```no_run
/// # use std::time::Duration;
/// # use testbed::wait::eventually;
/// # fn taint_is_gone() -> bool { true }
/// eventually(Duration::from_secs(30), "the node is initialised", || {
///     if taint_is_gone() { Ok(()) } else { Err("it still has its taint") }
/// });
/// ```
#[track_caller]
pub fn eventually<T, E: Display>(within: Duration, what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(start.elapsed() <= within, "{what}: not after {within:?}; last seen: {last:#}");
        thread::sleep(POLL);
    }
}

/// Looks for the whole of `during` and panics as soon as `look` fails: something must *not* happen meanwhile.
#[track_caller]
pub fn throughout<E: Display>(during: Duration, what: &str, mut look: impl FnMut() -> Result<(), E>) {
    let start = Instant::now();
    while start.elapsed() < during {
        if let Err(reason) = look() {
            panic!("{what}: no longer after {:?}: {reason:#}", start.elapsed());
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_returns_the_first_success() {
        let mut looks = 0;

        let seen = eventually(Duration::from_secs(5), "the third look", || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err("too early") }
        });

        assert_eq!(seen, 3);
    }

    #[test]
    #[should_panic(expected = "the moon is full: not after 1ms; last seen: it is new")]
    fn it_says_what_it_waited_for_and_what_it_saw() {
        eventually::<(), _>(Duration::from_millis(1), "the moon is full", || Err("it is new"));
    }

    #[test]
    #[should_panic(expected = "the door is shut: no longer after")]
    fn it_notices_what_must_not_happen() {
        let mut looks = 0;
        throughout(Duration::from_secs(5), "the door is shut", || {
            looks += 1;
            if looks < 3 { Ok(()) } else { Err("it opened") }
        });
    }
}
