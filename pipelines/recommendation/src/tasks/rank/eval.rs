//! Scores a ranker, or anybody's lists, on held-out interactions.

use super::{
    protocol::{Field, Protocol, Scores},
    ranker::{Ranker, Settings},
};
use crate::tasks::rows::Id;
use panoply_core::{Error, Evaluation, Result, RunContext, predictions::read_predictions};
use panoply_datasets::{
    InteractionOptions, Interactions, SplitConfig, interactions::Csr, open_interaction_splits,
    open_interactions_for_eval,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::Path};

impl Settings {
    fn protocol(&self) -> Protocol {
        Protocol {
            ks: self.ks.clone(),
            sampled_negatives: self.sampled_negatives,
            seed: self.seed,
            auc: self.auc,
        }
    }
}

/// Relevance and catalogue metrics at each cut-off, on the test file of `data` with what is in its training and validation
/// files masked, else on the file itself with the model's own training masked.
pub(super) fn eval(ranker: &Ranker, data: &Path, context: &RunContext) -> Result<Evaluation> {
    let protocol = ranker.settings().protocol();
    let columns = InteractionOptions {
        min_user_interactions: 0,
        min_item_interactions: 0,
        ..ranker.config.columns.clone()
    };
    let (scored, before) = open_interactions_for_eval(data, &columns, &ranker.ids)?;
    let before: Vec<&Interactions> = before.iter().collect();
    let field = Field::new(&ranker.histories, &before, &scored);
    let num_users = ranker.config.num_users;
    let scores = field.score(
        ranker.model.as_ref(),
        num_users,
        &protocol,
        context,
        Some("eval"),
    )?;
    if scores.num_users() == 0 {
        let what = "none of its users is known to the model";
        let expected = "held-out interactions of the users of training";
        return Err(Error::input(scored.location(), what, expected));
    }
    if protocol.sampled_negatives.is_some() {
        tracing::warn!("{}", protocol.describe());
    }
    let unknown_users = field.num_unknown(num_users);
    let unknown_items = scored.num_items() - ranker.config.num_items;
    let notes = [
        ("unknown_users", unknown_users),
        ("unknown_items", unknown_items),
    ];
    evaluation(&scores, &protocol, &notes)
}

fn evaluation(scores: &Scores, protocol: &Protocol, notes: &[(&str, usize)]) -> Result<Evaluation> {
    let metrics = scores.metrics()?;
    let headline: Map<String, Value> = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let mut json = json!({
        "num_users": scores.num_users(), "protocol": protocol.describe(), "metrics": headline,
    });
    let mut rows = vec![vec![String::new(), "protocol".into(), protocol.describe()]];
    for &(name, count) in notes.iter().filter(|(_, count)| *count > 0) {
        json[name] = json!(count);
        rows.push(vec![
            String::new(),
            name.replace('_', " "),
            count.to_string(),
        ]);
    }
    let header = ["", "", ""].map(String::from).to_vec();
    Ok(Evaluation {
        num_samples: scores.num_users(),
        table: std::iter::once(header).chain(rows).collect(),
        json,
        metrics,
        artefacts: Vec::new(),
    })
}

/// A line of a file of predictions: the items as ids, or as objects with their id.
#[derive(Deserialize)]
struct Line {
    user: Id,
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Scored { item: Id },
    Bare(Id),
}

impl Item {
    fn id(&self) -> &str {
        match self {
            Self::Scored { item } | Self::Bare(item) => &item.0,
        }
    }
}

/// Scores lists of items, a line a user: those of the users of the test file of the folder `data`, whose training file
/// gives popularity. A user without a line gets an empty list.
pub(super) fn score_predictions(
    predictions: &Path,
    data: &Path,
    settings: &Settings,
) -> Result<Evaluation> {
    let protocol = Protocol {
        auc: false,
        sampled_negatives: None,
        ..settings.protocol()
    };
    let parts = open_interaction_splits(
        data,
        &InteractionOptions::default(),
        &SplitConfig::default(),
    )?;
    let (_, scored) = parts.scored();
    let positives = scored.by_user();
    let ids = scored.ids();
    let mut lists: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut unknown_items = 0;
    for line in read_predictions(predictions)? {
        let line = line?;
        let parsed: Line = line.parse("{\"user\": …, \"items\": [id or {\"item\": id}, …]}")?;
        let Some(user) = ids.users.get(&parsed.user.0) else {
            continue;
        };
        let mut list = Vec::with_capacity(parsed.items.len());
        for item in &parsed.items {
            if let Some(item) = ids.items.get(item.id()) {
                list.push(item as usize);
            } else {
                // It keeps its place: an item that nobody has is no hit.
                list.push(ids.items.len() + unknown_items);
                unknown_items += 1;
            }
        }
        if lists.insert(user, list).is_some() {
            let what = format!("user '{}' a second time", parsed.user.0);
            return Err(Error::input(line.location, what, "one line a user"));
        }
    }
    let mut popularity = vec![0; ids.items.len() + unknown_items];
    for &item in parts.train.items() {
        popularity[item as usize] += 1;
    }
    let train: Csr = parts.train.by_user();
    let num_train_users = train.rows().filter(|row| !row.is_empty()).count();
    let mut scores = Scores::new(&protocol, &popularity, num_train_users)?;
    let mut missing = 0;
    for (user, positives) in positives
        .rows()
        .enumerate()
        .filter(|(_, row)| !row.is_empty())
    {
        let list = lists.get(&(user as u32)).map_or(&[][..], Vec::as_slice);
        missing += usize::from(list.is_empty());
        let added = scores.add(list, positives, None);
        added.map_err(|e| {
            let name = ids.users.name(user as u32);
            let location = format!("{}, user '{name}'", predictions.display());
            Error::input(location, e.to_string(), "a list with each item once")
        })?;
    }
    let notes = [
        ("users_without_a_list", missing),
        ("unknown_items", unknown_items),
    ];
    let given = Protocol {
        ks: protocol.ks.clone(),
        ..Protocol::default()
    };
    let mut evaluation = evaluation(&scores, &given, &notes)?;
    evaluation.json["protocol"] = json!("the lists as they are given");
    evaluation.table[1][2] = "the lists as they are given".into();
    Ok(evaluation)
}
