//! Precision, recall and F1 of entities in tagged sequences (seqeval 1.2.2). An entity is right if
//! its type and both of its bounds are.

use crate::counts::{Counts, averaged, check_beta};
use crate::tagging::entities_named;
use crate::{Average, ClassScores, Entity, MetricError, Result, TaggingMode, check};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One entity type, or one average, of an [`EntityReport`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntityRow {
    /// The type as the tags name it.
    pub name: String,
    /// Its scores.
    #[serde(flatten)]
    pub scores: ClassScores,
}

/// seqeval's `classification_report`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntityReport {
    /// Types that occur among the true or predicted entities, by name.
    pub types: Vec<EntityRow>,
    /// Over all entities together: the usual score.
    pub micro_avg: ClassScores,
    /// Plain means over `types`.
    pub macro_avg: ClassScores,
    /// Means weighted by support.
    pub weighted_avg: ClassScores,
}

/// Entities of tagged sequences, counted by type.
///
/// Divisions by zero give 0, seqeval's `zero_division` default. The macro average is over the
/// types that occur among the true or predicted entities, and undefined if there is none (seqeval
/// answers NaN).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityScorer {
    mode: TaggingMode,
    types: BTreeMap<String, Counts>,
    num_tokens: u64,
    right_tokens: u64,
}

impl EntityScorer {
    /// No sequence yet.
    pub fn new(mode: TaggingMode) -> Self {
        Self {
            mode,
            types: BTreeMap::new(),
            num_tokens: 0,
            right_tokens: 0,
        }
    }

    /// Counts a batch of sequences of tags. Nothing is counted if it is an error: the batches
    /// differ in length, a pair of sequences does, or a tag is refused (see
    /// [`entities`](crate::entities)).
    pub fn update<S, T, U, V>(&mut self, y_true: &[S], y_pred: &[U]) -> Result<()>
    where
        S: AsRef<[T]>,
        T: AsRef<str>,
        U: AsRef<[V]>,
        V: AsRef<str>,
    {
        check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
        let mut more = Self::new(self.mode);
        for (index, (truth, predicted)) in y_true.iter().zip(y_pred).enumerate() {
            let (truth, predicted) = (truth.as_ref(), predicted.as_ref());
            if truth.len() != predicted.len() {
                return Err(MetricError::SequenceLength {
                    what: "y_pred",
                    index,
                    found: predicted.len(),
                    expected: truth.len(),
                    against: "y_true",
                });
            }
            more.num_tokens += truth.len() as u64;
            let pairs = truth.iter().zip(predicted);
            let right = pairs.filter(|(truth, predicted)| truth.as_ref() == predicted.as_ref());
            more.right_tokens += right.count() as u64;
            more.count(
                entities_named("a sequence of y_true", truth, self.mode)?,
                entities_named("a sequence of y_pred", predicted, self.mode)?,
            );
        }
        self.add(more);
        Ok(())
    }

