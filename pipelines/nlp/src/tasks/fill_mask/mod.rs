//! `nlp fill-mask`: which word is hidden?
//!
//! The answers of transformers' `fill-mask` pipeline, with a model that was pretrained by masked
//! tokens (Devlin et al., 2019). A text may hold several masks; each is filled alone. Either spelling,
//! `[MASK]` or `<mask>`, is understood by every model; the reference takes only the model's own.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run nlp fill-mask --text "Paris is the [MASK] of France."` | the five best words |
//! | `cargo xtask train nlp fill-mask --recipe debug` | pretrains a tiny BERT on the bundled slice of Shakespeare |
//! | `cargo xtask train nlp fill-mask --recipe base --data DIR` | pretrains on your texts, with `--model` from another's weights |

mod recipe;
mod samples;
mod train;

pub use recipe::{DataConfig, ModelConfig, RECIPES, Recipe};

use super::encoder::{EncoderFolder, by_length, examples};
use crate::{
    models::bert::{BertConfig, BertForMaskedLm},
    preprocess::{Encoded, TextTokenizer, encoder_input},
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use panoply_core::{
    DataCheck, Error, Input, InputKind, ModelCard, Output, PredictOptions, Predictor, RecipeInfo,
    Result, RunContext, Session, Task, TrainOutcome, TrainRequest, guard, host, task::answer_batch,
    weights::LoadOptions,
};
use serde::Serialize;
use serde_json::json;
use std::path::Path;

/// The model used when none is given.
pub const DEFAULT: &str = "distilbert/distilbert-base-uncased";

/// Heads that pretraining left in published files and that this task does not use.
const OTHER_HEADS: LoadOptions<'static> = LoadOptions {
    allow_missing: &[],
    allow_unexpected: &["**pooler.**", "cls.seq_relationship.**"],
};

/// The task.
pub struct FillMask;

impl Task for FillMask {
    fn name(&self) -> &'static str {
        "fill-mask"
    }

    fn about(&self) -> &'static str {
        "guess the words behind [MASK]"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        examples(&[
            "Paris is the [MASK] of France.",
            "The [MASK] chases the [MASK].",
        ])
    }

    fn default_model(&self) -> &'static str {
        DEFAULT
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(FillSession(MaskFiller::open(model, context)?)))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }
}

/// A token that may stand behind a mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filling {
    /// The token as text.
    pub label: String,
    /// Softmax probability.
    pub score: f64,
    /// Its id.
    pub index: usize,
    /// The whole text with it in its place.
    pub text: String,
}

/// The answer to one text.
#[derive(Clone, Debug)]
pub struct Filled {
    /// For each mask, in order, the best tokens, best first.
    pub masks: Vec<Vec<Filling>>,
    /// For each mask the logits of all tokens.
    pub logits: Vec<Vec<f32>>,
}

/// A model that guesses masked tokens.
#[derive(Debug)]
pub struct MaskFiller {
    config: BertConfig,
    model: BertForMaskedLm,
    tokenizer: TextTokenizer,
    mask: (String, u32),
    card: ModelCard,
    device: Device,
    top_k: usize,
}

