//! A vocabulary out of texts: `model tokenizer train`, and models that start from nothing.

use panoply_core::{Error, Result, guard};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Mutex,
};
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer, Trainer,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
        unigram::{Unigram, UnigramTrainer},
        wordpiece::{WordPiece, WordPieceTrainer},
    },
    normalizers::{BertNormalizer, Lowercase, NFKC, Sequence},
    pre_tokenizers::{
        bert::BertPreTokenizer,
        byte_level::ByteLevel,
        metaspace::{Metaspace, PrependScheme},
    },
    processors::{bert::BertProcessing, roberta::RobertaProcessing, template::TemplateProcessing},
};

/// Special tokens of RoBERTa, ids in this order.
const ROBERTA: [&str; 5] = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"];
/// Special tokens of BERT, ids in this order; what stands for what as above.
const BERT: [&str; 5] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"];

/// How a vocabulary is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenizerKind {
    /// Byte-level pairs as GPT-2's and RoBERTa's (Sennrich et al., 2016; Radford et al., 2019): no text is
    /// unknown to it.
    Bpe,
    /// BERT's pieces of words (Wu et al., 2016).
    WordPiece,
    /// A unigram language model of pieces (Kudo, 2018) over text with `▁` for spaces, as T5's and
    /// XLM-R's.
    Unigram,
}

impl FromStr for TokenizerKind {
    type Err = Error;

    /// `bpe`, `wordpiece` or `unigram`.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "bpe" => Ok(Self::Bpe),
            "wordpiece" => Ok(Self::WordPiece),
            "unigram" => Ok(Self::Unigram),
            _ => Err(Error::unknown(
                "kind of tokenizer",
                name,
                ["bpe", "wordpiece", "unigram"],
            )),
        }
    }
}

/// What decides a vocabulary beside the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizerRecipe {
    /// How it is made.
    pub kind: TokenizerKind,
    /// Tokens at most, special ones included.
    pub vocab_size: usize,
    /// Times that a pair of pieces must occur to become one; the unigram model has no such bound.
    pub min_frequency: u64,
    /// Whether upper case is made lower; byte-level pairs keep the case.
    pub lowercase: bool,
}

impl TokenizerRecipe {
    /// The content of a `tokenizer.json`. The same texts give the same one.
    ///
    /// # Errors
    /// A size that the alphabet alone exceeds; texts that leave nothing to learn from.
    pub fn train<T: AsRef<str> + Send>(
        &self,
        texts: impl Iterator<Item = T> + Send,
    ) -> Result<Vec<u8>> {
        self.check()?;
        let mut tokenizer = self.untrained();
        let failed = |e: tokenizers::Error| {
            let expected = "texts with something to learn from";
            Error::input("the texts", e.to_string(), expected)
        };
        // The library panics where it finds no likelihood, as on a single line without end.
        guard("training a tokenizer", || {
            let learnt = match self.kind {
                TokenizerKind::Bpe => self.learn_pairs(&mut tokenizer, texts),
                TokenizerKind::WordPiece => self.learn_word_pieces(&mut tokenizer, texts),
                TokenizerKind::Unigram => self.learn_unigrams(&mut tokenizer, texts),
            };
            learnt.map_err(failed)
        })?;
        let found = tokenizer.get_vocab_size(true);
        if found > self.vocab_size {
            let what = format!("{} tokens for an alphabet of {found}", self.vocab_size);
            return Err(Error::input("vocab_size", what, "room for every character"));
        }
        self.finish(&mut tokenizer)?;
        let json = tokenizer.to_string(false).map_err(failed)?;
        Ok(json.into_bytes())
    }

