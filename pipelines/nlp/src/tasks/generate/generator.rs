//! Text generation for library users: raw prompts to answers.

use super::{
    beam, bundled,
    decode::{Finish, decode},
    few_shot::FewShot,
    growing::Growing,
    sequences::{Sequences, kept},
    settings::{Decoding, Settings},
};
use crate::{
    models::{CausalLm, CausalLmConfig},
    preprocess::TextTokenizer,
};
use burn::tensor::Device;
use panoply_core::{
    Error, ModelCard, ModelFolder, Pieces, Predictor, Result, RunContext, guard,
    hub::{self, Hub},
    progress::Interrupt,
    weights::{self, SaveDtype},
};
use serde_json::{Value, json};
use std::path::Path;

/// A prompt, ready for the model.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The text as it was given.
    pub text: String,
    /// Its tokens, examples in front of it included; of a long one the last.
    pub ids: Vec<u32>,
}

/// The answer to one prompt.
#[derive(Clone, Debug)]
pub struct Generation {
    /// What follows the prompt; with the prompt in front of it if the settings say so.
    pub text: String,
    /// The tokens that were generated, the one that ends the text included.
    pub ids: Vec<u32>,
    /// Log-probability of each, in nats, as the model gives it: without penalties, temperature and
    /// filters.
    pub log_probs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
    /// Of beam search: sum of log-probabilities, penalties included, over the penalised length.
    pub score: Option<f32>,
}

/// A decoder with its tokenizer.
#[derive(Debug)]
pub struct Generator {
    pub(super) config: CausalLmConfig,
    pub(super) model: CausalLm,
    pub(super) tokenizer: TextTokenizer,
    pub(super) card: ModelCard,
    pub(super) device: Device,
    pub(super) settings: Settings,
    decoding: Decoding,
    few_shot: FewShot,
    pub(super) interrupt: Interrupt,
}

