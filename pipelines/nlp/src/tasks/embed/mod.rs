//! `nlp embed`: texts to vectors that are near each other where the texts mean the same.
//!
//! Reimers and Gurevych, "Sentence-BERT", 2019 (arXiv:1908.10084). Models are those of
//! sentence-transformers with an encoder of the BERT family; how the tokens of a text become one
//! vector is read from `modules.json` and `1_Pooling/config.json` ([`Pooling`]).
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run nlp embed --text "a cat" --text "a dog"` | how similar the texts are |
//! | `cargo xtask run nlp embed texts.txt --json` | `{"embedding":[…]}` a line of the file |

mod pooling;

pub use pooling::{Pooling, PoolingMode};

use super::encoder::{EncoderFolder, by_length, examples};
use crate::{
    models::bert::{Bert, BertConfig, NEW_HEAD},
    preprocess::{Encoded, TextTokenizer, encoder_input, real_tokens},
};
use burn::tensor::{Device, Tensor};
use panoply_core::{
    Input, InputKind, ModelCard, Output, PredictOptions, Predictor, RecipeInfo, Result, RunContext,
    Session, Task, guard, host, task::answer_batch,
};
use serde_json::{Value, json};

/// The model used when none is given.
pub const DEFAULT: &str = "sentence-transformers/all-MiniLM-L6-v2";

/// The task.
pub struct Embed;

impl Task for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn about(&self) -> &'static str {
        "turn texts into vectors that lie close where the texts mean the same"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        &[]
    }

    fn examples(&self) -> Vec<Input> {
        examples(&[
            "A man is eating food.",
            "A man is eating a piece of bread.",
            "The girl is carrying a baby.",
            "A monkey is playing drums.",
        ])
    }

    fn default_model(&self) -> &'static str {
        DEFAULT
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(EmbedSession(Embedder::open(model, context)?)))
    }

    fn overview(&self, answers: &[(String, Output)]) -> Vec<Vec<String>> {
        similarities(answers)
    }
}

/// A sentence encoder.
#[derive(Debug)]
pub struct Embedder {
    config: BertConfig,
    bert: Bert,
    tokenizer: TextTokenizer,
    pooling: Pooling,
    card: ModelCard,
    device: Device,
}

impl Embedder {
    /// Opens a model: a folder, or a Hub name (`owner/name[@revision]`).
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let found = EncoderFolder::find(model, context)?;
        let pooling = Pooling::read(&found.folder)?;
        let mut bert = found.config.init(&found.device);
        // The pooler takes no part, and a head that was trained on the encoder neither.
        found.load(&mut bert, NEW_HEAD)?;
        let tokenizer = match pooling.max_length {
            Some(length) => found.tokenizer.with_max_length(length)?,
            None => found.tokenizer.clone(),
        };
        Ok(Self {
            card: found.card("embed", &bert)?,
            config: found.config,
            device: found.device,
            bert,
            tokenizer,
            pooling,
        })
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Tokens of a text; `name` stands for it in messages.
    fn encode(&self, name: &str, text: &str) -> Result<Encoded> {
        // sentence-transformers strips texts before it cuts them.
        let text = text.trim();
        if self.pooling.lower_case {
            return self.tokenizer.encode(name, &text.to_lowercase());
        }
        self.tokenizer.encode(name, text)
    }

    /// Pooled hidden states before normalisation: `[batch, features]`.
    fn pooled(&self, batch: &[&Encoded]) -> Tensor<2> {
        let input = encoder_input(batch, &self.config, &self.device);
        let hidden = self.bert.forward(&input);
        let longest = hidden.dims()[1];
        let real = real_tokens(batch, longest, &self.device);
        self.pooling.pool(hidden, real)
    }
}

impl Predictor for Embedder {
    type Input = String;
    type Batch = Vec<Encoded>;
    type Raw = Tensor<2>;
    type Output = Vec<f32>;

    fn preprocess(&self, inputs: &[String]) -> Result<Vec<Encoded>> {
        let encode = |(i, text): (usize, &String)| self.encode(&format!("text {}", i + 1), text);
        inputs.iter().enumerate().map(encode).collect()
    }

    fn forward(&self, batch: Vec<Encoded>) -> Result<Tensor<2>> {
        let batch: Vec<&Encoded> = batch.iter().collect();
        guard("the forward pass", || Ok(self.pooled(&batch)))
    }

    fn postprocess(&self, raw: Tensor<2>) -> Result<Vec<Vec<f32>>> {
        rows(self.pooling.finish(raw))
    }
}

/// Host values of a matrix, row by row.
fn rows(tensor: Tensor<2>) -> Result<Vec<Vec<f32>>> {
    let [_, features] = tensor.dims();
    let values = host::to_vec(tensor)?;
    Ok(values.chunks(features).map(<[f32]>::to_vec).collect())
}

/// An embedder behind the task's edge.
struct EmbedSession(Embedder);

impl Session for EmbedSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let embedder = &self.0;
        let run = |batch: &[&Encoded]| {
            let pooled = embedder.pooled(batch);
            let raw = rows(pooled.clone())?;
            let finished = rows(embedder.pooling.finish(pooled))?;
            Ok(raw.into_iter().zip(finished).collect())
        };
        answer_batch(
            "embedding",
            inputs,
            |input| embedder.encode(&input.name, input.as_text()?),
            |encoded| by_length(encoded, options.batch, Encoded::len, run),
            |_, encoded, (pooled, embedding): &(Vec<f32>, Vec<f32>)| {
                let table = [
                    vec![String::new(), "features".into(), "tokens".into()],
                    vec![
                        String::new(),
                        embedding.len().to_string(),
                        encoded.len().to_string(),
                    ],
                ];
                Ok(Output {
                    json: json!({ "embedding": embedding }),
                    raw: options.raw.then(|| json!({ "pooled": pooled })),
                    table: table.to_vec(),
                    ..Output::default()
                })
            },
        )
    }
}

/// Cosine similarity of each answer with each other.
fn similarities(answers: &[(String, Output)]) -> Vec<Vec<String>> {
    let vector = |output: &Output| -> Vec<f64> {
        let values = output.json["embedding"].as_array();
        let values = values.into_iter().flatten();
        values.filter_map(Value::as_f64).collect()
    };
    let vectors: Vec<Vec<f64>> = answers.iter().map(|(_, output)| vector(output)).collect();
    if vectors.len() < 2 {
        return Vec::new();
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12);
    let mut header = vec!["cosine similarity".to_string()];
    header.extend((1..=vectors.len()).map(|i| format!("({i})")));
    let mut table = vec![header];
    for (i, ((name, _), a)) in answers.iter().zip(&vectors).enumerate() {
        let mut row = vec![format!("({}) {name}", i + 1)];
        row.extend(vectors.iter().map(|b| format!("{:.3}", cosine(a, b))));
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarities_are_cosines() {
        let answer = |name: &str, embedding: [f32; 2]| {
            let json = json!({ "embedding": embedding });
            let output = Output {
                json,
                ..Output::default()
            };
            (name.to_string(), output)
        };
        let answers = [
            answer("a", [3.0, 4.0]),
            answer("b", [4.0, 3.0]),
            answer("c", [-3.0, -4.0]),
        ];
        let table = similarities(&answers);
        assert_eq!(table[1], ["(1) a", "1.000", "0.960", "-1.000"]);
        assert_eq!(table[3], ["(3) c", "-1.000", "-0.960", "1.000"]);
        assert!(similarities(&answers[..1]).is_empty());
    }
}
