//! Criterion benches of the vision pipeline: `cargo xtask bench vision`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use panoply_benches::vision;
use std::time::Duration;

fn vision(c: &mut Criterion) {
    let mut group = c.benchmark_group("vision");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    for name in vision::NAMES {
        let Some(mut workload) = vision::workload(name) else {
            continue;
        };
        group.throughput(Throughput::Elements(workload.batch as u64));
        group.bench_function(*name, |b| b.iter(|| (workload.run)()));
    }
    group.finish();
}

criterion_group!(benches, vision);
criterion_main!(benches);
