//! The blocks that models are made of, each written once.
//!
//! Each is `XConfig -> init(&Device) -> X -> forward`. A model calls no burn layer for which a
//! block exists here, so that the functions of [`ops`], through which every convolution and every
//! linear layer goes, are the one place to put a faster kernel under all models at once.
//!
//! Training or inference: batch norm, dropout and drop path act as in training only where the input
//! lives on an autodiff device *and* the module's training flag is set. A model made on a plain
//! device, or `model.valid()`, therefore uses running statistics and drops nothing; to
//! differentiate a model in inference mode (explanation), give an autodiff input to
//! `model.valid()`. For the fastest inference fold the norms into the convolutions:
//! [`ConvNorm::fold`].

mod activation;
mod attention;
mod causal;
mod conv_norm;
mod crf;
mod drop_path;
mod head;
mod init;
mod kv_cache;
mod mlp;
pub mod ops;
mod pre_norm;
mod rnn;
mod rotary;
mod squeeze_excite;

pub use activation::Activation;
pub use attention::{Attention, AttentionConfig, AttentionInput};
pub use causal::{CausalContext, CausalMask, padding_bias};
pub use conv_norm::{ConvNorm, ConvNormConfig};
pub use crf::{Crf, CrfConfig, CrfScores};
pub use drop_path::{DropPath, DropPathConfig};
pub use head::{PoolHead, PoolHeadConfig};
pub use init::{LinearInit, conv2d, embedding, linear};
pub use kv_cache::{KvCache, LayerCache};
pub use mlp::{GatedMlp, GatedMlpConfig, Mlp, MlpConfig};
pub use ops::Padding;
pub use pre_norm::PreNormLayer;
pub use rnn::{Rnn, RnnConfig, RnnKind, RnnLayer, RnnWeights};
pub use rotary::{Rotary, Rotation};
pub use squeeze_excite::{SqueezeExcite, SqueezeExciteConfig};
