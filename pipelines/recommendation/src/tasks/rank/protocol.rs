//! How a recommender is scored: full ranking with seen items masked, unless asked otherwise.

use crate::{
    models::{Query, Recommender},
    preprocess::draw_unseen,
};
use panoply_core::{Error, Result, RunContext, fit::Metrics, progress::Progress, seed};
use panoply_datasets::{Interactions, interactions::Csr};
use panoply_metrics::{
    CatalogueScorer, GroupedAuc, MetricError, RelevanceScorer, Tail, top_k_items,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Users that are scored together.
const CHUNK: usize = 256;

/// Which items are ranked, and to which depth lists are looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// Cut-offs. Default 10.
    pub ks: Vec<usize>,
    /// Rank a user's held-out items among so many others, drawn uniformly, instead of among all. What comes
    /// out is not comparable with a full ranking, nor between models (Krichene and Rendle, 2020).
    pub sampled_negatives: Option<usize>,
    /// Seed of the sampled negatives.
    pub seed: u64,
    /// Also the area under the ROC curve, user by user.
    pub auc: bool,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            ks: vec![10],
            sampled_negatives: None,
            seed: 0,
            auc: false,
        }
    }
}

impl Protocol {
    /// In words, with a warning where one is due.
    pub fn describe(&self) -> String {
        match self.sampled_negatives {
            None => "full ranking, seen items masked".into(),
            Some(count) => format!(
                "{count} sampled negatives a user: NOT comparable with a full ranking or between models \
                 (Krichene and Rendle, 2020)"
            ),
        }
    }

    /// Items that stay in the list of a user: the held-out ones and the sampled negatives.
    fn candidates(
        &self,
        count: usize,
        user: u32,
        positives: &[u32],
        seen: &[u32],
        all: usize,
    ) -> Vec<u32> {
        let mut taken = [positives, seen].concat();
        taken.sort_unstable();
        taken.dedup();
        let mut candidates = positives.to_vec();
        for draw in 0..count {
            if taken.len() >= all {
                break;
            }
            let seed = seed::derive(&[self.seed, u64::from(user), draw as u64]);
            let item = draw_unseen(&taken, all, seed);
            let at = taken.partition_point(|&other| other < item);
            taken.insert(at, item);
            candidates.push(item);
        }
        candidates
    }
}

/// What is scored, by user.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// What models may know of each user: the training part, the oldest item first.
    histories: Csr,
    /// The same and what was known before, for models that go on with a sequence.
    sequences: Csr,
    /// What is not recommended again, ascending.
    seen: Csr,
    /// What was held out.
    positives: Csr,
    popularity: Vec<u64>,
    num_train_users: usize,
}

impl Field {
    /// The users of `scored`, whose items in `train` and `before` (what was known before, validation) are masked.
    /// All have the same ids, or more of them after those of `train`.
    pub(crate) fn new(histories: &Csr, before: &[&Interactions], scored: &Interactions) -> Self {
        let known: Vec<Csr> = before.iter().map(|part| part.by_user()).collect();
        let positives = scored.by_user();
        let seen = (0..positives.num_rows()).map(|user| {
            let mut seen = histories.row(user).to_vec();
            for part in &known {
                seen.extend(part.row(user));
            }
            seen.sort_unstable();
            seen.dedup();
            // What is held out stays in the list, whatever was known before.
            let held = positives.row(user);
            seen.retain(|item| held.binary_search(item).is_err());
            seen
        });
        let seen = Csr::from_rows(seen);
        let parts: Vec<Csr> = before.iter().map(|part| part.histories()).collect();
        let sequences = (0..positives.num_rows()).map(|user| {
            let mut sequence = histories.row(user).to_vec();
            for part in &parts {
                sequence.extend(part.row(user));
            }
            sequence
        });
        let sequences = Csr::from_rows(sequences);
        let mut popularity = vec![0; scored.num_items()];
        for &item in histories.indices() {
            popularity[item as usize] += 1;
        }
        Self {
            num_train_users: histories.rows().filter(|row| !row.is_empty()).count(),
            histories: histories.clone(),
            sequences,
            seen,
            positives,
            popularity,
        }
    }

    /// Users with something held out, of the first `num_users`.
    fn users(&self, num_users: usize) -> Vec<u32> {
        let with = |user: &u32| !self.positives.row(*user as usize).is_empty();
        (0..num_users.min(self.positives.num_rows()) as u32)
            .filter(with)
            .collect()
    }