impl MaskFiller {
    /// Opens a model: a folder, or a Hub name (`owner/name[@revision]`).
    ///
    /// # Errors
    /// A folder without a head for masked tokens, or a tokenizer without a mask.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let found = EncoderFolder::find(model, context)?;
        let mask = found.tokenizer.mask().ok_or_else(|| {
            let path = found.folder.path().display().to_string();
            Error::input(path, "a tokenizer without a mask", "[MASK] or <mask>")
        })?;
        let mask = (mask.0.to_string(), mask.1);
        let mut network = found.config.init_masked_lm(&found.device);
        found.load(&mut network, OTHER_HEADS)?;
        Ok(Self {
            card: found.card("fill-mask", &network)?,
            model: network,
            config: found.config,
            tokenizer: found.tokenizer,
            device: found.device,
            mask,
            top_k: 5,
        })
    }

    /// How many tokens are offered for each mask; 5 unless told.
    #[must_use]
    pub fn with_top_k(self, top_k: usize) -> Self {
        Self { top_k, ..self }
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Tokens of a text with at least one mask; `name` stands for it in messages.
    fn encode(&self, name: &str, text: &str) -> Result<Encoded> {
        let (mask, id) = (&self.mask.0, self.mask.1);
        let encoded = if text.contains(mask.as_str()) {
            self.tokenizer.encode(name, text)?
        } else {
            let text = text.replace("[MASK]", mask).replace("<mask>", mask);
            self.tokenizer.encode(name, &text)?
        };
        if encoded.ids.contains(&id) {
            return Ok(encoded);
        }
        let what = if encoded.truncated {
            format!("no {mask} in its first {} tokens", encoded.len())
        } else {
            format!("no {mask} in it")
        };
        Err(Error::input(name, what, "a text with a mask"))
    }

    /// Places of the masks in a text.
    fn masks<'a>(&self, encoded: &'a Encoded) -> impl Iterator<Item = usize> + 'a {
        let mask = self.mask.1;
        let ids = encoded.ids.iter().enumerate();
        ids.filter(move |(_, id)| **id == mask).map(|(at, _)| at)
    }

    /// Logits of every mask of a batch, text after text: `[masks, vocab_size]`.
    fn logits(&self, batch: &[&Encoded]) -> Tensor<2> {
        let hidden = self
            .model
            .bert
            .forward(&encoder_input(batch, &self.config, &self.device));
        let [rows, seq, features] = hidden.dims();
        let at = |(row, encoded): (usize, &&Encoded)| {
            let places: Vec<i64> = self
                .masks(encoded)
                .map(|place| (row * seq + place) as i64)
                .collect();
            places
        };
        let places: Vec<i64> = batch.iter().enumerate().flat_map(at).collect();
        let count = places.len();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &self.device);
        let hidden = hidden.reshape([rows * seq, features]).select(0, places);
        self.model.head(hidden)
    }

    /// The best tokens of one text out of the logits of its masks.
    fn fill(&self, encoded: &Encoded, logits: &[&[f32]]) -> Result<Filled> {
        let mut masks = Vec::new();
        for (place, row) in self.masks(encoded).zip(logits) {
            let fillings = best(row, self.top_k);
            let fillings = fillings
                .into_iter()
                .map(|(index, score)| self.filling(encoded, place, index, score));
            masks.push(fillings.collect::<Result<_>>()?);
        }
        let logits = logits.iter().map(|row| row.to_vec()).collect();
        Ok(Filled { masks, logits })
    }

    fn filling(
        &self,
        encoded: &Encoded,
        place: usize,
        index: usize,
        score: f64,
    ) -> Result<Filling> {
        let mut ids = encoded.ids.clone();
        ids[place] = index as u32;
        // As the reference: padding is dropped, other masks stay visible.
        ids.retain(|&id| id as usize != self.config.pad_token_id);
        let single = self.masks(encoded).count() == 1;
        Ok(Filling {
            label: self.tokenizer.decode(&[index as u32], false)?,
            score,
            index,
            text: self.tokenizer.decode(&ids, single)?,
        })
    }

    /// Answers to a batch.
    fn answer(&self, batch: &[&Encoded]) -> Result<Vec<Filled>> {
        let logits = self.logits(batch);
        let [_, vocab] = logits.dims();
        let values = host::to_vec(logits)?;
        let mut rows = values.chunks(vocab);
        batch
            .iter()
            .map(|encoded| {
                let count = self.masks(encoded).count();
                let own: Vec<&[f32]> = rows.by_ref().take(count).collect();
                self.fill(encoded, &own)
            })
            .collect()
    }
}

/// Index and softmax probability of the `k` largest logits, largest first; ties by index.
fn best(logits: &[f32], k: usize) -> Vec<(usize, f64)> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |v: f32| f64::from(v - max).exp();
    let sum: f64 = logits.iter().map(|&v| exp(v)).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let scored = order.into_iter().take(k);
    scored.map(|i| (i, exp(logits[i]) / sum)).collect()
}

impl Predictor for MaskFiller {
    type Input = String;
    type Batch = Vec<Encoded>;
    type Raw = Vec<Filled>;
    type Output = Filled;

    fn preprocess(&self, inputs: &[String]) -> Result<Vec<Encoded>> {
        let encode = |(i, text): (usize, &String)| self.encode(&format!("text {}", i + 1), text);
        inputs.iter().enumerate().map(encode).collect()
    }

    fn forward(&self, batch: Vec<Encoded>) -> Result<Vec<Filled>> {
        let batch: Vec<&Encoded> = batch.iter().collect();
        guard("the forward pass", || self.answer(&batch))
    }

    fn postprocess(&self, raw: Vec<Filled>) -> Result<Vec<Filled>> {
        Ok(raw)
    }
}

/// A filler behind the task's edge.
struct FillSession(MaskFiller);

impl Session for FillSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let filler = &self.0;
        answer_batch(
            "filling masks",
            inputs,
            |input| filler.encode(&input.name, input.as_text()?),
            |encoded| {
                by_length(encoded, options.batch, Encoded::len, |batch| {
                    filler.answer(batch)
                })
            },
            |_, _, filled| Ok(output(filled, options)),
        )
    }
}

fn output(filled: &Filled, options: &PredictOptions) -> Output {
    let mut table = vec![["", "label", "score", "text"].map(String::from).to_vec()];
    for filling in filled.masks.iter().flatten() {
        table.push(vec![
            String::new(),
            filling.label.clone(),
            format!("{:.4}", filling.score),
            filling.text.clone(),
        ]);
    }
    // One mask gives a list of answers, several give a list of such lists: as the reference.
    let labels = match &filled.masks[..] {
        [one] => json!(one),
        many => json!(many),
    };
    Output {
        json: json!({ "labels": labels }),
        raw: options.raw.then(|| json!({ "logits": filled.logits })),
        table,
        ..Output::default()
    }
}