    /// Adds what another has counted; an error if it reads tags otherwise.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.mode != self.mode {
            return Err(MetricError::Argument {
                name: "the other's mode",
                value: format!("{:?}", other.mode),
                expected: "the mode of this one",
            });
        }
        self.add(other.clone());
        Ok(())
    }

    /// Precision, averaged.
    pub fn precision(&self, average: Average) -> Result<f64> {
        self.averaged("entity precision", average, Counts::precision)
    }

    /// Recall, averaged.
    pub fn recall(&self, average: Average) -> Result<f64> {
        self.averaged("entity recall", average, Counts::recall)
    }

    /// F1, averaged.
    pub fn f1(&self, average: Average) -> Result<f64> {
        self.f_beta(1.0, average)
    }

    /// F-beta, averaged: `beta` of 0 is precision, infinite is recall.
    pub fn f_beta(&self, beta: f64, average: Average) -> Result<f64> {
        check_beta(beta)?;
        self.averaged("entity F-beta", average, |counts| counts.f_beta(beta))
    }

    /// Share of tokens whose tag is the true one (seqeval's `accuracy_score`).
    pub fn token_accuracy(&self) -> Result<f64> {
        self.tokens("token accuracy")?;
        Ok(self.right_tokens as f64 / self.num_tokens as f64)
    }

    /// The table of all types and averages; an error if no token was counted, and undefined if no
    /// entity was.
    pub fn report(&self) -> Result<EntityReport> {
        let support = Counts::sum(self.types.values().copied()).support;
        let averages = |average| {
            Ok(ClassScores {
                precision: self.precision(average)?,
                recall: self.recall(average)?,
                f1: self.f1(average)?,
                support,
            })
        };
        let rows = self.types.iter().map(|(name, counts)| EntityRow {
            name: name.clone(),
            scores: counts.scores(),
        });
        Ok(EntityReport {
            types: rows.collect(),
            micro_avg: averages(Average::Micro)?,
            macro_avg: averages(Average::Macro)?,
            weighted_avg: averages(Average::Weighted)?,
        })
    }

    fn count(&mut self, truth: Vec<Entity>, predicted: Vec<Entity>) {
        let mut row = |entity: &Entity, add: Counts| {
            let row = self.types.entry(entity.entity_type.clone());
            row.or_default().add(add);
        };
        let truth: BTreeSet<Entity> = truth.into_iter().collect();
        for entity in &truth {
            let support = 1;
            row(
                entity,
                Counts {
                    support,
                    ..Counts::default()
                },
            );
        }
        for entity in predicted {
            let hits = u64::from(truth.contains(&entity));
            row(
                &entity,
                Counts {
                    hits,
                    predicted: 1,
                    support: 0,
                },
            );
        }
    }

    fn add(&mut self, more: Self) {
        self.num_tokens += more.num_tokens;
        self.right_tokens += more.right_tokens;
        for (name, counts) in more.types {
            self.types.entry(name).or_default().add(counts);
        }
    }

    fn tokens(&self, metric: &'static str) -> Result<()> {
        match self.num_tokens {
            0 => Err(MetricError::Empty { metric }),
            _ => Ok(()),
        }
    }

    fn averaged(
        &self,
        metric: &'static str,
        average: Average,
        score: impl Fn(Counts) -> f64,
    ) -> Result<f64> {
        self.tokens(metric)?;
        let types: Vec<Counts> = self.types.values().copied().collect();
        averaged(metric, &types, average, score)
    }
}

impl EntityReport {
    /// The table as text cells, header first, for a person.
    pub fn table(&self) -> Vec<Vec<String>> {
        let header = ["type", "precision", "recall", "f1", "support"];
        let mut table = vec![header.map(String::from).to_vec()];
        let types = self
            .types
            .iter()
            .map(|row| (row.name.as_str(), &row.scores));
        let averages = [
            ("micro avg", &self.micro_avg),
            ("macro avg", &self.macro_avg),
            ("weighted avg", &self.weighted_avg),
        ];
        table.extend(
            types
                .chain(averages)
                .map(|(name, scores)| scores.cells(name)),
        );
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaggingScheme;

    #[test]
    fn type_and_both_bounds_must_be_right() {
        let mut scorer = EntityScorer::new(TaggingMode::Lenient);
        let truth = [vec!["B-A", "I-A", "O", "B-B"], vec!["B-A"]];
        let predicted = [vec!["B-A", "O", "O", "B-B"], vec!["B-B"]];
        scorer.update(&truth[..1], &predicted[..1]).unwrap();
        scorer.update(&truth[1..], &predicted[1..]).unwrap();
        let table = scorer.report().unwrap().table();
        assert_eq!(table[1], ["A", "0.0000", "0.0000", "0.0000", "2"]);
        assert_eq!(table[2], ["B", "0.5000", "1.0000", "0.6667", "1"]);
        assert_eq!(table[3], ["micro avg", "0.3333", "0.3333", "0.3333", "3"]);
        assert_eq!(scorer.token_accuracy().unwrap(), 0.6);
    }

    #[test]
    fn a_bad_batch_counts_nothing_and_says_why() {
        let mut scorer = EntityScorer::new(TaggingMode::Strict(TaggingScheme::Iob2));
        let text = |r: Result<()>| r.unwrap_err().to_string();
        assert_eq!(
            text(scorer.update(&[vec!["O"], vec!["O"]], &[vec!["O"], vec!["O", "O"]])),
            "sequence 1 of y_pred has 2 elements; expected 1 to match y_true"
        );
        assert!(text(scorer.update(&[["O"], ["O"]], &[["O"], ["E-A"]])).contains("y_pred[0] is"));
        assert!(text(scorer.update(&[["O"]], &[["O"], ["O"]])).contains("expected 1"));
        assert_eq!(scorer.num_tokens, 0);
        assert!(matches!(
            scorer.f1(Average::Micro),
            Err(MetricError::Empty { .. })
        ));
        assert!(
            scorer
                .merge(&EntityScorer::new(TaggingMode::Lenient))
                .is_err()
        );
        scorer.update(&[["O"]], &[["O"]]).unwrap();
        assert_eq!(scorer.f1(Average::Micro), Ok(0.0));
        assert!(matches!(
            scorer.report(),
            Err(MetricError::Undefined { .. })
        ));
    }
}
