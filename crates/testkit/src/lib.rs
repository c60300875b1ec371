//! `panoply-testkit`: what tests share, and nothing else does (a dev-dependency only).
//!
//! - [`Golden`] compares outputs at several depths with a reference implementation's.
//! - [`check_gradient`] compares a gradient with finite differences.
//! - [`check_task`] holds a [`Task`](panoply_core::Task) to the contract that every task keeps.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use panoply_testkit::Golden;
//! use std::path::Path;
//!
//! # fn main() -> panoply_core::Result<()> {
//! let device = Device::flex();
//! let mut golden = Golden::open(Path::new("tests/fixtures/resnet.safetensors"))?;
//! let input = golden.tensor::<4>("input", &device)?;
//! # let (stem, logits) = (input.clone(), input.clone().flatten::<2>(1, 3));
//! golden.check("stem", &stem, 1e-4);
//! golden.check("logits", &logits, 1e-4);
//! golden.finish(); // panics with every mismatch, by name
//! # Ok(())
//! # }
//! ```

mod compare;
mod contract;
#[cfg(test)]
mod contract_tests;
mod finite_difference;
mod golden;
mod hostile;

pub use compare::json_difference;
pub use contract::{ContractOptions, ContractReport, check_task};
pub use finite_difference::{GradientCheck, check_gradient};
pub use golden::{Golden, Mismatch};
pub use hostile::{Expect, Hostile, hostile_inputs};
