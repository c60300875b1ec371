//! How each network is trained: its samples, its loss in words, what the report observes of it.

use super::learn::{Job, Made};
use crate::{
    models::{
        bpr::{Bpr, BprConfig, rows},
        light_gcn::{Graph, LightGcn, LightGcnConfig, LightGcnRecommender},
        neu_mf::{NeuMf, NeuMfConfig, NeuMfRecommender},
        sas_rec::{SasRec, SasRecConfig, SasRecLoss, SasRecRecommender},
    },
    preprocess::{
        CollatePairs, Pairs,
        sequences::{CollateSequences, Sequences},
    },
};
use burn::{
    nn::Embedding,
    tensor::{Int, Tensor},
};
use panoply_core::{
    Result,
    report::{OBSERVED, Observed},
};
use std::sync::Arc;

const BPR: (&str, &str) = (
    "BPR",
    "-ln sigmoid(score of a positive - score of a negative), mean over pairs",
);

pub(super) fn bpr(job: &Job<'_>, config: &BprConfig) -> Result<Made> {
    let samples = Pairs::new(&job.data.train)?;
    job.learned(
        || config.init(job.shape(), &job.context.device),
        &samples,
        &CollatePairs,
        BPR,
        |model: &Bpr| {
            let tables = [
                ("user_embedding", &model.user_embedding),
                ("item_embedding", &model.item_embedding),
            ];
            let (mut observed, users, items) = first_rows(job, &samples, tables)?;
            observed.note("scores", model.forward(users, items))?;
            Ok(observed)
        },
        |model| Ok(Box::new(model.factors()?)),
    )
}

pub(super) fn neu_mf(job: &Job<'_>, config: &NeuMfConfig) -> Result<Made> {
    let samples = Pairs::new(&job.data.train)?;
    job.learned(
        || config.init(job.shape(), &job.context.device),
        &samples,
        &CollatePairs,
        (
            "binary cross entropy",
            "-ln sigmoid(score of a positive) - ln(1 - sigmoid(score of a negative)), half the mean over pairs",
        ),
        |model: &NeuMf| {
            let tables = [
                ("user_mlp_embedding", &model.user_mlp_embedding),
                ("item_mlp_embedding", &model.item_mlp_embedding),
            ];
            let (mut observed, users, items) = first_rows(job, &samples, tables)?;
            observed.note("scores", model.forward(users, items))?;
            Ok(observed)
        },
        |model| Ok(Box::new(NeuMfRecommender::new(model))),
    )
}

pub(super) fn light_gcn(job: &Job<'_>, config: &LightGcnConfig) -> Result<Made> {
    let samples = Pairs::new(&job.data.train)?;
    let graph = Arc::new(Graph::new(&job.train, job.data.train.num_items()));
    job.learned(
        || config.init(graph, &job.context.device),
        &samples,
        &CollatePairs,
        BPR,
        |model: &LightGcn| {
            let tables = [
                ("user_embedding", &model.user_embedding),
                ("item_embedding", &model.item_embedding),
            ];
            let (mut observed, users, _) = first_rows(job, &samples, tables)?;
            observed.note("spread vectors", model.forward().select(0, users))?;
            Ok(observed)
        },
        |model| Ok(Box::new(LightGcnRecommender::new(model)?)),
    )
}

pub(super) fn sas_rec(job: &Job<'_>, config: &SasRecConfig) -> Result<Made> {
    let samples = Sequences::new(&job.data.train, config.max_seq_length)?;
    let loss = match config.loss_type {
        SasRecLoss::Bce => (
            "binary cross entropy",
            "-ln sigmoid(score of the next item) - ln(1 - sigmoid(score of a drawn one)), mean over positions",
        ),
        SasRecLoss::Ce => (
            "cross entropy",
            "-ln softmax(scores of all items) at the next item, mean over positions",
        ),
    };
    job.learned(
        || config.init(job.data.train.num_items(), &job.context.device),
        &samples,
        &CollateSequences,
        loss,
        |model: &SasRec| {
            let batch = samples.first(OBSERVED, &job.context.device);
            let mut observed = Observed::default();
            let embedded = model.item_embedding.forward(batch.rows.clone());
            observed.note("item_embedding", embedded)?;
            observed.note("sequence", model.forward(batch.rows))?;
            Ok(observed)
        },
        |model| Ok(Box::new(SasRecRecommender::new(model))),
    )
}

type Indices = Tensor<1, Int>;

/// Notes the rows of users and items of the first pairs; gives these, too.
fn first_rows(
    job: &Job<'_>,
    samples: &Pairs,
    [(user_name, users), (item_name, items)]: [(&'static str, &Embedding); 2],
) -> Result<(Observed, Indices, Indices)> {
    let batch = samples.first(OBSERVED, &job.context.device);
    let mut observed = Observed::default();
    observed.note(user_name, rows(users, batch.users.clone()))?;
    observed.note(item_name, rows(items, batch.positives.clone()))?;
    Ok((observed, batch.users, batch.positives))
}
