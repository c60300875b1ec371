//! Models made by a recipe: solved at once, or learned step by step.

use super::{networks, protocol::Field, recipe::Recipe, train::card};
use crate::models::{ModelConfig, Recommender, als, ease::Ease, item_knn::ItemKnn, pop::Pop};
use panoply_core::{
    Error, ModelCard, Result, RunContext, TrainRequest,
    fit::{self, Collate, History, Run, Samples, Trainable},
    report::{DataStage, Observed, Report, Solved, Trained},
    seed,
    weights::Arrays,
};
use panoply_datasets::{Interactions, Splits, interactions::Csr};

/// Everything that a model is made of.
pub(super) struct Job<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) request: &'a TrainRequest,
    pub(super) context: &'a RunContext,
    pub(super) run: &'a Run,
    pub(super) data: &'a Splits<Interactions>,
    /// The items of each user in the training part, ascending.
    pub(super) train: Csr,
    /// The same, the oldest first.
    pub(super) histories: Csr,
    /// Stage 1 of the report.
    pub(super) stage: DataStage,
}

/// A model, and what is to be said of how it was made.
pub(super) struct Made {
    pub(super) model: Box<dyn Recommender>,
    pub(super) page: Report,
    pub(super) history: History,
}

/// What a model that takes no steps leaves for its report.
struct Solution<M> {
    model: M,
    arrays: Arrays,
    loss: (&'static str, String),
    solver: &'static str,
    seed: u64,
}

impl Job<'_> {
    /// Makes the model that the recipe names.
    pub(super) fn make(&self) -> Result<Made> {
        let num_items = self.data.train.num_items();
        if self.recipe.fit.is_none() && self.recipe.model.is_learned() {
            let what = "null, where this architecture learns step by step";
            let expected = "a training loop, as in the recipe of its name";
            return Err(Error::input("fit", what, expected));
        }
        match &self.recipe.model {
            ModelConfig::Pop => {
                let model = Pop::fit(&self.train, num_items);
                let loss = "none: interactions of an item / those of the most popular one";
                Ok(self.solved(Solution {
                    arrays: model.arrays(),
                    model,
                    loss: ("popularity", loss.into()),
                    solver: "counting",
                    seed: 0,
                }))
            }
            ModelConfig::ItemKnn(config) => {
                let model = ItemKnn::fit(config, &self.train, num_items)?;
                let loss =
                    "none: users of both items / (norm of the one * norm of the other + shrink)";
                Ok(self.solved(Solution {
                    arrays: model.arrays(),
                    model,
                    loss: ("cosine similarity", loss.into()),
                    solver: "exact search over items with a common user",
                    seed: 0,
                }))
            }
            ModelConfig::Ease(config) => {
                let model = Ease::fit(config, &self.train, num_items)?;
                let loss = "||X - XB||^2 + reg_weight ||B||^2, the diagonal of B zero";
                Ok(self.solved(Solution {
                    arrays: model.arrays(),
                    model,
                    loss: ("ridge regression", loss.into()),
                    solver: "Cholesky factorisation",
                    seed: 0,
                }))
            }
            ModelConfig::Als(config) => {
                let interrupt = &self.context.interrupt;
                let model = als::fit(config, &self.train, num_items, interrupt)?;
                let loss = "sum of c (p - x.y)^2 + regularization (||x||^2 + ||y||^2)";
                Ok(self.solved(Solution {
                    arrays: model.arrays(),
                    model,
                    loss: ("weighted least squares", loss.into()),
                    solver: "alternating least squares, exact by Cholesky factorisations",
                    seed: config.seed,
                }))
            }
            ModelConfig::Bpr(config) => networks::bpr(self, config),
            ModelConfig::NeuMf(config) => networks::neu_mf(self, config),
            ModelConfig::LightGcn(config) => networks::light_gcn(self, config),
            ModelConfig::SasRec(config) => networks::sas_rec(self, config),
        }
    }

    /// Number of users and of items.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.data.train.num_users(), self.data.train.num_items()]
    }

    fn card(&self, num_params: usize) -> ModelCard {
        card(
            self.recipe.model.architecture(),
            num_params,
            "unknown",
            "trained from scratch",
        )
    }

    fn solved<M: Recommender + 'static>(&self, solution: Solution<M>) -> Made {
        let card = self.card(solution.model.num_params());
        let page = Solved {
            recipe: self.recipe,
            seed: solution.seed,
            request: self.request,
            card: &card,
            arrays: &solution.arrays,
            data: self.stage.clone(),
            loss: solution.loss,
            solver: solution.solver,
        };
        Made {
            model: Box::new(solution.model),
            page: page.page(self.context),
            history: History::default(),
        }
    }

    /// Trains what `init` gives; after each epoch the recommender that `recommender` makes of it is scored on the
    /// validation part.
    pub(super) fn learned<M, S, C>(
        &self,
        init: impl FnOnce() -> Result<M>,
        samples: &S,
        collate: &C,
        loss: (&'static str, &'static str),
        observe: impl Fn(&M) -> Result<Observed>,
        recommender: impl Fn(&M) -> Result<Box<dyn Recommender>>,
    ) -> Result<Made>
    where
        M: Trainable,
        S: Samples,
        C: Collate<S::Sample, Batch = M::Batch>,
    {
        if self.data.valid.is_empty() {
            let (location, what) = (self.data.train.location(), "no validation part");
            return Err(Error::input(
                location,
                what,
                "one, which says when training ends",
            ));
        }
        let config = self.recipe.fit.clone().unwrap_or_default();
        // The device's generator initialises the weights: the same seed, the same start.
        self.context.device.seed(seed::derive(&[config.seed]));
        let field = Field::new(&self.histories, &[], &self.data.valid);
        let num_users = self.data.train.num_users();
        let mut validate = |model: &M| {
            let model = recommender(model)?;
            let protocol = &self.recipe.protocol;
            field
                .score(model.as_ref(), num_users, protocol, self.context, None)?
                .metrics()
        };
        let start = init()?;
        let fitted = fit::fit(
            start,
            &config,
            samples,
            collate,
            &mut validate,
            self.run,
            self.context,
        )?;
        let model = recommender(&fitted.model)?;
        let trained = Trained {
            recipe: self.recipe,
            fit: &config,
            request: self.request,
            fitted: &fitted,
            card: &self.card(model.num_params()),
            data: self.stage.clone(),
            loss: (loss.0, loss.1.into()),
            num_samples: samples.len(),
        };
        let page = trained.page(observe(&fitted.model)?, self.context)?;
        Ok(Made {
            model,
            page,
            history: fitted.history,
        })
    }
}
