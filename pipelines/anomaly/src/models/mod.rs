//! Detectors, one file each.

mod detector;
pub mod ecod;
pub mod hbos;
pub mod iforest;
pub mod knn;
pub mod lof;
mod neighbours;
pub mod pca;
pub mod spectral_residual;
pub mod stream;
pub mod windowed_gaussian;

pub use detector::{Detector, Fit, NormalOnly};
