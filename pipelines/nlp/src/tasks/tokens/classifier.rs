//! A loaded classifier of tokens: encoder with head, tokenizer, labels; windows of long texts.

use super::aggregate::{Aggregation, Entity, Token, aggregate, merge_windows};
use crate::{
    models::bert::{BertConfig, BertForTokenClassification},
    preprocess::{Encoded, TextTokenizer, encoder_input, shortened},
    tasks::encoder::{EncoderFolder, by_length, label_names, softmax},
};
use burn::tensor::Device;
use panoply_core::{
    Error, ModelCard, ModelFolder, Predictor, Result, RunContext, guard, host, weights::LoadOptions,
};
use panoply_datasets::TagColumns;
use serde::{Deserialize, Serialize};

/// What `--set` of `run` and `eval` changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How tokens become entities.
    pub aggregation: Aggregation,
    /// Tokens that two windows of a long text have in common; `null` for a quarter of a window.
    pub stride: Option<usize>,
    /// Longest text in characters; what follows is cut off, with a warning.
    pub max_characters: usize,
    /// Columns of the CoNLL files that `eval` reads; `null` for those of training.
    pub columns: Option<TagColumns>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            aggregation: Aggregation::default(),
            stride: None,
            max_characters: 500_000,
            columns: None,
        }
    }
}

/// A token with its logits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogits {
    /// As the vocabulary spells it.
    pub token: String,
    /// First character in the text.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// Logits of all classes; of a token in two windows those where it has more context.
    pub logits: Vec<f32>,
}

/// The answer to one text.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// What was found, in order.
    pub entities: Vec<Entity>,
    /// The tokens, in order.
    pub tokens: Vec<TokenLogits>,
}

/// A text cut into windows.
#[derive(Clone, Debug)]
pub struct Windowed {
    text: String,
    windows: Vec<Encoded>,
}

/// Texts with the logits of each window, `[tokens, classes]` row by row.
#[derive(Clone, Debug)]
pub struct WindowLogits {
    texts: Vec<Windowed>,
    logits: Vec<Vec<Vec<f32>>>,
}

/// A classifier of tokens ready to predict.
#[derive(Debug)]
pub struct TokenClassifier {
    pub(super) config: BertConfig,
    pub(super) model: BertForTokenClassification,
    pub(super) tokenizer: TextTokenizer,
    pub(super) labels: Vec<String>,
    pub(super) columns: TagColumns,
    settings: Settings,
    card: ModelCard,
    device: Device,
}

impl TokenClassifier {
    /// Opens a model: a folder, or a Hub name (`owner/name[@revision]`), with the context's [`Settings`].
    ///
    /// # Errors
    /// A folder without a classifier of tokens, or a stride that leaves no window.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let settings: Settings = context.settings()?;
        let found = EncoderFolder::find(model, context)?;
        let labels = label_names(&found.folder.config()?, found.config.num_labels);
        let mut network = found.config.init_token_classification(&found.device);
        // Published files may hold a pooler that a classifier of tokens does not use.
        let unused = LoadOptions {
            allow_missing: &[],
            allow_unexpected: &["**pooler.**"],
        };
        found.load(&mut network, unused)?;
        let length = found.tokenizer.max_length();
        if settings.stride.is_some_and(|stride| stride >= length) {
            let what = format!("{} tokens", settings.stride.unwrap_or_default());
            let expected = format!("less than the {length} tokens of a window");
            return Err(Error::input("stride", what, expected));
        }
        let mut card = found.card("tokens", &network)?;
        card.labels.clone_from(&labels);
        let columns: Option<TagColumns> = found.folder.read_json(ModelFolder::PREPROCESSOR)?;
        let columns = settings.columns.clone().or(columns);
        Ok(Self {
            model: network,
            config: found.config,
            tokenizer: found.tokenizer,
            device: found.device,
            columns: columns.unwrap_or_default(),
            labels,
            settings,
            card,
        })
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Class names, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Windows of a text; `name` stands for it in messages.
    pub(super) fn encode(&self, name: &str, text: &str) -> Result<Windowed> {
        let text = shortened(name, text, self.settings.max_characters.max(1));
        Ok(Windowed {
            windows: windows(&self.tokenizer, name, text, self.settings.stride)?,
            text: text.into(),
        })
    }

    /// Answers to texts, `batch` windows at a time.
    pub(super) fn answer(&self, texts: &[Windowed], batch: usize) -> Result<Vec<Prediction>> {
        let windows: Vec<&[Encoded]> = texts.iter().map(|text| &text.windows[..]).collect();
        let logits = logits(&self.model, &self.config, &windows, batch, &self.device)?;
        Ok(texts
            .iter()
            .zip(&logits)
            .map(|(text, logits)| self.read(text, logits))
            .collect())
    }

