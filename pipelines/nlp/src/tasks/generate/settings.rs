//! What `--set` can say, and what comes out of it together with the folder's `generation_config.json`.

use panoply_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Tokens of an answer where nothing says how many.
const MAX_NEW_TOKENS: usize = 64;
/// More tokens are a slip of the finger.
const MOST_TOKENS: usize = 1_000_000;
/// More beams too.
const MOST_BEAMS: usize = 256;

/// Settings of `run` and `eval`. What is `null` is as the folder's `generation_config.json` says, else as
/// transformers has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most tokens of an answer. Else 64.
    pub max_new_tokens: Option<usize>,
    /// Draw tokens instead of taking the likeliest. Else true if one of `temperature`, `top_k` and
    /// `top_p` is set here.
    pub do_sample: Option<bool>,
    /// What logits are divided by before drawing. Else 1.
    pub temperature: Option<f64>,
    /// Draw from the so many likeliest tokens; 0 for all. Else 50.
    pub top_k: Option<usize>,
    /// Draw from the likeliest tokens that together have this probability. Else 1.
    pub top_p: Option<f64>,
    /// What the scores of tokens that stand in the text are divided by, or, negative, multiplied
    /// with (Keskar et al., 2019). Else 1.
    pub repetition_penalty: Option<f64>,
    /// So many tokens in a row occur only once; 0 for no limit. Else 0.
    pub no_repeat_ngram_size: Option<usize>,
    /// Beams of beam search; 1 for none. Else 1.
    pub num_beams: Option<usize>,
    /// Power of the length by which beams' log-probabilities are divided. Else 1.
    pub length_penalty: Option<f64>,
    /// When beam search ends: `true` as soon as all beams are finished, `false` when no better one
    /// is likely, `"never"` when none is possible. Else false.
    pub early_stopping: Option<EarlyStopping>,
    /// Token or tokens that end an answer. Else those of `generation_config.json` or `config.json`.
    pub eos_token_id: Option<OneOrMany<u32>>,
    /// Texts that end an answer, which is cut in front of them.
    pub stop: Option<OneOrMany<String>>,
    /// Seed of drawing. The numbers of a prompt follow from it and the position alone.
    pub seed: u64,
    /// Whether the answer begins with the prompt.
    pub full_text: bool,
    /// JSON lines of `{"input": …, "output": …}` that stand in front of every prompt.
    pub few_shot: Option<PathBuf>,
    /// How an example is written; the prompt is written in the same way up to `{output}`.
    pub few_shot_template: String,
    /// `eval`: tokens from one window to the next. Else half the model's length.
    pub stride: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_new_tokens: None,
            do_sample: None,
            temperature: None,
            top_k: None,
            top_p: None,
            repetition_penalty: None,
            no_repeat_ngram_size: None,
            num_beams: None,
            length_penalty: None,
            early_stopping: None,
            eos_token_id: None,
            stop: None,
            seed: 0,
            full_text: false,
            few_shot: None,
            few_shot_template: "Input: {input}\nOutput: {output}\n\n".into(),
            stride: None,
        }
    }
}

/// One value or a list of them, as published files have both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// The values.
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

/// When beam search ends; `true`, `false` or `"never"` in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum EarlyStopping {
    /// As soon as there are as many finished beams as beams.
    Yes,
    /// When the best running beam, at its present length, is no better than the worst finished one.
    #[default]
    No,
    /// When the best running beam cannot become better than the worst finished one.
    Never,
}

impl TryFrom<Value> for EarlyStopping {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Bool(true) => Ok(Self::Yes),
            Value::Bool(false) => Ok(Self::No),
            Value::String(word) if word == "never" => Ok(Self::Never),
            other => Err(format!("{other} where true, false or \"never\" belongs")),
        }
    }
}

impl From<EarlyStopping> for Value {
    fn from(early: EarlyStopping) -> Self {
        match early {
            EarlyStopping::Yes => json!(true),
            EarlyStopping::No => json!(false),
            EarlyStopping::Never => json!("never"),
        }
    }
}

