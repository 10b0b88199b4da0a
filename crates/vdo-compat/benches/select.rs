//! What a choice costs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vdo_compat::{Driver, Selection, builtin, explain, select};

#[path = "../tests/large/mod.rs"]
mod large;

fn choices(criterion: &mut Criterion) {
    let matrix = large::matrix();
    for large::Choice { name, cluster, request, is_chosen } in large::choices() {
        let answer = select(&matrix, Driver::Csi, &cluster, &request);
        // A benchmark of the wrong answer would measure nothing that we care for.
        assert_eq!(matches!(answer, Selection::Chosen(_)), is_chosen, "{name}");
        criterion.bench_function(name, |bencher| {
            bencher
                .iter(|| select(black_box(&matrix), Driver::Csi, black_box(&cluster), black_box(&request)));
        });
        let explained = format!("explain after {}", name.trim_end_matches("Microseconds"));
        criterion.bench_function(&explained, |bencher| {
            bencher.iter(|| explain::selection(black_box(&answer)));
        });
    }
}

fn built_in(criterion: &mut Criterion) {
    criterion.bench_function("the built-in matrix", |bencher| bencher.iter(builtin::build));
}

criterion_group!(benches, choices, built_in);
criterion_main!(benches);
