//! Criterion benches of the language pipeline: `cargo xtask bench nlp`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use panoply_benches::nlp;
use std::time::Duration;

fn language(c: &mut Criterion) {
    let mut group = c.benchmark_group("nlp");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    for name in nlp::NAMES {
        let Some(mut workload) = nlp::workload(name) else {
            continue;
        };
        group.throughput(Throughput::Elements(workload.batch as u64));
        group.bench_function(*name, |b| b.iter(|| (workload.run)()));
    }
    group.finish();
}

criterion_group!(benches, language);
criterion_main!(benches);
