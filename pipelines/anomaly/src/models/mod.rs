//! Detectors, one file each, behind [`Detector`].

pub mod auto_encoder;
pub mod deep_svdd;
mod detector;
pub mod ecod;
pub mod forecaster;
pub mod hbos;
pub mod iforest;
pub mod knn;
pub mod lof;
mod neighbours;
pub mod network;
pub mod pca;
pub mod spectral_residual;
pub mod stream;
pub mod vae;
pub mod windowed_gaussian;

pub use detector::{Detector, Fit, NormalOnly};
