//! Work side by side.

use std::sync::Mutex;

use anyhow::{Result, bail};

/// Works through a queue on so many lanes. After a failure nothing new begins, and what runs is let end.
pub fn side_by_side<T: Sync>(
    lanes: usize,
    queue: &[T],
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let left = Mutex::new(queue.iter());
    let lane = || {
        while let Some(next) = left.lock().ok().and_then(|mut left| left.next()) {
            if let Err(error) = work(next) {
                left.lock().ok().into_iter().for_each(|mut left| while left.next().is_some() {});
                return Err(error);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes.min(queue.len())).map(|_| scope.spawn(lane)).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane panicked")));
        // All are waited for before the first failure is told.
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const LANES: usize = 2;

    #[test]
    fn everything_is_worked_through_once_and_side_by_side() {
        let seen = AtomicU32::new(0);
        let both = std::sync::Barrier::new(LANES);
        side_by_side(LANES, &[1, 2, 4, 8], |bit| {
            both.wait();
            assert_eq!(seen.fetch_or(*bit, Ordering::SeqCst) & bit, 0);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen.into_inner(), 15);
    }

    #[test]
    fn after_a_failure_nothing_else_begins_and_it_is_told() {
        let begun = AtomicU32::new(0);
        let both = std::sync::Barrier::new(LANES);
        let why = side_by_side(LANES, &[0, 1, 2, 3], |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            both.wait();
            bail!("planted")
        })
        .unwrap_err();
        assert_eq!((why.to_string().as_str(), begun.into_inner()), ("planted", LANES as u32));
    }
}
