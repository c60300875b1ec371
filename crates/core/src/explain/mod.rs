//! Why a model answered as it did: attributions over any differentiable forward.
//!
//! The functions take closures over tensors and know no modality: integrated gradients and the
//! plain gradient for inputs of any rank, Grad-CAM and occlusion for maps of
//! `[batch, channels, height, width]`, attention rollout for the weights of attention layers. They follow captum 0.9.0 and equal it on the committed
//! fixture to 1e-3.
//!
//! # Devices
//!
//! Give a model made on an inference device (or `valid()`): the input alone is lifted onto the
//! autodiff device, the weights enter as constants, and no gradient of theirs is computed. A model
//! on an autodiff device works too; graphs that need no gradient are released at once, because
//! burn keeps every graph alive until a backward pass goes through it.
//!
//! # Errors
//!
//! Every function answers [`Error::Input`](crate::Error::Input) for an input of the wrong shape, a
//! target outside the model's classes, a setting out of range, and for numbers that are not finite
//! in the input or in what the model makes of it. Panics inside the closures are not caught; that
//! is [`guard`](crate::guard)'s work at the edge.

mod check;
mod grad_cam;
mod gradient;
mod integrated_gradients;
mod occlusion;
mod quadrature;
mod rollout;
#[cfg(test)]
mod tests;

pub use grad_cam::{grad_cam, upsample_bilinear};
pub use gradient::{InputGradient, input_gradient};
pub use integrated_gradients::{Attribution, IntegratedGradientsOptions, integrated_gradients};
pub use occlusion::{OcclusionOptions, occlusion};
pub use quadrature::Quadrature;
pub use rollout::attention_rollout;
