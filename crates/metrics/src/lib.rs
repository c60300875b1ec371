//! `panoply-metrics`: evaluators over plain slices, equal to the field's reference evaluators.
//!
//! No tensor type and no model type crosses this crate's edge: labels are `usize` (or `bool` for a
//! yes/no question), scores are `f32` or `f64`, tables of scores are row-major slices of
//! `[samples, classes]`, text is anything that is `AsRef<str>`. Every function agrees with its
//! reference to 1e-6 on the cases of `tests/fixtures/`, and its arguments carry the reference's
//! names (`y_true`, `y_pred`, `y_score`, `y_proba`, `smooth_method`):
//!
//! | metrics | reference |
//! |---|---|
//! | [`ConfusionMatrix`], [`MultilabelCounts`], [`TopK`], [`LogLoss`], [`BrierScore`], ranking, regression | scikit-learn 1.9.1 |
//! | [`CalibrationBins`], [`Perplexity`], [`squad_v1`] | torchmetrics 1.9.0 |
//! | [`pearsonr`], [`spearmanr`] | SciPy 1.17.1 |
//! | [`squad_v2`] | transformers 4.57.3, the last release line with `squad_metrics` |
//! | [`EntityScorer`] | seqeval 1.2.2 |
//! | [`SegmentationScorer`] | the SIGHAN measures, from their definition |
//! | [`Bleu`], [`Chrf`] | sacrebleu 2.6.0 |
//! | [`RelevanceScorer`], [`CatalogueScorer`], [`GroupedAuc`] | RecBole 1.2.1, novelty RecTools 0.19.0 |
//! | [`precision_at_n`] | PyOD 3.6.7 |
//! | [`range_precision`], [`range_recall`] | aeon 1.6.0 |
//! | [`NabCorpus`] | NAB's published results, and its definition |
//! | [`ks_2samp`], [`chi2_contingency`], [`MmdTest`] | SciPy 1.17.1; MMD from its definition |
//!
//! Scores run from 0 to 1, but for SQuAD, BLEU, chrF and NAB, which run to 100 as in their references.
//!
//! What can be streamed is: [`ConfusionMatrix`], [`MultilabelCounts`], [`TopK`], [`LogLoss`],
//! [`BrierScore`], [`CalibrationBins`], [`Perplexity`], [`EntityScorer`], [`SegmentationScorer`],
//! [`RelevanceScorer`], [`CatalogueScorer`] and [`GroupedAuc`] take a batch or a user at a time
//! and keep sums and counts, never means of means.
//! Rank metrics ([`roc_auc`], [`average_precision`]) need all scores at once.
//!
//! Where a reference warns and answers NaN, the answer here is
//! [`MetricError::Undefined`]; each function says when.
//!
//! ```
//! use panoply_metrics::{Average, ConfusionMatrix, roc_auc};
//!
//! # fn main() -> Result<(), panoply_metrics::MetricError> {
//! let mut matrix = ConfusionMatrix::new(3)?;
//! matrix.update(&[0, 1, 2, 2], &[0, 2, 2, 2])?; // one batch
//! matrix.update(&[1, 0], &[1, 0])?; // the next
//! assert_eq!(matrix.accuracy()?, 5.0 / 6.0);
//! assert_eq!(matrix.recall(Average::Macro)?, (1.0 + 0.5 + 1.0) / 3.0);
//!
//! let auc = roc_auc(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8])?;
//! assert_eq!(auc, 0.75);
//! # Ok(())
//! # }
//! ```

mod anomaly;
mod bleu;
mod bleu_tokenizer;
mod calibration;
mod check;
mod chrf;
mod classification;
mod correlation;
mod counts;
mod entity;
mod error;
mod kolmogorov_smirnov;
mod multilabel;
mod nab;
mod perplexity;
mod probability;
mod range_based;
mod ranking;
mod recommendation;
mod regression;
mod report;
mod sacrebleu;
mod segmentation;
mod squad;
mod tagging;
mod text;
mod top_k;
mod two_sample;

pub use anomaly::{F1Max, f1_max, point_adjusted_f1, pointwise_f1, precision_at_n, recall_at_fpr};
pub use bleu::{Bleu, BleuScore, BleuSmoothing};
pub use bleu_tokenizer::BleuTokenizer;
pub use calibration::{
    Bin, CalibrationBins, DEFAULT_BINS, binary_calibration_error, multiclass_calibration_error,
};
pub use check::Score;
pub use chrf::{Chrf, ChrfScore};
pub use classification::{Average, ClassScores, ConfusionMatrix, accuracy};
pub use correlation::{pearsonr, spearmanr};
pub use entity::{EntityReport, EntityRow, EntityScorer};
pub use error::{MetricError, Result};
pub use kolmogorov_smirnov::{KsMethod, KsTest, ks_2samp};
pub use multilabel::MultilabelCounts;
pub use nab::{NabCorpus, NabProfile, NabScore};
pub use perplexity::Perplexity;
pub use probability::{
    BrierScore, LogLoss, binary_brier_score, binary_log_loss, brier_score, log_loss,
};
pub use range_based::{
    Cardinality, PositionalBias, range_f_beta, range_precision, range_recall, spans,
};
pub use ranking::{
    PrPoint, RocPoint, average_precision, average_precision_multilabel, precision_recall_curve,
    roc_auc, roc_auc_ovr, roc_curve,
};
pub use recommendation::{
    CatalogueScorer, CatalogueScores, GroupedAuc, RelevanceScorer, RelevanceScores, Tail,
    top_k_items,
};
pub use regression::{mean_absolute_error, mean_squared_error, root_mean_squared_error};
pub use report::{ClassificationReport, ReportRow};
pub use sacrebleu::SACREBLEU_VERSION;
pub use segmentation::{SegmentationScorer, SegmentationScores};
pub use squad::{
    SquadScores, SquadV2Scores, normalize_answer, squad_exact, squad_f1, squad_v1, squad_v2,
};
pub use tagging::{Entity, TaggingMode, TaggingScheme, entities};
pub use top_k::{TopK, top_k_accuracy};
pub use two_sample::{Chi2Test, MmdTest, chi2_contingency, median_bandwidth};