    /// The answer that the logits of a text's windows give.
    fn read(&self, text: &Windowed, logits: &[Vec<f32>]) -> Prediction {
        let classes = self.labels.len();
        let how = self.settings.aggregation;
        let chars: Vec<char> = text.text.chars().collect();
        let token = |(window, at): (usize, usize)| {
            let row = &logits[window][at * classes..(at + 1) * classes];
            self.token(&chars, &text.windows[window], at, row)
        };
        let chosen = most_context(&text.windows, 0);
        let mut entities = if how == Aggregation::None {
            let tokens: Vec<Token> = chosen.iter().map(|&place| token(place)).collect();
            aggregate(&tokens, &self.labels, how)
        } else {
            let of_window = |(at, window): (usize, &Encoded)| {
                let places = (0..window.len()).filter(|&i| window.texts[i].is_some());
                let tokens: Vec<Token> = places.map(|i| token((at, i))).collect();
                aggregate(&tokens, &self.labels, how)
            };
            let windows = text.windows.iter().enumerate();
            let entities: Vec<Entity> = windows.flat_map(of_window).collect();
            if text.windows.len() > 1 {
                merge_windows(entities)
            } else {
                entities
            }
        };
        for entity in &mut entities {
            entity.text = chars[entity.start..entity.end].iter().collect();
        }
        let raw = |&(window, at): &(usize, usize)| {
            let encoded = &text.windows[window];
            let (start, end) = encoded.offsets[at];
            TokenLogits {
                token: self.tokenizer.token(encoded.ids[at]).unwrap_or_default(),
                start,
                end,
                logits: logits[window][at * classes..(at + 1) * classes].to_vec(),
            }
        };
        Prediction {
            entities,
            tokens: chosen.iter().map(raw).collect(),
        }
    }

    /// A token with its probabilities, and whether it goes on with a word: as the reference has it, told
    /// by the spelling where the tokenizer marks such tokens, else by the space before it.
    fn token(&self, chars: &[char], encoded: &Encoded, at: usize, logits: &[f32]) -> Token {
        let (start, end) = encoded.offsets[at];
        let id = encoded.ids[at];
        let is_subword = if Some(id) == self.tokenizer.unknown() {
            false
        } else if self.tokenizer.marks_subwords() {
            let spelling = self.tokenizer.token(id).unwrap_or_default();
            spelling.chars().count() != end - start
        } else {
            start > 0 && !chars[start - 1..chars.len().min(start + 1)].contains(&' ')
        };
        Token {
            scores: softmax(logits),
            start,
            end,
            is_subword,
        }
    }
}

/// Windows of a text, `stride` tokens in common, or a quarter of a window.
pub(super) fn windows(
    tokenizer: &TextTokenizer,
    name: &str,
    text: &str,
    stride: Option<usize>,
) -> Result<Vec<Encoded>> {
    let stride = stride.unwrap_or(tokenizer.max_length() / 4);
    tokenizer.windows(name, text, None, stride)
}

/// Logits of each window of each text, `[tokens, classes]` row by row.
pub(super) fn logits(
    model: &BertForTokenClassification,
    config: &BertConfig,
    texts: &[&[Encoded]],
    batch: usize,
    device: &Device,
) -> Result<Vec<Vec<Vec<f32>>>> {
    let all: Vec<&Encoded> = texts.iter().copied().flatten().collect();
    let rows = by_length(
        &all,
        batch,
        |window| window.len(),
        |batch| {
            let batch: Vec<&Encoded> = batch.iter().map(|window| **window).collect();
            let logits = model.forward(&encoder_input(&batch, config, device));
            let [_, seq, classes] = logits.dims();
            let values = host::to_vec(logits)?;
            let rows = values.chunks(seq * classes).zip(&batch);
            Ok(rows
                .map(|(row, window)| row[..window.len() * classes].to_vec())
                .collect())
        },
    )?;
    let mut rows = rows.into_iter();
    Ok(texts
        .iter()
        .map(|windows| rows.by_ref().take(windows.len()).collect())
        .collect())
}

/// Each token of text `of` once: the window, and the place in it, where the nearer end of the window is
/// farthest; the first of equal ones.
pub(super) fn most_context(windows: &[Encoded], of: usize) -> Vec<(usize, usize)> {
    let mut best: Vec<(usize, (usize, usize))> = Vec::new();
    for (number, window) in windows.iter().enumerate() {
        let places: Vec<usize> = (0..window.len())
            .filter(|&at| window.texts[at] == Some(of))
            .collect();
        for (i, &at) in places.iter().enumerate() {
            let context = i.min(places.len() - 1 - i);
            match best.get_mut(window.skipped + i) {
                Some((known, place)) if context > *known => {
                    (*known, *place) = (context, (number, at));
                }
                Some(_) => {}
                None => best.push((context, (number, at))),
            }
        }
    }
    best.into_iter().map(|(_, place)| place).collect()
}

impl Predictor for TokenClassifier {
    type Input = String;
    type Batch = Vec<Windowed>;
    type Raw = WindowLogits;
    type Output = Prediction;

    fn preprocess(&self, inputs: &[String]) -> Result<Vec<Windowed>> {
        let encode = |(i, text): (usize, &String)| self.encode(&format!("text {}", i + 1), text);
        inputs.iter().enumerate().map(encode).collect()
    }

    fn forward(&self, texts: Vec<Windowed>) -> Result<WindowLogits> {
        let windows: Vec<&[Encoded]> = texts.iter().map(|text| &text.windows[..]).collect();
        let batch = self.batch_size();
        let logits = guard("the forward pass", || {
            logits(&self.model, &self.config, &windows, batch, &self.device)
        })?;
        Ok(WindowLogits { texts, logits })
    }

    fn postprocess(&self, raw: WindowLogits) -> Result<Vec<Prediction>> {
        let each = raw.texts.iter().zip(&raw.logits);
        Ok(each.map(|(text, logits)| self.read(text, logits)).collect())
    }
}
