//! Workloads of the benches, one module a domain.
//!
//! Criterion (`cargo xtask bench <pipeline>`) and the side-by-side against other engines
//! (`cargo xtask bench <pipeline> --against pytorch,tract`) run the same workloads: fixed shapes, fixed seeds,
//! weights initialised at random (time does not depend on their values).

pub mod nlp;
pub mod recommendation;
pub mod vision;

/// The workloads of a pipeline.
pub struct Domain {
    /// The pipeline's name; `peers/<name>.py` is its worker for other engines.
    pub name: &'static str,
    /// Every workload, in the order of measurement.
    pub workloads: &'static [&'static str],
    /// Makes one of them; `None` for a name that it does not know.
    pub workload: fn(&str) -> Option<Workload>,
}

/// Every pipeline whose benches other engines take part in.
pub const DOMAINS: &[Domain] = &[
    Domain {
        name: "nlp",
        workloads: nlp::NAMES,
        workload: nlp::workload,
    },
    Domain {
        name: "vision",
        workloads: vision::NAMES,
        workload: vision::workload,
    },
];

/// The benches of a pipeline.
pub fn domain(name: &str) -> Option<&'static Domain> {
    DOMAINS.iter().find(|domain| domain.name == name)
}

/// One thing to measure: `run` does it once and returns when the result is on the host.
pub struct Workload {
    /// Name, the same as in the PyTorch worker.
    pub name: &'static str,
    /// Images, texts or tokens that one call processes.
    pub batch: usize,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}
