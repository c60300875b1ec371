//! A loaded segmenter: network, vocabulary, dictionary; opened from a folder, the bundle or the Hub.

use super::{
    characters::{Encoded, Preprocessing, TAGS, Vocabulary, Window, batch, tag},
    dictionary::Dictionary,
    lexicon::{self, Lexicon},
};
use crate::models::tagger::{LexiconConfig, Tagger, TaggerConfig, TaggerInput};
use burn::tensor::Device;
use panoply_core::{
    Error, ModelCard, ModelFolder, Predictor, Result, RunContext, SizeClass, guard, host, hub,
    model_folder::write_atomic,
    nn::CrfScores,
    weights::{self, SaveDtype},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
};

/// Longest text, in characters.
const MAX_CHARS: usize = 1 << 20;
/// Windows of a forward pass.
const WINDOWS: usize = 32;
/// Takes a tag out of the choice, unless the dictionary says otherwise.
const UNLIKELY: f32 = -1e4;
/// Words of the training data in a model folder, one a line: what `eval` calls known.
const WORDS: &str = "words.txt";

/// What `--set` of `run` and `eval` can change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// File of words to force (`word`) or to favour (`word weight`), one a line.
    pub user_dict: Option<PathBuf>,
    /// For `eval`: file of the words of the training data, one a line, instead of the model's own.
    pub word_list: Option<PathBuf>,
}

/// The answer to one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// The words in order. White space between words is a word of its own, so that all of them
    /// together are the text.
    pub words: Vec<String>,
    /// The network's scores of B, I, E and S for each character, before the dictionary; zero for
    /// white space.
    pub scores: Vec<[f32; TAGS.len()]>,
}

/// Texts cut into windows that the network reads.
#[derive(Clone, Debug)]
pub struct SegmentBatch {
    texts: Vec<Vec<char>>,
    /// Text, its run of characters between white space, and the window within the run.
    windows: Vec<(usize, Range<usize>, Window)>,
    inputs: Vec<TaggerInput>,
}

/// Texts with the scores of their characters.
#[derive(Clone, Debug)]
pub struct Scored {
    texts: Vec<Vec<char>>,
    scores: Vec<Vec<f32>>,
}

/// A segmenter ready to predict.
pub struct Segmenter {
    pub(super) config: TaggerConfig,
    pub(super) tagger: Tagger,
    pub(super) preprocessing: Preprocessing,
    pub(super) vocabulary: Vocabulary,
    pub(super) words: BTreeSet<String>,
    pub(super) card: ModelCard,
    dictionary: Dictionary,
    crf: CrfScores,
    device: Device,
}

/// All that a segmenter is made of beside its network.
pub(super) struct Parts {
    pub(super) config: TaggerConfig,
    pub(super) preprocessing: Preprocessing,
    pub(super) vocabulary: Vocabulary,
    pub(super) words: BTreeSet<String>,
    pub(super) card: ModelCard,
}

