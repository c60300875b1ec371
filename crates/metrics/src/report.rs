//! The per-class table of `sklearn.metrics.classification_report`.

use crate::{Average, ClassScores, ConfusionMatrix, Result, check};
use serde::Serialize;

/// One class of a [`ClassificationReport`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportRow {
    /// Class index.
    pub label: usize,
    /// Class name.
    pub name: String,
    /// Its scores.
    #[serde(flatten)]
    pub scores: ClassScores,
}

/// Precision, recall, F1 and support of each class that occurs, and their averages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassificationReport {
    /// Classes that occur among the true or predicted labels, by index.
    pub classes: Vec<ReportRow>,
    /// Share of correct samples.
    pub accuracy: f64,
    /// Plain means over `classes`.
    pub macro_avg: ClassScores,
    /// Means weighted by support.
    pub weighted_avg: ClassScores,
}

impl ConfusionMatrix {
    /// The table, with one name for each class in `0..num_classes`; an error if a name is
    /// missing or nothing has been counted.
    pub fn report<N: AsRef<str>>(&self, names: &[N]) -> Result<ClassificationReport> {
        check::same_length(("names", names.len()), ("num_classes", self.num_classes()))?;
        let averages = |average| {
            Ok(ClassScores {
                precision: self.precision(average)?,
                recall: self.recall(average)?,
                f1: self.f1(average)?,
                support: self.total(),
            })
        };
        let rows = self.per_class().into_iter().zip(names).enumerate();
        Ok(ClassificationReport {
            classes: rows
                .filter(|(label, _)| self.is_present(*label))
                .map(|(label, (scores, name))| ReportRow {
                    label,
                    name: name.as_ref().to_string(),
                    scores,
                })
                .collect(),
            accuracy: self.accuracy()?,
            macro_avg: averages(Average::Macro)?,
            weighted_avg: averages(Average::Weighted)?,
        })
    }
}

impl ClassScores {
    /// A row of a report's table.
    pub(crate) fn cells(&self, name: &str) -> Vec<String> {
        let mut cells = vec![name.to_string()];
        cells.extend([self.precision, self.recall, self.f1].map(|v| format!("{v:.4}")));
        cells.push(self.support.to_string());
        cells
    }
}

impl ClassificationReport {
    /// The table as text cells, header first, for a person.
    pub fn table(&self) -> Vec<Vec<String>> {
        let header = ["class", "precision", "recall", "f1", "support"]
            .map(String::from)
            .to_vec();
        let mut table = vec![header];
        table.extend(
            self.classes
                .iter()
                .map(|class| class.scores.cells(&class.name)),
        );
        table.push(self.macro_avg.cells("macro avg"));
        table.push(self.weighted_avg.cells("weighted avg"));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_classes_have_no_row() {
        let m = ConfusionMatrix::from_labels(&[0, 0, 2], &[0, 2, 2], 4).unwrap();
        let report = m.report(&["ant", "bee", "cat", "dog"]).unwrap();
        let table = report.table();
        assert_eq!(table.len(), 5, "{table:?}");
        assert_eq!(table[1], ["ant", "1.0000", "0.5000", "0.6667", "2"]);
        assert_eq!(table[2], ["cat", "0.5000", "1.0000", "0.6667", "1"]);
        assert!(
            m.report(&["ant"])
                .unwrap_err()
                .to_string()
                .contains("expected 4")
        );
        assert!(ConfusionMatrix::new(1).unwrap().report(&["x"]).is_err());
    }
}
