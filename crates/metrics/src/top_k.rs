//! Top-k accuracy (`sklearn.metrics.top_k_accuracy_score`).

use crate::{MetricError, Result, Score, check};

/// Counts how often the true class is among the `k` highest scores.
///
/// Among equal scores the class with the higher index counts as ranked first, as in
/// scikit-learn's multiclass rule; an arg-max, which takes the lower index, may differ from k = 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopK {
    k: usize,
    hits: u64,
    total: u64,
}

impl TopK {
    /// For the `k` best classes; `k` is at least 1.
    pub fn new(k: usize) -> Result<Self> {
        if k == 0 {
            return Err(MetricError::Argument {
                name: "k",
                value: k.to_string(),
                expected: "at least 1",
            });
        }
        Ok(Self {
            k,
            hits: 0,
            total: 0,
        })
    }

    /// Counts a batch; `y_score` is `[samples, num_classes]`, any finite scores. With `k` at or
    /// above `num_classes` every sample is a hit. Nothing is counted if it is an error.
    pub fn update<S: Score>(
        &mut self,
        y_true: &[usize],
        y_score: &[S],
        num_classes: usize,
    ) -> Result<()> {
        check::table(y_true, ("y_score", y_score.len()), num_classes, 1)?;
        let scores = check::finite("y_score", y_score)?;
        for (&truth, row) in y_true.iter().zip(scores.chunks_exact(num_classes)) {
            let own = row[truth];
            let ahead = row
                .iter()
                .enumerate()
                .filter(|&(class, &score)| score > own || (score == own && class > truth));
            self.hits += u64::from(ahead.count() < self.k);
        }
        self.total += y_true.len() as u64;
        Ok(())
    }

    /// The share so far; an error if there is no sample.
    pub fn value(&self) -> Result<f64> {
        match self.total {
            0 => Err(MetricError::Empty {
                metric: "top-k accuracy",
            }),
            total => Ok(self.hits as f64 / total as f64),
        }
    }
}

/// [`TopK`] of one table of scores, `[samples, num_classes]`.
pub fn top_k_accuracy<S: Score>(
    y_true: &[usize],
    y_score: &[S],
    num_classes: usize,
    k: usize,
) -> Result<f64> {
    let mut top_k = TopK::new(k)?;
    top_k.update(y_true, y_score, num_classes)?;
    top_k.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_higher_index() {
        let score = [0.5f32, 0.5, 0.0];
        assert_eq!(top_k_accuracy(&[1], &score, 3, 1).unwrap(), 1.0);
        assert_eq!(top_k_accuracy(&[0], &score, 3, 1).unwrap(), 0.0);
        assert_eq!(top_k_accuracy(&[0], &score, 3, 2).unwrap(), 1.0);
        assert_eq!(top_k_accuracy(&[2], &score, 3, 9).unwrap(), 1.0);
    }

    #[test]
    fn bad_input_is_named() {
        let text = |r: Result<f64>| r.unwrap_err().to_string();
        assert_eq!(
            text(top_k_accuracy(&[0], &[f32::NAN], 1, 1)),
            "y_score[0] is NaN; expected a finite number"
        );
        assert!(text(top_k_accuracy(&[0], &[1.0], 1, 0)).contains("k is 0"));
        assert!(text(top_k_accuracy(&[0, 1], &[1.0, 0.0, 1.0], 2, 1)).contains("expected 4"));
        assert!(text(top_k_accuracy::<f64>(&[], &[], 2, 1)).contains("no samples"));
        assert!(text(top_k_accuracy::<f64>(&[], &[], 0, 1)).contains("num_classes is 0"));
    }
}