impl Segmenter {
    /// Opens a model: the bundled name, a model folder, or a Hub name (`owner/name[@revision]`); the
    /// settings of `context` add a dictionary.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let settings: Settings = context.settings()?;
        let files = [
            ModelFolder::PREPROCESSOR,
            ModelFolder::CARD,
            Vocabulary::CHARS,
            Vocabulary::BIGRAMS,
            Dictionary::FILE,
            WORDS,
        ];
        let mut segmenter = match hub::find(model, super::BUNDLED, &files, context.offline)? {
            None => super::bundled::open(&context.device)?,
            Some(folder) => Self::from_folder(&folder, &context.device)?,
        };
        if let Some(path) = &settings.user_dict {
            segmenter.dictionary.read(path)?;
        }
        if let Some(path) = &settings.word_list {
            segmenter.words = word_list(path)?;
        }
        Ok(segmenter)
    }

    /// Opens a model folder.
    pub(super) fn from_folder(folder: &ModelFolder, device: &Device) -> Result<Self> {
        let location = folder.path().display().to_string();
        let text = |name: &str| match std::fs::read_to_string(folder.file(name)) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", folder.file(name), e)),
        };
        let config: TaggerConfig = serde_json::from_value(folder.config()?).map_err(|e| {
            let path = folder.file(ModelFolder::CONFIG).display().to_string();
            Error::input(path, e.to_string(), "the fields of a tagger's config")
        })?;
        let chars = text(Vocabulary::CHARS)?.ok_or_else(|| {
            let what = format!("no {} in it", Vocabulary::CHARS);
            Error::input(&location, what, "the characters of the model")
        })?;
        let bigrams = text(Vocabulary::BIGRAMS)?;
        let preprocessing = folder.read_json(ModelFolder::PREPROCESSOR)?;
        let words = text(WORDS)?.unwrap_or_default();
        let parts = Parts {
            preprocessing: preprocessing.unwrap_or_default(),
            vocabulary: Vocabulary::parse(&location, &chars, bigrams.as_deref())?,
            words: words.lines().map(String::from).collect(),
            card: folder
                .card()?
                .unwrap_or_else(|| card(&config, "unknown", &location)),
            config,
        };
        let file = folder.weights()?;
        let mut segmenter = Self::load(&location, parts, device, |tagger| {
            tagger.load(&file).map(drop)
        })?;
        let dictionary = folder.file(Dictionary::FILE);
        if dictionary.is_file() {
            segmenter.dictionary.read(&dictionary)?;
        }
        Ok(segmenter)
    }

    /// A network of the right size with the weights that `load` gives it.
    pub(super) fn load(
        location: &str,
        parts: Parts,
        device: &Device,
        load: impl FnOnce(&mut Tagger) -> Result<()>,
    ) -> Result<Self> {
        parts.preprocessing.check(location)?;
        let sizes = (
            parts.config.num_chars,
            parts.config.num_bigrams,
            parts.config.num_tags,
        );
        let known = (
            parts.vocabulary.num_chars(),
            parts.vocabulary.num_bigrams(),
            TAGS.len(),
        );
        if sizes != known {
            let what = format!("characters, bigrams and tags {sizes:?} in its config");
            return Err(Error::input(
                location,
                what,
                format!("{known:?}, as in its files"),
            ));
        }
        let expected = LexiconConfig {
            rows: lexicon::ROWS,
            per_char: lexicon::FEATURES,
            ..parts.config.lexicon.unwrap_or_default()
        };
        if let Some(found) = parts.config.lexicon.filter(|found| *found != expected) {
            let what = format!("lexicon {found:?} in its config");
            return Err(Error::input(location, what, format!("{expected:?}")));
        }
        let mut tagger = parts.config.init(device)?;
        load(&mut tagger)?;
        Self::new(parts, tagger, device)
    }

    /// With a network in evaluation mode on `device`.
    pub(super) fn new(parts: Parts, tagger: Tagger, device: &Device) -> Result<Self> {
        let num_params = weights::num_params(&tagger);
        let words = parts.words.iter().map(String::as_str);
        let lexicon = parts.config.lexicon.is_some();
        let lexicon = lexicon.then(|| Lexicon::of(words, &parts.preprocessing));
        Ok(Self {
            crf: legal(tagger.crf.scores()?),
            tagger,
            config: parts.config,
            preprocessing: parts.preprocessing,
            vocabulary: parts.vocabulary.with_lexicon(lexicon),
            words: parts.words,
            card: ModelCard {
                num_params,
                size_class: SizeClass::of(num_params),
                ..parts.card
            },
            dictionary: Dictionary::default(),
            device: device.clone(),
        })
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Writes a model folder. The weights come first, the card last: a folder with a card is
    /// complete.
    pub(super) fn save(&self, path: &Path, dtype: SaveDtype) -> Result<ModelFolder> {
        let folder = ModelFolder::create(path)?;
        self.tagger
            .save(&folder.file(ModelFolder::WEIGHTS), dtype)?;
        let write = |name: &str, text: &str| write_atomic(&folder.file(name), text.as_bytes());
        write(Vocabulary::CHARS, &self.vocabulary.chars_file())?;
        if let Some(bigrams) = self.vocabulary.bigrams_file() {
            write(Vocabulary::BIGRAMS, &bigrams)?;
        }
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        write(WORDS, &(words.join("\n") + "\n"))?;
        folder.write_json(ModelFolder::CONFIG, &self.config)?;
        folder.write_json(ModelFolder::PREPROCESSOR, &self.preprocessing)?;
        folder.write_json(ModelFolder::CARD, &self.card)?;
        Ok(folder)
    }

    /// Words of one text; `scores` are the network's, `[chars, tags]`, row by row.
    fn decode(&self, text: &[char], scores: &[f32]) -> Vec<String> {
        let mut words = Vec::new();
        let mut start = 0;
        for run in text.chunk_by(|a, b| a.is_whitespace() == b.is_whitespace()) {
            let range = start..start + run.len();
            start = range.end;
            if run[0].is_whitespace() {
                words.push(run.iter().collect());
                continue;
            }
            let mut emissions = scores[range.start * TAGS.len()..range.end * TAGS.len()].to_vec();
            keep_runs(run, &mut emissions);
            self.dictionary.apply(run, &mut emissions);
            let mut word = String::new();
            for (&c, tag) in run.iter().zip(self.crf.viterbi(&emissions)) {
                word.push(c);
                if tag == tag::END || tag == tag::SINGLE {
                    words.push(std::mem::take(&mut word));
                }
            }
        }
        words
    }
}

impl Predictor for Segmenter {
    type Input = String;
    type Batch = SegmentBatch;
    type Raw = Scored;
    type Output = Segmentation;

