//! The networks that classify images, and [`Backbone`], any of them by name.

mod arch;
mod backbone;
pub mod efficientnet;
pub mod efficientnet_lite;
mod mbconv;
pub mod mobilenet_v2;
pub mod resnet;

pub use arch::{Preprocessing, architectures};
pub use backbone::{Backbone, BackboneConfig};
pub use mbconv::{MbConv, StageConfig};
