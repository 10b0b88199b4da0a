//! What reading a matrix takes of memory, counted.

#![allow(clippy::unwrap_used)]

use vdo_compat::{Source, builtin};
use vdo_matrix::{parse, to_json, write};

/// Times the size of the text that reading it may hold at once: its tree with a place for each value, and its rows.
const TIMES_THE_TEXT: usize = 24;

#[test]
fn reading_the_built_in_matrix_holds_a_few_times_its_text_and_keeps_only_the_rows() {
    let matrix = builtin::build();
    for (name, text) in [("JSON", to_json(&matrix).to_string()), ("YAML", write(&matrix))] {
        // The first time, what is known of the built-in matrix is made as well, and stays.
        let mut rows = parse(Source::ConfigMap, &text).unwrap().matrix.rows.len();
        let counted = allocation_counter::measure(|| {
            rows = parse(Source::ConfigMap, &text).unwrap().matrix.rows.len();
        });
        println!(
            "{name}: {} bytes of text, {} allocations, {} KiB at most at once",
            text.len(),
            counted.count_total,
            counted.bytes_max / 1024
        );
        assert_eq!(rows, matrix.rows.len());
        assert!(
            counted.bytes_max <= u64::try_from(TIMES_THE_TEXT * text.len()).unwrap(),
            "{name}: {counted:?}"
        );
        assert!(counted.count_total <= u64::try_from(text.len()).unwrap(), "{name}: {counted:?}");
        assert_eq!(counted.bytes_current, 0, "{name}: {counted:?}");
    }
}
