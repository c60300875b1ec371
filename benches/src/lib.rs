//! Workloads of the benches, one module a domain.
//!
//! Criterion (`cargo xtask bench vision`) and the side-by-side against other engines
//! (`cargo xtask bench vision --against pytorch,tract`) run the same workloads: fixed shapes, fixed seeds,
//! weights initialised at random (time does not depend on their values).

pub mod vision;

/// One thing to measure: `run` does it once and returns when the result is on the host.
pub struct Workload {
    /// Name, the same as in the PyTorch worker.
    pub name: &'static str,
    /// Images one call processes.
    pub batch: usize,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}
