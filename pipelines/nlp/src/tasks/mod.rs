//! One file or folder a task.

mod attribution;
mod blocks;
pub mod classify;
pub mod embed;
mod encoder;
pub mod fill_mask;
pub mod generate;
pub mod segment;

use panoply_core::Task;

/// Every task of this pipeline, in the order in which they are listed.
pub const ALL: &[&dyn Task] = &[
    &classify::Classify,
    &embed::Embed,
    &fill_mask::FillMask,
    &generate::Generate,
    &segment::Segment,
];