impl Generator {
    /// Opens a model: a folder, the bundled one by its name, or a Hub name (`owner/name[@revision]`). Settings come with the
    /// context.
    ///
    /// # Errors
    /// A folder without a decoder that is known, or whose tokenizer has ids that the model does
    /// not; a setting out of its range.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        if model == bundled::BUNDLED {
            return bundled::open(context);
        }
        let path = Hub::from_env(context.offline)?.resolve(model, hub::COMPANIONS)?;
        let folder = ModelFolder::open(&path)?;
        let raw = folder.config()?;
        let config = CausalLmConfig::from_hf(&raw)?;
        let (vocab, length) = (config.vocab_size(), config.max_length());
        let tokenizer = TextTokenizer::open_causal(&folder, vocab, length)?;
        let mut model = config.init(&context.device);
        model.load(&folder.weights()?)?;
        let card = card(&folder, &config, &model)?;
        let settings: Settings = context.settings()?;
        let generation = folder
            .read_json("generation_config.json")?
            .unwrap_or_default();
        let location = folder.path().display().to_string();
        let decoding = Decoding::of(&settings, generation, &raw, &location, vocab)?;
        Self::new(config, model, tokenizer, card, context)?.with_decoding(settings, decoding)
    }

    /// A generator out of its parts, with transformers' defaults for how tokens are chosen.
    pub(super) fn new(
        config: CausalLmConfig,
        model: CausalLm,
        tokenizer: TextTokenizer,
        card: ModelCard,
        context: &RunContext,
    ) -> Result<Self> {
        let settings = Settings::default();
        Ok(Self {
            decoding: Decoding::plain(&settings, config.vocab_size())?,
            few_shot: FewShot::default(),
            device: context.device.clone(),
            interrupt: context.interrupt.clone(),
            config,
            model,
            tokenizer,
            card,
            settings,
        })
    }

    /// The same, choosing tokens in another way.
    pub(super) fn with_decoding(self, settings: Settings, mut decoding: Decoding) -> Result<Self> {
        let few_shot = FewShot::open(&settings)?;
        decoding.stop.extend(few_shot.stop.clone());
        Ok(Self {
            settings,
            decoding,
            few_shot,
            ..self
        })
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// How tokens are chosen.
    pub fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    /// The same, choosing tokens as `change` says: `|d| Decoding { num_beams: 4, ..d }`.
    #[must_use]
    pub fn choosing(mut self, change: impl FnOnce(Decoding) -> Decoding) -> Self {
        self.decoding = change(self.decoding);
        self
    }

    /// The tokens of a prompt; `name` stands for it in messages. Of one longer than the context the
    /// last three quarters of a context are kept, with a warning in the log.
    ///
    /// # Errors
    /// The text is empty, or nothing in it makes a token.
    pub fn encode(&self, name: &str, text: &str) -> Result<Prompt> {
        let most = self.config.max_length();
        if text.is_empty() {
            let expected = "at least one character to go on from";
            return Err(Error::input(name, "an empty text", expected));
        }
        let whole = self.few_shot.prompt(text);
        let (mut ids, cut) = self.tokenizer.encode_end(name, &whole, most)?;
        if cut {
            ids.drain(..ids.len().saturating_sub(kept(most)));
            let (bytes, kept) = (whole.len(), ids.len());
            tracing::warn!(
                "{name}: of a prompt of {bytes} bytes the last {kept} tokens are read: the model's context is {most} tokens"
            );
        }
        let text = text.into();
        Ok(Prompt { text, ids })
    }

    /// An answer for each prompt, in order; each is what it would be alone. The text of a single one goes to
    /// `pieces` while it comes.
    pub fn generate(
        &self,
        prompts: &[&Prompt],
        pieces: Option<&Pieces>,
    ) -> Result<Vec<Generation>> {
        let pieces = pieces.filter(|_| prompts.len() == 1);
        if let (Some(pieces), [prompt], true) = (pieces, prompts, self.settings.full_text) {
            pieces.show(&prompt.text)?;
        }
        if self.decoding.num_beams > 1 {
            let one = |prompt: &&Prompt| self.beams(prompt, pieces);
            return prompts.iter().map(one).collect();
        }
        let ids: Vec<&[u32]> = prompts.iter().map(|p| p.ids.as_slice()).collect();
        let text = |ids| Growing::new(&self.tokenizer, ids, &self.decoding.stop, pieces);
        let mut texts: Vec<Growing<'_>> = ids.iter().copied().map(text).collect();
        let mut sequences = self.sequences(ids.iter().map(|ids| ids.to_vec()).collect());
        let chosen = decode(
            &mut sequences,
            &ids,
            &self.decoding,
            &mut texts,
            &self.interrupt,
        )?;
        let answers = prompts.iter().zip(chosen).zip(texts);
        answers
            .map(|((prompt, chosen), text)| self.answer(prompt, chosen, text))
            .collect()
    }

    fn sequences(&self, rows: Vec<Vec<u32>>) -> Sequences<'_> {
        Sequences::new(
            &self.model,
            self.config.max_length(),
            rows,
            self.decoding.max_new_tokens,
            &self.device,
        )
    }

    fn beams(&self, prompt: &Prompt, pieces: Option<&Pieces>) -> Result<Generation> {
        let (ids, stop) = (&prompt.ids, &self.decoding.stop);
        let mut sequences = self.sequences(vec![ids.clone()]);
        // Beams come and go: nothing is shown before the best is known.
        let mut watched = Growing::new(&self.tokenizer, ids, stop, None);
        let (decoding, interrupt) = (&self.decoding, &self.interrupt);
        let chosen = beam::search(&mut sequences, ids, decoding, &mut watched, interrupt)?;
        let text = Growing::new(&self.tokenizer, ids, stop, pieces);
        self.answer(prompt, chosen, text)
    }

    fn answer(
        &self,
        prompt: &Prompt,
        chosen: super::decode::Chosen,
        text: Growing<'_>,
    ) -> Result<Generation> {
        let spoken = match chosen.finish {
            Finish::Eos => &chosen.tokens[..chosen.tokens.len() - 1],
            _ => &chosen.tokens,
        };
        let mut text = text.finish(spoken)?;
        if self.settings.full_text {
            text.insert_str(0, &prompt.text);
        }
        Ok(Generation {
            text,
            ids: chosen.tokens,
            log_probs: chosen.log_probs,
            finish: chosen.finish,
            score: chosen.score,
        })
    }

    /// Writes the model folder: config, weights, tokenizer, card and what `generation` says about choosing
    /// tokens.
    pub(super) fn save(
        &self,
        path: &Path,
        dtype: SaveDtype,
        generation: &Value,
    ) -> Result<ModelFolder> {
        let folder = ModelFolder::create(path)?;
        let mut config = self.config.to_hf();
        // transformers takes the ids of GPT-2 and Llama where a config names none.
        for key in ["bos_token_id", "eos_token_id"] {
            config[key] = json!(generation.get(key).cloned().unwrap_or_default());
        }
        folder.write_json(ModelFolder::CONFIG, &config)?;
        self.tokenizer.save(&folder)?;
        folder.write_json("generation_config.json", generation)?;
        self.model.save(&folder.file(ModelFolder::WEIGHTS), dtype)?;
        folder.write_json(ModelFolder::CARD, &self.card)?;
        Ok(folder)
    }
}

/// The name of the family, as `config.json` spells it.
pub(super) fn architecture(config: &CausalLmConfig) -> &'static str {
    match config {
        CausalLmConfig::Gpt2(_) => "gpt2",
        CausalLmConfig::GptNeo(_) => "gpt_neo",
        CausalLmConfig::Llama(_) => "llama",
    }
}

/// The folder's card if this task wrote it, else one that says what is known.
fn card(folder: &ModelFolder, config: &CausalLmConfig, model: &CausalLm) -> Result<ModelCard> {
    let theirs = folder.card()?;
    if let Some(card) = theirs.as_ref().filter(|card| card.task == "generate") {
        return Ok(card.clone());
    }
    let licence = theirs.map_or_else(|| "unknown".into(), |card| card.licence);
    let origin = folder.path().display().to_string();
    let arch = architecture(config);
    let count = weights::num_params(model);
    Ok(ModelCard::new(
        ["nlp", "generate", arch],
        count,
        &licence,
        &origin,
    ))
}

impl Predictor for Generator {
    type Input = String;
    type Batch = Vec<Prompt>;
    type Raw = Vec<Generation>;
    type Output = Generation;

    fn preprocess(&self, inputs: &[String]) -> Result<Vec<Prompt>> {
        let encode = |(i, text): (usize, &String)| self.encode(&format!("prompt {}", i + 1), text);
        inputs.iter().enumerate().map(encode).collect()
    }

    fn forward(&self, batch: Vec<Prompt>) -> Result<Vec<Generation>> {
        let batch: Vec<&Prompt> = batch.iter().collect();
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        guard("generating", || self.generate(&batch, None))
    }

    fn postprocess(&self, raw: Vec<Generation>) -> Result<Vec<Generation>> {
        Ok(raw)
    }
}
