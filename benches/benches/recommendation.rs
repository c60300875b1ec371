//! Criterion benches of the recommendation pipeline: `cargo xtask bench recommendation`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use panoply_benches::recommendation;
use std::time::Duration;

fn recommendation(c: &mut Criterion) {
    let mut group = c.benchmark_group("recommendation");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    for name in recommendation::NAMES {
        let Some(mut workload) = recommendation::workload(name) else {
            continue;
        };
        group.throughput(Throughput::Elements(workload.batch as u64));
        group.bench_function(*name, |b| b.iter(|| (workload.run)()));
    }
    group.finish();
}

criterion_group!(benches, recommendation);
criterion_main!(benches);