    /// As [`train`](Self::train), on the lines of files.
    ///
    /// # Errors
    /// As there; a file that cannot be read, or a line that is not UTF-8.
    pub fn train_on_files(&self, files: &[PathBuf]) -> Result<Vec<u8>> {
        // Looked at first: nobody should learn of a wrong name after minutes.
        for file in files {
            open(file)?;
        }
        let failure = Mutex::new(None);
        let lines = files.iter().flat_map(|file| match lines(file) {
            Ok(lines) => Box::new(lines) as Box<dyn Iterator<Item = Result<String>> + Send>,
            Err(e) => Box::new(std::iter::once(Err(e))),
        });
        let texts = lines.map_while(|line| match line {
            Ok(line) => Some(line),
            Err(e) => {
                if let Ok(mut slot) = failure.lock() {
                    *slot = Some(e);
                }
                None
            }
        });
        let trained = self.train(texts);
        match failure.into_inner() {
            Ok(Some(e)) => Err(e),
            _ => trained,
        }
    }

    /// The `tokenizer_config.json` beside it, with the names of the special tokens.
    pub fn config(&self, max_length: usize) -> Value {
        let [pad, cls, sep, unk, mask] = self.special();
        json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length,
            "pad_token": pad, "cls_token": cls, "bos_token": cls, "sep_token": sep, "eos_token": sep,
            "unk_token": unk, "mask_token": mask, "clean_up_tokenization_spaces": false,
        })
    }

    fn special(&self) -> [&'static str; 5] {
        match self.kind {
            TokenizerKind::WordPiece => BERT,
            TokenizerKind::Bpe | TokenizerKind::Unigram => ROBERTA,
        }
    }

    fn check(&self) -> Result<()> {
        let bytes = match self.kind {
            TokenizerKind::Bpe => 256,
            TokenizerKind::WordPiece | TokenizerKind::Unigram => 1,
        };
        let least = ROBERTA.len() + bytes;
        if self.vocab_size < least || u32::try_from(self.vocab_size).is_err() {
            let what = format!("{} tokens", self.vocab_size);
            let expected = match self.kind {
                TokenizerKind::Bpe => format!("at least {least}: every byte is one"),
                _ => format!("at least {least}, at most 4 thousand million"),
            };
            return Err(Error::input("vocab_size", what, expected));
        }
        Ok(())
    }

    /// Normaliser, pre-tokenizer and decoder around an empty model.
    fn untrained(&self) -> Tokenizer {
        let mut tokenizer = match self.kind {
            TokenizerKind::Bpe => Tokenizer::new(BPE::default()),
            TokenizerKind::WordPiece => Tokenizer::new(WordPiece::default()),
            TokenizerKind::Unigram => Tokenizer::new(Unigram::default()),
        };
        match self.kind {
            TokenizerKind::Bpe => {
                tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
                tokenizer.with_decoder(Some(ByteLevel::default()));
            }
            TokenizerKind::WordPiece => {
                tokenizer.with_normalizer(Some(BertNormalizer::new(
                    true,
                    true,
                    None,
                    self.lowercase,
                )));
                tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
                let decoder = tokenizers::decoders::wordpiece::WordPiece::default();
                tokenizer.with_decoder(Some(decoder));
            }
            TokenizerKind::Unigram => {
                let mut steps = vec![NFKC.into()];
                if self.lowercase {
                    steps.push(Lowercase.into());
                }
                tokenizer.with_normalizer(Some(Sequence::new(steps)));
                let spaces = Metaspace::new('▁', PrependScheme::Always, true);
                tokenizer.with_pre_tokenizer(Some(spaces.clone()));
                tokenizer.with_decoder(Some(spaces));
            }
        }
        tokenizer
    }

    fn learn_pairs<T: AsRef<str> + Send>(
        &self,
        tokenizer: &mut Tokenizer,
        texts: impl Iterator<Item = T> + Send,
    ) -> tokenizers::Result<()> {
        let trainer = BpeTrainer::builder()
            .vocab_size(self.vocab_size)
            .min_frequency(self.min_frequency)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(self.special_tokens())
            .build();
        tokenizer.train(&mut TrainerWrapper::BpeTrainer(trainer), texts)?;
        Ok(())
    }

    /// RoBERTa's mask takes the space before it.
    fn special_tokens(&self) -> Vec<AddedToken> {
        let added = |token| AddedToken::from(token, true).lstrip(token == "<mask>");
        self.special().map(added).to_vec()
    }

    fn word_piece_trainer(&self, first: Vec<AddedToken>) -> WordPieceTrainer {
        WordPieceTrainer::builder()
            .vocab_size(self.vocab_size)
            .min_frequency(self.min_frequency)
            .show_progress(false)
            .special_tokens(first)
            .build()
    }

    /// The library numbers characters inside words as it meets them, in the order of a hash map that
    /// differs from run to run; so they are numbered before it begins.
    fn learn_word_pieces<T: AsRef<str> + Send>(
        &self,
        tokenizer: &mut Tokenizer,
        texts: impl Iterator<Item = T> + Send,
    ) -> tokenizers::Result<()> {
        let inside = Mutex::new(BTreeSet::new());
        let mut trainer = self.word_piece_trainer(self.special_tokens());
        let whole: &Tokenizer = tokenizer;
        trainer.feed(texts, |text| {
            let words = cut(whole, text)?;
            if let Ok(mut inside) = inside.lock() {
                inside.extend(words.iter().flat_map(|word| word.chars().skip(1)));
            }
            Ok(words)
        })?;
        let inside = inside.into_inner().unwrap_or_default();
        let numbered = inside
            .iter()
            .map(|c| AddedToken::from(format!("##{c}"), false));
        let first = self.special_tokens().into_iter().chain(numbered);
        trainer.set_special_tokens(first.collect());
        let mut model = WordPiece::default();
        trainer.train(&mut model)?;
        tokenizer.with_model(model);
        tokenizer.add_special_tokens(&self.special_tokens());
        Ok(())
    }

    /// Sums and ties of the library's trainer depend on the number of threads and on hash maps that
    /// differ from run to run; so it gets sorted words and one thread, and equal scores are put in
    /// the order of their tokens.
    fn learn_unigrams<T: AsRef<str> + Send>(
        &self,
        tokenizer: &mut Tokenizer,
        texts: impl Iterator<Item = T> + Send,
    ) -> tokenizers::Result<()> {
        let mut words: BTreeMap<String, u32> = BTreeMap::new();
        for text in texts {
            for word in cut(tokenizer, text.as_ref())? {
                let count = words.entry(word).or_default();
                *count = count.saturating_add(1);
            }
        }
        let trainer = UnigramTrainer::builder()
            .vocab_size(self.vocab_size as u32)
            .show_progress(false)
            .special_tokens(self.special_tokens())
            .unk_token(Some("<unk>".into()))
            .build()?;
        let mut model = Unigram::default();
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        alone.install(|| trainer.do_train(words.into_iter().collect(), &mut model))?;
        let mut vocab: Vec<(String, f64)> = model.iter().cloned().collect();
        let pieces = &mut vocab[ROBERTA.len()..];
        number_rare_characters(pieces);
        pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let unknown = ROBERTA.iter().position(|&token| token == "<unk>");
        tokenizer.with_model(Unigram::from(vocab, unknown, false)?);
        tokenizer.add_special_tokens(&self.special_tokens());
        Ok(())
    }

    /// What puts special tokens around a text, now that they have ids.
    fn finish(&self, tokenizer: &mut Tokenizer) -> Result<()> {
        let [_, cls, sep, ..] = self.special();
        let numbered = |token: &str| {
            let id = tokenizer
                .token_to_id(token)
                .ok_or_else(|| Error::Internal {
                    context: "training a tokenizer".into(),
                    message: format!("no token {token}"),
                })?;
            Ok::<_, Error>((token.to_string(), id))
        };
        let (cls, sep) = (numbered(cls)?, numbered(sep)?);
        match self.kind {
            TokenizerKind::Bpe => {
                let around = RobertaProcessing::new(sep, cls).add_prefix_space(false);
                tokenizer.with_post_processor(Some(around));
            }
            TokenizerKind::WordPiece => {
                tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
            }
            TokenizerKind::Unigram => {
                let around = TemplateProcessing::builder()
                    .try_single("<s> $A </s>")
                    .and_then(|builder| builder.try_pair("<s> $A </s> </s> $B </s>"))
                    .map(|builder| builder.special_tokens(vec![cls, sep]).build());
                let around = around.and_then(|built| built.map_err(|e| e.to_string()));
                let around = around.map_err(|message| Error::Internal {
                    context: "training a tokenizer".into(),
                    message,
                })?;
                tokenizer.with_post_processor(Some(around));
            }
        }
        Ok(())
    }
}

