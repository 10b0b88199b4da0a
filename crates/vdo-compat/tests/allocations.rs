//! What a choice takes of memory, counted: it must not grow with what is refused.

#![allow(clippy::unwrap_used)]

use vdo_compat::{Driver, Selection, select};

mod large;

/// Allocations of a choice, however many rows there are.
const CHOSEN: u64 = 32;
/// Allocations for each row that is refused: it is kept with why, in words that are its own.
const REFUSED: u64 = 2;

#[test]
fn a_choice_allocates_a_few_times_and_a_refusal_a_few_times_for_each_row() {
    let matrix = large::matrix();
    for large::Choice { name, cluster, request, is_chosen } in large::choices() {
        let counted = allocation_counter::measure(|| {
            let answer = select(&matrix, Driver::Csi, &cluster, &request);
            assert_eq!(matches!(answer, Selection::Chosen(_)), is_chosen, "{name}");
        });
        let most = if is_chosen { CHOSEN } else { REFUSED * u64::from(large::ROWS) };
        println!(
            "{name}: {} allocations, {} KiB at most at once",
            counted.count_total,
            counted.bytes_max / 1024
        );
        assert!(counted.count_total <= most, "{name}: {counted:?}");
        assert!(counted.bytes_max <= 512 * 1024, "{name}: {counted:?}");
        assert_eq!(counted.count_current, 0, "{name}: {counted:?}");
    }
}
