//! The device, chosen once at run time.
//!
//! burn's own `Device::default()` is a compile-time priority list, not a probe: a binary with CUDA
//! compiled in fails on a machine without a GPU. Nothing in this workspace calls it.

use crate::{Error, Result};
use burn::tensor::Device;

/// What `--device` accepts.
pub const NAMES: [&str; 4] = ["auto", "cpu", "cuda[:n]", "wgpu"];

/// Resolves a `--device` argument to an inference device (no autodiff).
///
/// `auto` takes the first accelerator that was compiled in and answers, else the CPU.
/// Training lifts the result with `Device::autodiff` itself.
pub fn select(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        None => (name, 0),
        Some((kind, n)) => (kind, n.parse().map_err(|_ignored| bad_index(name))?),
    };
    match kind {
        "auto" => Ok(accelerator().unwrap_or_else(Device::flex)),
        "cpu" | "flex" => Ok(Device::flex()),
        "cuda" => cuda(index).ok_or_else(|| not_here("cuda", name)),
        "wgpu" => wgpu().ok_or_else(|| not_here("wgpu", name)),
        _ => Err(Error::unknown("device", name, NAMES)),
    }
}

fn bad_index(name: &str) -> Error {
    Error::input(
        "--device",
        format!("'{name}' has no device number"),
        "cuda or cuda:0",
    )
}

fn not_here(feature: &str, name: &str) -> Error {
    Error::input(
        "--device",
        format!("'{name}' is not available in this binary or on this machine"),
        format!("a build with the feature `{feature}` and its hardware, or --device cpu"),
    )
}

fn accelerator() -> Option<Device> {
    cuda(0).or_else(wgpu)
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Option<Device> {
    use burn::tensor::DeviceType;
    // Enumerating initialises the driver, which panics where there is none.
    let found = crate::guard("looking for CUDA devices", || {
        Ok(Device::enumerate(DeviceType::Cuda).len())
    });
    matches!(found, Ok(n) if n > index).then(|| Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Option<Device> {
    None
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Option<Device> {
    use burn::tensor::DeviceKind;
    crate::guard("looking for a wgpu adapter", || {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        device.sync().map_err(|e| Error::Internal {
            context: "wgpu".into(),
            message: e.to_string(),
        })?;
        Ok(device)
    })
    .ok()
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Option<Device> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_always_there_and_wrong_names_are_named() {
        assert!(!select("cpu").unwrap().is_autodiff());
        assert!(select("auto").is_ok());
        assert!(
            select("cpuu")
                .unwrap_err()
                .to_string()
                .contains("did you mean 'cpu'")
        );
        assert!(select("cuda:x").unwrap_err().to_string().contains("cuda:0"));
    }
}