    fn preprocess(&self, inputs: &[String]) -> Result<SegmentBatch> {
        let texts: Vec<Vec<char>> = inputs.iter().map(|text| text.chars().collect()).collect();
        let (mut windows, mut encoded) = (Vec::new(), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            let mut start = 0;
            for run in text.chunk_by(|a, b| a.is_whitespace() == b.is_whitespace()) {
                let range = start..start + run.len();
                start = range.end;
                if run[0].is_whitespace() {
                    continue;
                }
                let seen: Vec<char> = run
                    .iter()
                    .map(|&c| self.preprocessing.normalize(c))
                    .collect();
                for window in self.preprocessing.windows(run, |_| true) {
                    encoded.push(self.vocabulary.encode(&seen[window.read.clone()]));
                    windows.push((index, range.clone(), window));
                }
            }
        }
        // Windows of like length together, the longest first: the least padding.
        let mut order: Vec<usize> = (0..windows.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(encoded[at].chars.len()));
        let inputs = order.chunks(WINDOWS).map(|part| {
            let part: Vec<&Encoded> = part.iter().map(|&at| &encoded[at]).collect();
            batch(&part, &self.device)
        });
        Ok(SegmentBatch {
            inputs: inputs.collect(),
            windows: order.iter().map(|&at| windows[at].clone()).collect(),
            texts,
        })
    }

    fn forward(&self, batch: SegmentBatch) -> Result<Scored> {
        let empty = |text: &Vec<char>| vec![0.0; text.len() * TAGS.len()];
        let mut scores: Vec<Vec<f32>> = batch.texts.iter().map(empty).collect();
        for (input, windows) in batch.inputs.iter().zip(batch.windows.chunks(WINDOWS)) {
            let emissions = guard("the forward pass", || Ok(self.tagger.emissions(input)))?;
            let seq = emissions.dims()[1];
            let values = host::to_vec(emissions)?;
            for ((text, run, window), values) in windows.iter().zip(values.chunks(seq * TAGS.len()))
            {
                let skip = (window.keep.start - window.read.start) * TAGS.len();
                let to = (run.start + window.keep.start) * TAGS.len();
                let len = window.keep.len() * TAGS.len();
                scores[*text][to..to + len].copy_from_slice(&values[skip..skip + len]);
            }
        }
        Ok(Scored {
            texts: batch.texts,
            scores,
        })
    }

    fn postprocess(&self, raw: Scored) -> Result<Vec<Segmentation>> {
        let each = raw.texts.iter().zip(&raw.scores);
        Ok(each
            .map(|(text, scores)| Segmentation {
                words: self.decode(text, scores),
                scores: scores.as_chunks().0.to_vec(),
            })
            .collect())
    }
}

/// Refuses what is no text to segment.
pub(super) fn check_text<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    if text.is_empty() {
        return Err(Error::input(
            name,
            "an empty text",
            "at least one character",
        ));
    }
    // A byte count first: it is free.
    if text.len() > MAX_CHARS && text.chars().count() > MAX_CHARS {
        let what = format!("more than {MAX_CHARS} characters in a line");
        return Err(Error::input(name, what, "shorter lines"));
    }
    Ok(text)
}

/// Makes tags that cannot follow one another impossible.
fn legal(mut crf: CrfScores) -> CrfScores {
    let ends = |tag: usize| tag == tag::END || tag == tag::SINGLE;
    let begins = |tag: usize| tag == tag::BEGIN || tag == tag::SINGLE;
    for from in 0..TAGS.len() {
        for to in (0..TAGS.len()).filter(|&to| ends(from) != begins(to)) {
            crf.transitions[from * TAGS.len() + to] = f32::NEG_INFINITY;
        }
        if !begins(from) {
            crf.start[from] = f32::NEG_INFINITY;
        }
        if !ends(from) {
            crf.end[from] = f32::NEG_INFINITY;
        }
    }
    crf
}

/// Keeps runs of Latin letters, and runs of digits, in one piece.
fn keep_runs(chars: &[char], emissions: &mut [f32]) {
    let class = |c: char| match c {
        'a'..='z' | 'A'..='Z' | 'ａ'..='ｚ' | 'Ａ'..='Ｚ' => 1,
        '0'..='9' | '０'..='９' => 2,
        _ => 0,
    };
    for at in 1..chars.len() {
        if class(chars[at]) == 0 || class(chars[at]) != class(chars[at - 1]) {
            continue;
        }
        let row = at * TAGS.len();
        for tag in [tag::END, tag::SINGLE] {
            emissions[row - TAGS.len() + tag] = UNLIKELY;
        }
        for tag in [tag::BEGIN, tag::SINGLE] {
            emissions[row + tag] = UNLIKELY;
        }
    }
}

/// The words of a file, one a line.
pub(super) fn word_list(path: &Path) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let words = text.lines().map(str::trim).filter(|word| !word.is_empty());
    Ok(words.map(String::from).collect())
}

/// The card of a model that this task made.
///
/// Its parameters are counted when the network is there.
pub(super) fn card(config: &TaggerConfig, licence: &str, origin: &str) -> ModelCard {
    let names = ["nlp", "segment", &config.architecture];
    ModelCard {
        labels: TAGS.map(String::from).to_vec(),
        ..ModelCard::new(names, 0, licence, origin)
    }
}
