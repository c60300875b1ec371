//! `nlp generate`: texts that go on from a prompt.
//!
//! Decoders of the GPT and Llama families. How tokens are chosen is transformers' `generate`: greedy,
//! drawn (temperature, `top_k`, `top_p`), or by beam search, with repetition penalty and without repeated
//! n-grams; every setting has the name that it has there.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run nlp generate --text "ROMEO:"` | goes on, by the bundled model of Shakespeare's characters |
//! | `cargo xtask run nlp generate --model HuggingFaceTB/SmolLM2-135M --text "The sun is" --set num_beams=4` | any model of the Hub |
//! | `cargo xtask train nlp generate --recipe shakespeare-char --data input.txt` | learns from nothing, nanoGPT's setting for a CPU |
//! | `cargo xtask train nlp generate --recipe finetune --model DIR --data DIR` | goes on training a model on your texts |
//! | `cargo xtask model import model.gguf --arch llama --out DIR` | a model folder out of a GGUF file |
//! | `cargo xtask eval nlp generate --model DIR --data text.txt` | perplexity by token, word and byte |
//!
//! An answer may be longer than the model's context: when it is full, three quarters of it are kept and
//! read anew. Several prompts are answered together; each answer is what it would be alone.

mod beam;
mod bundled;
mod decode;
mod few_shot;
mod generator;
mod growing;
mod import;
pub mod logits;
mod perplexity;
mod recipe;
mod samples;
mod sequences;
mod settings;
mod train;

pub use bundled::BUNDLED;
pub use decode::Finish;
pub use few_shot::Shot;
pub use generator::{Generation, Generator, Prompt};
pub use perplexity::{TextScore, score_text};
pub use recipe::{DataConfig, ModelConfig, RECIPES, Recipe};
pub use settings::{Decoding, EarlyStopping, OneOrMany, Settings};

use super::encoder::{by_length, examples};
use panoply_core::{
    DataCheck, Error, Evaluation, Input, InputKind, ModelCard, ModelFolder, Output, PredictOptions,
    RecipeInfo, Result, RunContext, Session, Task, TrainOutcome, TrainRequest, guard,
    weights::SaveDtype,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The layout that weights are written in.
const LAYOUT: &str = "transformers";

/// The task.
pub struct Generate;

impl Task for Generate {
    fn name(&self) -> &'static str {
        "generate"
    }

    fn about(&self) -> &'static str {
        "go on from a prompt, with models of the GPT and Llama families"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        examples(&["ROMEO:", "First Citizen:\nWe ", "To be"])
    }

    fn architectures(&self) -> Vec<(String, usize)> {
        import::architectures()
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(GenerateSession(Generator::open(model, context)?)))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn eval(
        &self,
        model: &str,
        data: &Path,
        batch: usize,
        context: &RunContext,
    ) -> Result<Evaluation> {
        perplexity::eval(&Generator::open(model, context)?, data, batch)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }

    fn import(&self, file: &Path, arch: &str, out: &Path) -> Result<ModelCard> {
        import::import(file, arch, out)
    }

    fn export(&self, model: &Path, format: &str, out: &Path) -> Result<PathBuf> {
        if format != LAYOUT {
            let what = "layout for this architecture";
            return Err(Error::unknown(what, format, [LAYOUT]));
        }
        let folder = ModelFolder::open(model)?.path().display().to_string();
        let generator = Generator::open(&folder, &RunContext::cpu())?;
        generator.model.save(out, SaveDtype::F32)?;
        Ok(out.into())
    }
}

/// A generator behind the task's edge.
struct GenerateSession(Generator);

impl Session for GenerateSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let encode = |input: &Input| self.0.encode(&input.name, input.as_text()?);
        let encoded = inputs
            .iter()
            .map(|input| guard(&input.name, || encode(input)));
        let encoded: Vec<Result<Prompt>> = encoded.collect();
        let good: Vec<&Prompt> = encoded.iter().filter_map(|e| e.as_ref().ok()).collect();
        let answers = guard("generating", || {
            by_length(
                &good,
                options.batch,
                |prompt| prompt.ids.len(),
                |batch| {
                    let batch: Vec<&Prompt> = batch.iter().map(|prompt| **prompt).collect();
                    self.0.generate(&batch, options.pieces.as_ref())
                },
            )
        });
        let (mut answers, failure) = match answers {
            Ok(answers) => (answers.into_iter(), None),
            Err(failure) => (Vec::new().into_iter(), Some(failure)),
        };
        let mut outputs = Vec::with_capacity(inputs.len());
        for prompt in encoded {
            outputs.push(match (prompt, &failure) {
                (Err(e), _) => Err(e),
                (Ok(_), Some(failure)) => Err(again(failure)),
                (Ok(prompt), None) => answers.next().map_or_else(
                    || {
                        Err(again(&Error::Internal {
                            context: "generating".into(),
                            message: "no answer".into(),
                        }))
                    },
                    |answer| Ok(output(&prompt, &answer, options)),
                ),
            });
        }
        outputs
    }

    fn streams(&self) -> bool {
        true
    }
}

/// The failure of a batch, for each of its inputs.
fn again(failure: &Error) -> Error {
    match failure {
        Error::Interrupted { resume } => Error::Interrupted {
            resume: resume.clone(),
        },
        other => Error::Internal {
            context: "generating".into(),
            message: other.to_string(),
        },
    }
}

fn output(prompt: &Prompt, answer: &Generation, options: &PredictOptions) -> Output {
    let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
    let mut table = Vec::new();
    for line in answer.text.split('\n') {
        table.push(row(["", line]));
    }
    let raw = json!({
        "prompt_ids": prompt.ids,
        "ids": answer.ids,
        "log_probs": answer.log_probs,
        "finish": answer.finish,
        "score": answer.score,
    });
    Output {
        json: json!({ "text": answer.text }),
        raw: options.raw.then_some(raw),
        table,
        ..Output::default()
    }
}