/// How tokens are chosen, every value decided; names and meanings are those of transformers'
/// `GenerationConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// Most tokens of an answer.
    pub max_new_tokens: usize,
    /// Draw, or take the likeliest.
    pub do_sample: bool,
    /// Divisor of the logits before drawing.
    pub temperature: f32,
    /// Number of tokens to draw from; 0 for all.
    pub top_k: usize,
    /// Probability of the tokens to draw from.
    pub top_p: f64,
    /// Penalty of tokens that stand in the text.
    pub repetition_penalty: f32,
    /// Length of the runs of tokens that occur only once; 0 for no limit.
    pub no_repeat_ngram_size: usize,
    /// Beams.
    pub num_beams: usize,
    /// Power of the length that divides scores of beams.
    pub length_penalty: f64,
    /// When beam search ends.
    pub early_stopping: EarlyStopping,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// Seed of drawing.
    pub seed: u64,
}

/// The fields of `generation_config.json` that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Published {
    max_new_tokens: Option<usize>,
    do_sample: Option<bool>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    repetition_penalty: Option<f64>,
    no_repeat_ngram_size: Option<usize>,
    num_beams: Option<usize>,
    length_penalty: Option<f64>,
    early_stopping: Option<EarlyStopping>,
    eos_token_id: Option<OneOrMany<u32>>,
}

impl Decoding {
    /// The settings of a model after the user's: `generation` and `config` are the contents of its
    /// `generation_config.json` (or null) and `config.json`, `location` is for messages.
    ///
    /// # Errors
    /// A value out of its range, or an `eos_token_id` that the model does not know.
    pub(super) fn of(
        settings: &Settings,
        generation: Value,
        config: &Value,
        location: &str,
        vocab_size: usize,
    ) -> Result<Self> {
        let wrong = |file: &str, e: serde_json::Error| {
            let location = format!("{location}: {file}");
            Error::input(
                location,
                e.to_string(),
                "values as transformers writes them",
            )
        };
        let published: Option<Published> =
            serde_json::from_value(generation).map_err(|e| wrong("generation_config.json", e))?;
        let eos = serde_json::from_value(config["eos_token_id"].clone())
            .map_err(|e| wrong("config.json", e))?;
        Self::merge(settings, published.unwrap_or_default(), eos, vocab_size)
    }

    /// The settings without a folder.
    pub(super) fn plain(settings: &Settings, vocab_size: usize) -> Result<Self> {
        Self::merge(settings, Published::default(), None, vocab_size)
    }

    fn merge(
        settings: &Settings,
        published: Published,
        eos: Option<OneOrMany<u32>>,
        vocab_size: usize,
    ) -> Result<Self> {
        let s = settings;
        let asks = s.temperature.is_some() || s.top_k.is_some() || s.top_p.is_some();
        let do_sample = s.do_sample.or(asks.then_some(true));
        let eos = s.eos_token_id.clone().or(published.eos_token_id).or(eos);
        let decoding = Self {
            max_new_tokens: s
                .max_new_tokens
                .or(published.max_new_tokens)
                .unwrap_or(MAX_NEW_TOKENS),
            do_sample: do_sample.or(published.do_sample).unwrap_or(false),
            temperature: s.temperature.or(published.temperature).unwrap_or(1.0) as f32,
            top_k: s.top_k.or(published.top_k).unwrap_or(50),
            top_p: s.top_p.or(published.top_p).unwrap_or(1.0),
            repetition_penalty: s
                .repetition_penalty
                .or(published.repetition_penalty)
                .unwrap_or(1.0) as f32,
            no_repeat_ngram_size: s
                .no_repeat_ngram_size
                .or(published.no_repeat_ngram_size)
                .unwrap_or(0),
            num_beams: s.num_beams.or(published.num_beams).unwrap_or(1),
            length_penalty: s.length_penalty.or(published.length_penalty).unwrap_or(1.0),
            early_stopping: s
                .early_stopping
                .or(published.early_stopping)
                .unwrap_or_default(),
            eos_token_ids: eos.map(|ids| ids.to_vec()).unwrap_or_default(),
            stop: s.stop.as_ref().map(OneOrMany::to_vec).unwrap_or_default(),
            seed: s.seed,
        };
        decoding.check(vocab_size)?;
        Ok(decoding)
    }

