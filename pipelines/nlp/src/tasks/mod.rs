//! One file or folder a task.

mod blocks;
pub mod classify;
pub mod embed;
mod encoder;
pub mod fill_mask;
pub mod generate;
pub mod qa;
mod report;
pub mod segment;
mod starting_point;
mod token_shares;
pub mod tokens;

use panoply_core::Task;

/// Every task of this pipeline, in the order in which they are listed.
pub const ALL: &[&dyn Task] = &[
    &classify::Classify,
    &embed::Embed,
    &fill_mask::FillMask,
    &generate::Generate,
    &qa::Qa,
    &segment::Segment,
    &tokens::Tokens,
];
