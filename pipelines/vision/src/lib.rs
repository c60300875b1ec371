//! Image classification from published checkpoints.

pub mod models;
