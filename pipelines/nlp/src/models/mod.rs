//! The networks.

pub mod tagger;
