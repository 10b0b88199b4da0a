//! What reading a matrix costs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vdo_compat::{Source, builtin};
use vdo_matrix::{parse, to_json, write};

fn built_in(criterion: &mut Criterion) {
    let matrix = builtin::build();
    for (name, text) in
        [("parseJsonMicroseconds", to_json(&matrix).to_string()), ("parseYamlMicroseconds", write(&matrix))]
    {
        let rows = parse(Source::ConfigMap, &text).map(|parsed| parsed.matrix.rows.len());
        // A benchmark of a refusal would measure nothing that we care for.
        assert_eq!(rows.ok(), Some(matrix.rows.len()), "{name}");
        criterion.bench_function(name, |bencher| bencher.iter(|| parse(Source::ConfigMap, black_box(&text))));
    }
}

criterion_group!(benches, built_in);
criterion_main!(benches);