    /// Scores `model`, which knows the first `num_users` users.
    pub(crate) fn score(
        &self,
        model: &dyn Recommender,
        num_users: usize,
        protocol: &Protocol,
        context: &RunContext,
        label: Option<&str>,
    ) -> Result<Scores> {
        let users = self.users(num_users);
        let mut scores = Scores::new(protocol, &self.popularity, self.num_train_users)?;
        let mut progress = label.map_or_else(Progress::hidden, |label| {
            Progress::new(label, users.len() as u64)
        });
        for chunk in users.chunks(CHUNK) {
            if context.interrupt.is_raised() {
                return Err(Error::Interrupted {
                    resume: "an evaluation keeps no state: run it again".into(),
                });
            }
            let histories = if model.is_sequential() {
                &self.sequences
            } else {
                &self.histories
            };
            let query = |&user: &u32| Query {
                user: Some(user),
                history: histories.row(user as usize),
            };
            let queries: Vec<Query<'_>> = chunk.iter().map(query).collect();
            let mut rows = model.scores(&queries)?;
            let lists: Result<Vec<_>> = rows
                .par_chunks_mut(model.num_items().max(1))
                .zip(chunk)
                .map(|(row, &user)| self.list(row, user, protocol))
                .collect();
            for ((list, auc), &user) in lists?.iter().zip(chunk) {
                let positives = self.positives.row(user as usize);
                scores.add(list, positives, auc.as_ref())?;
            }
            progress.advance(chunk.len() as u64, "");
        }
        progress.finish();
        Ok(scores)
    }

    /// The list of one user, and, if asked for, the scores of all candidates with which of them were held out.
    fn list(
        &self,
        row: &mut [f32],
        user: u32,
        protocol: &Protocol,
    ) -> Result<(Vec<usize>, Option<Candidates>)> {
        let (seen, positives) = (
            self.seen.row(user as usize),
            self.positives.row(user as usize),
        );
        if let Some(count) = protocol.sampled_negatives {
            let candidates = protocol.candidates(count, user, positives, seen, row.len());
            let mut kept = vec![f32::NEG_INFINITY; row.len()];
            for item in candidates {
                if let Some(score) = row.get(item as usize) {
                    kept[item as usize] = *score;
                }
            }
            row.copy_from_slice(&kept);
        } else {
            mask(row, seen);
        }
        let most = protocol.ks.iter().copied().max().unwrap_or_default();
        let list = top_k_items(row, most).map_err(metric_error)?;
        let auc = protocol.auc.then(|| {
            let all = row
                .iter()
                .enumerate()
                .filter(|(_, score)| score.is_finite());
            let held = |item: usize| positives.binary_search(&(item as u32)).is_ok();
            all.map(|(item, &score)| (held(item), score)).unzip()
        });
        Ok((list, auc))
    }

    /// Users with something held out of whom the model knows nothing.
    pub(crate) fn num_unknown(&self, num_users: usize) -> usize {
        self.users(usize::MAX).len() - self.users(num_users).len()
    }
}

/// Which candidates were held out, and the scores of all.
type Candidates = (Vec<bool>, Vec<f32>);

