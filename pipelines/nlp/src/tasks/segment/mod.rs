//! `nlp segment`: the words of Chinese text.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run nlp segment --text 今天天气很好` | words, by the bundled model |
//! | `cargo xtask run nlp segment a.txt --set user_dict=words.txt` | the same with your own words |
//! | `cargo xtask train nlp segment --recipe debug` | trains on the bundled slice of UD Chinese GSD |
//! | `cargo xtask eval nlp segment --model DIR --data gold.utf8` | precision, recall, F1, unknown words |
//! | `cargo xtask eval nlp segment --metrics-only found.jsonl --data gold.utf8 --set word_list=words.txt` | the same of any segmenter |
//!
//! The words of an answer, one after the other, are the input, character for character: white space
//! comes back as a word of its own. Runs of Latin letters and runs of digits are not cut. A line
//! longer than a window is read in windows and decoded as a whole.

mod bundled;
mod characters;
mod dictionary;
mod draw;
mod eval;
mod lexicon;
mod recipe;
mod samples;
mod segmenter;
mod train;

pub use bundled::BUNDLED;
pub use characters::{Preprocessing, TAGS};
pub use recipe::{DataConfig, ModelConfig, RECIPES, Recipe};
pub use segmenter::{Scored, SegmentBatch, Segmentation, Segmenter, Settings};

use crate::models::tagger::ARCHITECTURES;
use burn::tensor::Device;
use panoply_core::{
    DataCheck, Error, Evaluation, Input, InputKind, ModelCard, ModelFolder, Output, Payload,
    PredictOptions, Predictor, RecipeInfo, Result, RunContext, Session, Task, TrainOutcome,
    TrainRequest, answer_batch, weights,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The task.
pub struct Segment;

impl Task for Segment {
    fn name(&self) -> &'static str {
        "segment"
    }

    fn about(&self) -> &'static str {
        "split Chinese text into words"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        let texts = [
            "今天天气很好，我们一起去公园散步吧。",
            "研究生命起源的科学家在2026年发表了新论文。",
            "他用 Rust 写了一个编译器，只花了三个月。",
        ];
        let example = |(number, text): (usize, &str)| Input {
            name: format!("example {number}"),
            payload: Payload::Text(text.into()),
        };
        (1..).zip(texts).map(example).collect()
    }

    fn architectures(&self) -> Vec<(String, usize)> {
        // The size follows the vocabulary: that of the bundled model is shown.
        let Ok(bundled) = bundled::open(&Device::flex()) else {
            return Vec::new();
        };
        let count = |(name, _): &(&str, _)| {
            let mut config = bundled.config.clone();
            config.architecture = (*name).into();
            let network = config.init(&Device::flex()).ok()?;
            Some(((*name).to_string(), weights::num_params(&network)))
        };
        ARCHITECTURES.iter().filter_map(count).collect()
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(SegmentSession(Segmenter::open(model, context)?)))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn eval(
        &self,
        model: &str,
        data: &Path,
        _batch: usize,
        context: &RunContext,
    ) -> Result<Evaluation> {
        eval::eval(&Segmenter::open(model, context)?, data, context)
    }

    fn score_predictions(
        &self,
        predictions: &Path,
        data: &Path,
        context: &RunContext,
    ) -> Result<Evaluation> {
        eval::score_predictions(predictions, data, &context.settings()?)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }

    fn export(&self, model: &Path, format: &str, out: &Path) -> Result<PathBuf> {
        const PUBLISHED: &str = "pytorch";
        if format != PUBLISHED {
            let what = "layout for this architecture";
            return Err(Error::unknown(what, format, [PUBLISHED]));
        }
        let segmenter = Segmenter::from_folder(&ModelFolder::open(model)?, &Device::flex())?;
        segmenter.tagger.save(out, weights::SaveDtype::F32)?;
        Ok(out.into())
    }
}

/// A loaded segmenter behind the task's edge.
struct SegmentSession(Segmenter);

impl Session for SegmentSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let mut answers = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(options.batch.max(1)) {
            answers.extend(answer_batch(
                "segmenting",
                chunk,
                |input| Ok(segmenter::check_text(input.as_text()?, &input.name)?.to_string()),
                |texts| {
                    let batch = self.0.preprocess(texts)?;
                    self.0.postprocess(self.0.forward(batch)?)
                },
                |input, _, segmentation| Ok(output(input, segmentation, options)),
            ));
        }
        answers
    }
}

fn output(input: &Input, found: &Segmentation, options: &PredictOptions) -> Output {
    let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
    let shown: Vec<&str> = found.words.iter().map(String::as_str).collect();
    let artefacts = if options.artefacts {
        vec![draw::words(&shown, &input.name)]
    } else {
        Vec::new()
    };
    Output {
        json: json!({ "words": found.words }),
        raw: options
            .raw
            .then(|| json!({ "tags": TAGS, "scores": found.scores })),
        table: vec![row(["", "words"]), row(["", &shown.join("  ")])],
        artefacts,
        ..Output::default()
    }
}
