//! One folder a task.

mod ids;
pub mod rank;
pub mod rating;
mod rows;
pub mod similar;

pub use rows::Id;

use panoply_core::Task;

/// Every task of this pipeline, in the order in which they are listed.
pub const ALL: &[&dyn Task] = &[&rank::Rank, &rating::Rate, &similar::Similar];