    fn check(&self, vocab_size: usize) -> Result<()> {
        let refuse = |name: &str, what: String, expected: &str| {
            Err(Error::input(format!("setting {name}"), what, expected))
        };
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if !(1..=MOST_TOKENS).contains(&self.max_new_tokens) {
            let what = self.max_new_tokens.to_string();
            return refuse("max_new_tokens", what, "from 1 to a million");
        }
        if !positive(self.temperature) {
            let what = self.temperature.to_string();
            let expected = "a positive number; do_sample=false takes the likeliest token";
            return refuse("temperature", what, expected);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", self.top_p.to_string(), "above 0 and at most 1");
        }
        if !positive(self.repetition_penalty) {
            let what = self.repetition_penalty.to_string();
            return refuse("repetition_penalty", what, "a positive number");
        }
        if !(1..=MOST_BEAMS).contains(&self.num_beams) {
            return refuse("num_beams", self.num_beams.to_string(), "from 1 to 256");
        }
        if self.num_beams > 1 && self.do_sample {
            let what = format!("{} beams with do_sample", self.num_beams);
            return refuse("num_beams", what, "either beams or drawing");
        }
        if !self.length_penalty.is_finite() {
            let what = self.length_penalty.to_string();
            return refuse("length_penalty", what, "a number");
        }
        if let Some(id) = self
            .eos_token_ids
            .iter()
            .find(|&&id| id as usize >= vocab_size)
        {
            let expected = format!("below the model's {vocab_size} tokens");
            return refuse("eos_token_id", id.to_string(), &expected);
        }
        if self.stop.iter().any(String::is_empty) {
            return refuse("stop", "an empty text".into(), "at least one character");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(settings: Value, published: Value) -> Result<Decoding> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let published: Published = serde_json::from_value(published).unwrap();
        Decoding::merge(&settings, published, Some(OneOrMany::One(7)), 10)
    }

    #[test]
    fn settings_go_before_the_folder_and_the_folder_before_the_defaults() {
        let plain = merged(json!({}), json!({})).unwrap();
        assert!(!plain.do_sample && plain.top_k == 50 && plain.eos_token_ids == [7]);
        assert_eq!((plain.max_new_tokens, plain.num_beams), (64, 1));
        let folder = json!({"do_sample": true, "top_k": 9, "eos_token_id": [1, 2], "early_stopping": "never"});
        let read = merged(json!({}), folder.clone()).unwrap();
        assert!(read.do_sample && read.top_k == 9 && read.eos_token_ids == [1, 2]);
        assert_eq!(read.early_stopping, EarlyStopping::Never);
        let edited = merged(json!({"do_sample": false, "top_k": 3, "stop": "x"}), folder).unwrap();
        assert!(!edited.do_sample && edited.top_k == 3 && edited.stop == ["x"]);
        assert!(
            merged(json!({"temperature": 0.5}), json!({}))
                .unwrap()
                .do_sample
        );
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let cases = [
            (json!({"max_new_tokens": 0}), "max_new_tokens"),
            (json!({"temperature": 0.0}), "temperature"),
            (json!({"top_p": 1.5}), "top_p"),
            (json!({"repetition_penalty": -1.0}), "repetition_penalty"),
            (json!({"num_beams": 0}), "num_beams"),
            (json!({"num_beams": 2, "do_sample": true}), "num_beams"),
            (json!({"eos_token_id": 10}), "eos_token_id"),
            (json!({"stop": ["a", ""]}), "stop"),
        ];
        for (settings, name) in cases {
            let error = merged(settings, json!({})).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(serde_json::from_value::<Settings>(json!({"early_stopping": "later"})).is_err());
        assert!(serde_json::from_value::<Settings>(json!({"no_such": 1})).is_err());
    }
}
