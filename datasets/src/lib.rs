//! File formats to labelled samples, the data gate that looks at them before training, and the
//! small data that Panoply carries with it.
//!
//! - [`open`], [`open_splits`] and [`open_for_eval`] recognise a labelled image set by what lies at a
//!   path: class folders, an index of files (CSV or Parquet; feature `tables`), MNIST's IDX files,
//!   CIFAR's binary files. All give an [`ImageSet`], which decodes an image when asked for it.
//! - [`segmented`] reads segmented text: one sentence a line, words separated by white space.
//! - [`tagged`] reads words with tags: CoNLL's columns, JSON lines.
//! - [`questions`] reads questions about texts: SQuAD 1.1 and 2.0.
//! - [`gate`] reports missing, corrupt, repeated and conflicting samples, leakage between splits and
//!   class balance, and refuses to train on errors.
//! - [`labelled`] reads texts with labels out of tables: CSV, TSV, JSON lines, Parquet.
//! - [`corpus`] reads running text for language models.
//! - [`interactions`] reads what users did with items out of tables, divides it and writes the parts.
//! - [`series`] reads time series; their windows cross no gap, their splits are by time.
//! - [`frame`] reads tables of numbers and names, and turns their rows into numbers.
//! - [`bundled`] is a slice of Fashion-MNIST, of UD Chinese GSD, of tiny Shakespeare, of WNUT-17 and of SQuAD, a series, a few photos
//!   and messages in eight languages, compiled into the program.
//!
//! Whatever comes from outside and is wrong gives an `Err` that names the file and the row or byte.
//!
//! ```
//! use panoply_datasets::{Split, bundled, gate};
//!
//! let train = bundled::fashion_mnist_slice(Split::Train)?;
//! assert_eq!((train.len(), train.classes().len()), (2000, 10));
//! assert_eq!(train.image(0)?.dimensions(), (28, 28));
//!
//! // A tenth of each class becomes the validation set: the same images for the same seed.
//! let (train, valid) = train.holdout(0.1, 17)?;
//! assert_eq!((train.len(), valid.len()), (1800, 200));
//!
//! let report = gate::inspect(&train, &[("valid", &valid)]);
//! assert!(report.is_clean(), "{report}");
//! report.refuse_unless(false)?;
//! # Ok::<(), panoply_datasets::Error>(())
//! ```

pub mod bundled;
pub mod corpus;
mod files;
pub mod frame;
pub mod gate;
pub mod image;
pub mod images;
pub mod interactions;
pub mod labelled;
pub mod questions;
pub mod segmented;
pub mod series;
pub mod split;
#[cfg(feature = "tables")]
mod tables;
pub mod tagged;

pub use corpus::Corpus;
pub use frame::{Frame, TableOptions, open_frame_splits};
pub use images::{ImageSet, Layout, detect, open, open_for_eval, open_splits};
pub use interactions::{
    InteractionOptions, Interactions, SplitConfig, open_interaction_splits,
    open_interactions_for_eval,
};
pub use labelled::{Columns, LabelledTexts, open_text_splits, open_texts_for_eval};
pub use panoply_core::{Error, Result};
pub use questions::{Answer, Question, QuestionSet, open_question_splits, open_questions_for_eval};
pub use segmented::{SegmentedText, Sentence, open_segmented_for_eval, open_segmented_splits};
pub use series::{TimeSeries, open_series_for_eval, open_series_splits};
pub use split::{Split, Splits, stratified_holdout};
pub use tagged::{
    TagColumns, TaggedSentence, TaggedText, open_tagged_for_eval, open_tagged_splits,
};

/// Lower-case hexadecimal, as `sha256sum` prints it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    nibbles
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect()
}