/// Takes `items` out of a row of scores.
pub(crate) fn mask(row: &mut [f32], items: &[u32]) {
    for &item in items {
        if let Some(score) = row.get_mut(item as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// The metrics of one pass over users.
#[derive(Clone, Debug)]
pub(crate) struct Scores {
    relevance: RelevanceScorer,
    catalogue: CatalogueScorer,
    auc: Option<GroupedAuc>,
}

impl Scores {
    /// None yet; `popularity` is the number of interactions of each item in training.
    pub(crate) fn new(
        protocol: &Protocol,
        popularity: &[u64],
        num_train_users: usize,
    ) -> Result<Self> {
        let ks = &protocol.ks;
        let wrong = |e: MetricError| Error::input("ks", e.to_string(), "cut-offs of at least 1");
        let users = num_train_users.max(1);
        Ok(Self {
            relevance: RelevanceScorer::new(ks).map_err(wrong)?,
            catalogue: CatalogueScorer::new(ks, popularity, users, Tail::default())
                .map_err(metric_error)?,
            auc: protocol.auc.then(GroupedAuc::new),
        })
    }

    pub(crate) fn add(
        &mut self,
        list: &[usize],
        positives: &[u32],
        auc: Option<&Candidates>,
    ) -> Result<()> {
        let positives: Vec<usize> = positives.iter().map(|&item| item as usize).collect();
        self.relevance
            .update(list, &positives)
            .map_err(metric_error)?;
        self.catalogue.update(list).map_err(metric_error)?;
        if let (Some(scorer), Some((held, scores))) = (&mut self.auc, auc) {
            scorer.update(held, scores).map_err(metric_error)?;
        }
        Ok(())
    }

    pub(crate) fn num_users(&self) -> usize {
        self.relevance.num_users() as usize
    }

    /// `recall@10`, `ndcg@10`, …, cut-off by cut-off; `gauc` where it was asked for.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        let mut metrics = Metrics::new();
        let relevance = self.relevance.scores().map_err(metric_error)?;
        let catalogue = self.catalogue.scores().map_err(metric_error)?;
        for (relevance, catalogue) in relevance.iter().zip(&catalogue) {
            let named = [
                ("recall", relevance.recall),
                ("ndcg", relevance.ndcg),
                ("mrr", relevance.mrr),
                ("hit", relevance.hit),
                ("precision", relevance.precision),
                ("map", relevance.map),
                ("coverage", catalogue.item_coverage),
                ("gini", catalogue.gini_index),
                ("popularity", catalogue.average_popularity),
                ("novelty", catalogue.novelty),
            ];
            let k = relevance.k;
            metrics.extend(named.map(|(name, value)| (format!("{name}@{k}"), value)));
        }
        if let Some(auc) = &self.auc {
            metrics.push(("gauc".into(), auc.value().map_err(metric_error)?));
        }
        Ok(metrics)
    }
}

pub(crate) fn metric_error(error: MetricError) -> Error {
    Error::Internal {
        context: "scoring".into(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::pop::Pop;
    use panoply_datasets::InteractionOptions;

    fn read(text: &str) -> Interactions {
        Interactions::from_bytes("x.csv", text.as_bytes(), &InteractionOptions::default()).unwrap()
    }

    /// Five items by falling popularity; user `a` has the first and is to find the fourth.
    fn field() -> (Field, Pop) {
        let text = "user,item\na,p\nb,p\nc,p\nb,q\nc,q\nc,r\nd,s\na,s\nd,t\n";
        let all = read(text);
        let train = all.select(&[0, 1, 2, 3, 4, 5, 6, 8]);
        let held = all.select(&[7]);
        let histories = train.histories();
        let pop = Pop::fit(&histories, all.num_items());
        (Field::new(&histories, &[], &held), pop)
    }

    #[test]
    fn a_full_ranking_masks_what_was_seen() {
        let (field, pop) = field();
        let protocol = Protocol {
            ks: vec![1, 3],
            auc: true,
            ..Protocol::default()
        };
        let scores = field
            .score(&pop, 4, &protocol, &RunContext::cpu(), None)
            .unwrap();
        assert_eq!(scores.num_users(), 1);
        let metrics = scores.metrics().unwrap();
        let value = |name: &str| metrics.iter().find(|(n, _)| n == name).unwrap().1;
        // Without `p` the list is q, r, s, t: `s` ranks third (r, s, t are equally popular).
        assert_eq!(
            (value("hit@1"), value("hit@3"), value("mrr@3")),
            (0.0, 1.0, 1.0 / 3.0)
        );
        assert_eq!(value("ndcg@3"), 0.5);
        // Of q, r and t, one is above and two are level with `s`.
        assert!(
            (value("gauc") - 1.0 / 3.0).abs() < 1e-9,
            "{}",
            value("gauc")
        );
        assert_eq!(field.num_unknown(4), 0);
    }

    #[test]
    fn sampled_negatives_are_few_and_say_so() {
        let (field, pop) = field();
        let protocol = Protocol {
            sampled_negatives: Some(1),
            ks: vec![2],
            ..Protocol::default()
        };
        let scores = field
            .score(&pop, 4, &protocol, &RunContext::cpu(), None)
            .unwrap();
        let metrics = scores.metrics().unwrap();
        assert_eq!(metrics[0], ("recall@2".into(), 1.0));
        assert!(protocol.describe().contains("NOT comparable"));
        let candidates = protocol.candidates(9, 0, &[3], &[0], 5);
        let mut sorted = candidates.clone();
        sorted.sort_unstable();
        assert_eq!((candidates[0], sorted), (3, vec![1, 2, 3, 4]));
        let none = Protocol {
            ks: vec![],
            ..Protocol::default()
        };
        assert!(
            field
                .score(&pop, 4, &none, &RunContext::cpu(), None)
                .is_err()
        );
    }
}