/// Characters that did not survive as pieces come back with the lowest score, each 1e-4 above the one
/// before it, in an order that differs from run to run: puts them in their own.
fn number_rare_characters(pieces: &mut [(String, f64)]) {
    const APART: f64 = 1e-4;
    let is_char = |piece: &&mut (String, f64)| piece.0.chars().nth(1).is_none();
    let mut chars: Vec<&mut (String, f64)> = pieces.iter_mut().filter(is_char).collect();
    let lowest = chars
        .iter()
        .map(|piece| piece.1)
        .fold(f64::INFINITY, f64::min);
    let end = lowest + APART * (chars.len() + 1) as f64;
    chars.retain(|piece| piece.1 < end);
    let mut rare: Vec<(String, f64)> = chars.iter().map(|piece| (*piece).clone()).collect();
    let mut scores: Vec<f64> = rare.iter().map(|piece| piece.1).collect();
    scores.sort_by(f64::total_cmp);
    rare.sort_by(|a, b| a.0.cmp(&b.0));
    for ((slot, (token, _)), score) in chars.into_iter().zip(rare).zip(scores) {
        *slot = (token, score);
    }
}

/// The words of a text, normalised, as the tokenizer's model would get them.
fn cut(tokenizer: &Tokenizer, text: &str) -> tokenizers::Result<Vec<String>> {
    let mut normalized = NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer.normalize(&mut normalized)?;
    }
    let mut words = PreTokenizedString::from(normalized);
    if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut words)?;
    }
    let splits = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits
        .into_iter()
        .map(|split| split.0.to_string())
        .collect())
}

