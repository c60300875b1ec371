//! The networks that classify images, and [`Backbone`], any of them by name.

mod arch;
mod backbone;
mod conv_net;
pub mod efficientnet;
pub mod efficientnet_lite;
mod mbconv;
pub mod mobilenet_v2;
pub mod resnet;

pub use arch::{Preprocessing, architectures};
pub use backbone::{Backbone, BackboneConfig};
pub use conv_net::ConvNet;
pub use mbconv::{MbConv, StageConfig};
