//! What can be wrong with the input of a metric.

/// Shorthand for results of this crate.
pub type Result<T, E = MetricError> = std::result::Result<T, E>;

/// Everything that can be wrong with the input of a metric. Each message says what, where, and what
/// was expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Two slices that describe the same samples differ in length.
    #[error("{what} has {found} elements; expected {expected} to match {against}")]
    LengthMismatch {
        /// The slice that does not fit.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
        /// What that length follows from.
        against: &'static str,
    },
    /// A class index that no class has.
    #[error("{what}[{index}] is label {label}; expected a label below {num_classes}")]
    LabelOutOfRange {
        /// The slice.
        what: &'static str,
        /// Position in it.
        index: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        num_classes: usize,
    },
    /// A NaN or an infinity among the scores.
    #[error("{what}[{index}] is {value}; expected a finite number")]
    NotFinite {
        /// The slice.
        what: &'static str,
        /// Position in it (row-major).
        index: usize,
        /// The number.
        value: f64,
    },
    /// A probability outside \[0, 1\].
    #[error("{what}[{index}] is {value}; expected a probability between 0 and 1")]
    NotAProbability {
        /// The slice.
        what: &'static str,
        /// Position in it (row-major).
        index: usize,
        /// The number.
        value: f64,
    },
    /// Class probabilities of one sample that do not sum to one.
    #[error("row {row} of {what} sums to {sum}; expected probabilities that sum to 1")]
    NotNormalised {
        /// The slice.
        what: &'static str,
        /// The sample.
        row: usize,
        /// Its sum.
        sum: f64,
    },
    /// No sample at all.
    #[error("{metric} of no samples; expected at least one")]
    Empty {
        /// The metric.
        metric: &'static str,
    },
    /// The metric has no value for these labels (the references warn and answer NaN).
    #[error("{metric} is undefined: {why}")]
    Undefined {
        /// The metric.
        metric: &'static str,
        /// Why.
        why: String,
    },
    /// A setting outside its range.
    #[error("{name} is {value}; expected {expected}")]
    Argument {
        /// The parameter.
        name: &'static str,
        /// As given.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// Two sequences that describe the same tokens differ in length.
    #[error(
        "sequence {index} of {what} has {found} elements; expected {expected} to match {against}"
    )]
    SequenceLength {
        /// The sequences among which one does not fit.
        what: &'static str,
        /// Position among them.
        index: usize,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
        /// What that length follows from.
        against: &'static str,
    },
    /// A string that the metric cannot take.
    #[error("{what}[{index}] is {found:?}; expected {expected}")]
    Text {
        /// The slice, or the sequence, it stands in.
        what: &'static str,
        /// Position in it.
        index: usize,
        /// The string.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
}
