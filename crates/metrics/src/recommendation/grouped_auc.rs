//! Area under the ROC curve user by user.

use crate::{MetricError, Result, Score, roc_auc};

/// RecBole's `GAUC`: the area under the ROC curve of each user's candidates, averaged with the
/// number of the user's positives as weight (Zhu et al. 2017, "Optimized Cost per Click in Taobao
/// Display Advertising", equation 6, with positives for impressions). Equal scores count half.
///
/// Users whose candidates are all positive or all negative have no area, and are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupedAuc {
    sum: f64,
    weight: f64,
    num_users: u64,
    num_one_sided: u64,
}

impl GroupedAuc {
    /// No user yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one user's candidates; `y_true` says which are positive. Candidates that may not be
    /// recommended (masked ones) do not belong among them.
    pub fn update<S: Score>(&mut self, y_true: &[bool], y_score: &[S]) -> Result<()> {
        match roc_auc(y_true, y_score) {
            Ok(area) => {
                let weight = y_true.iter().filter(|&&positive| positive).count() as f64;
                self.sum += weight * area;
                self.weight += weight;
                self.num_users += 1;
                Ok(())
            }
            Err(MetricError::Undefined { .. } | MetricError::Empty { .. }) => {
                self.num_one_sided += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The weighted mean so far; undefined if no user has candidates of both kinds.
    pub fn value(&self) -> Result<f64> {
        if self.num_users == 0 {
            return Err(MetricError::Undefined {
                metric: "GAUC",
                why: format!(
                    "none of {} users has positive and negative candidates",
                    self.num_one_sided
                ),
            });
        }
        Ok(self.sum / self.weight)
    }

    /// Users that the mean is over.
    pub fn num_users(&self) -> u64 {
        self.num_users
    }

    /// Users left out because their candidates are of one kind.
    pub fn num_one_sided(&self) -> u64 {
        self.num_one_sided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positives_weigh() {
        let mut auc = GroupedAuc::new();
        auc.update(&[true, false], &[1.0, 0.0]).unwrap();
        auc.update(&[true, true, false], &[1.0, 0.0, 0.5]).unwrap();
        auc.update(&[true], &[1.0]).unwrap();
        auc.update::<f64>(&[], &[]).unwrap();
        assert_eq!(auc.value().unwrap(), (1.0 + 2.0 * 0.5) / 3.0);
        assert_eq!((auc.num_users(), auc.num_one_sided()), (2, 2));
    }

    #[test]
    fn bad_input_is_named() {
        let mut auc = GroupedAuc::new();
        assert!(auc.value().is_err());
        assert!(auc.update(&[true, false], &[1.0, f64::NAN]).is_err());
        assert!(auc.update(&[true], &[1.0, 0.0]).is_err());
        assert_eq!(auc, GroupedAuc::new());
    }
}