fn open(file: &Path) -> Result<BufReader<File>> {
    let failed = |e| Error::io("read", file, e);
    let opened = File::open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.is_dir() {
        let what = "a folder";
        return Err(Error::input(
            file.display().to_string(),
            what,
            "a file of text",
        ));
    }
    Ok(BufReader::new(opened))
}

/// The lines of a file, one at a time.
fn lines(file: &Path) -> Result<impl Iterator<Item = Result<String>> + Send + use<>> {
    let path = file.to_path_buf();
    let numbered = open(file)?.split(b'\n').enumerate();
    Ok(numbered.map(move |(i, line)| {
        let line = line.map_err(|e| Error::io("read", &path, e))?;
        String::from_utf8(line).map_err(|e| {
            let location = format!("{} line {}", path.display(), i + 1);
            let what = format!("byte {} is not UTF-8", e.utf8_error().valid_up_to());
            Error::input(location, what, "UTF-8 text")
        })
    }))
}

/// The content of a `tokenizer.json` with a token for each character of `texts`, and the number of
/// tokens. Ids are in the order of the code points, as nanoGPT's `sorted(set(text))`.
pub(super) fn characters<'t>(texts: impl Iterator<Item = &'t str>) -> Result<(Vec<u8>, usize)> {
    let all: BTreeSet<char> = texts.flat_map(str::chars).collect();
    if all.is_empty() {
        return Err(Error::input("training texts", "no character", "a text"));
    }
    let vocab: serde_json::Map<String, Value> = (0..)
        .zip(&all)
        .map(|(id, c): (usize, _)| (c.to_string(), json!(id)))
        .collect();
    // Pairs without merges: every character stays alone. The decoder puts nothing between them.
    let json = json!({
        "version": "1.0",
        "added_tokens": [],
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    Ok((json.to_string().into_bytes(), all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(kind: TokenizerKind, vocab_size: usize) -> TokenizerRecipe {
        TokenizerRecipe {
            kind,
            vocab_size,
            min_frequency: 2,
            lowercase: false,
        }
    }

    fn texts() -> impl Iterator<Item = String> + Send {
        let words = [
            "low", "lower", "lowest", "new", "newer", "Über", "日本", "wider",
        ];
        (0..300).map(move |i| {
            let pick = |k: usize| words[(i * k + k) % words.len()];
            format!("{} {}  {}, {}!", pick(1), pick(3), pick(5), pick(7))
        })
    }

    #[test]
    fn each_kind_reads_its_texts_back() {
        let cases = [
            (TokenizerKind::Bpe, 300, "<s>", "new lower 日本!"),
            (TokenizerKind::WordPiece, 60, "[CLS]", "new lower 日 本!"),
            (TokenizerKind::Unigram, 60, "<s>", "new lower 日本!"),
        ];
        for (kind, size, first, decoded) in cases {
            let json = recipe(kind, size).train(texts()).unwrap();
            assert!(
                json == recipe(kind, size).train(texts()).unwrap(),
                "{kind:?}"
            );
            let tokenizer = Tokenizer::from_bytes(&json).unwrap();
            let count = tokenizer.get_vocab_size(true);
            assert!(count <= size && count > 20, "{kind:?}: {count}");
            let encoding = tokenizer.encode("new lower 日本!", true).unwrap();
            let tokens = encoding.get_tokens();
            assert_eq!(tokens[0], first);
            assert!(
                !tokens
                    .iter()
                    .any(|t| t.contains("unk") || t.contains("UNK")),
                "{tokens:?}"
            );
            assert!(tokens.len() < 14, "nothing was learnt: {tokens:?}");
            assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), decoded);
        }
    }

    #[test]
    fn lower_case_is_kept_or_made() {
        let upper = |lowercase| {
            let recipe = TokenizerRecipe {
                lowercase,
                ..recipe(TokenizerKind::WordPiece, 60)
            };
            let tokenizer = Tokenizer::from_bytes(recipe.train(texts()).unwrap()).unwrap();
            let encoding = tokenizer.encode("Über", false).unwrap();
            tokenizer.decode(encoding.get_ids(), true).unwrap()
        };
        assert_eq!((upper(false), upper(true)), ("Über".into(), "uber".into()));
    }

    #[test]
    fn what_cannot_be_learnt_from_says_why() {
        let refuse = |kind, size, texts: &[&str], words: &str| {
            let error = recipe(kind, size).train(texts.iter()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        };
        refuse(TokenizerKind::Bpe, 100, &["a"], "at least 261");
        refuse(TokenizerKind::WordPiece, 7, &["abcdefgh"], "an alphabet of");
        refuse(TokenizerKind::Unigram, 20, &[], "");
        assert!("bytes".parse::<TokenizerKind>().is_err());

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, b"fine\n\xff\n").unwrap();
        let bpe = recipe(TokenizerKind::Bpe, 300);
        let error = bpe
            .train_on_files(std::slice::from_ref(&file))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a.txt line 2: byte 0 is not UTF-8"),
            "{error}"
        );
        for other in [dir.path().to_path_buf(), dir.path().join("b.txt")] {
            assert!(bpe.train_on_files(&[other]).is_err());
        }
        std::fs::write(&file, "one line\n").unwrap();
        assert!(bpe.train_on_files(&[file]).is_ok());
    }
}
