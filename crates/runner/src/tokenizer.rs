//! `model tokenizer train`: a vocabulary out of the user's own text.

use crate::print;
use clap::{Args, Subcommand};
use panoply_core::{Error, ModelFolder, Result};
use panoply_nlp::preprocess::{TokenizerKind, TokenizerRecipe};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum TokenizerVerb {
    /// Learn a vocabulary from text files and write tokenizer.json.
    Train(TrainArgs),
}

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// Files of UTF-8 text, read line by line.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// bpe (byte-level pairs, as GPT-2), wordpiece (as BERT) or unigram (as T5).
    #[arg(long, default_value = "bpe")]
    kind: String,
    /// Tokens at most, special ones included.
    #[arg(long, default_value_t = 30_000)]
    vocab_size: usize,
    /// Times that a pair must occur to become one token (bpe, wordpiece).
    #[arg(long, default_value_t = 2)]
    min_frequency: u64,
    /// Make upper case lower (wordpiece, unigram).
    #[arg(long)]
    lowercase: bool,
    /// Longest sequence of the model to come, in tokens.
    #[arg(long, default_value_t = 512)]
    max_length: usize,
    /// Folder to make.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn train(args: &TrainArgs) -> Result<()> {
    let recipe = TokenizerRecipe {
        kind: args.kind.parse::<TokenizerKind>()?,
        vocab_size: args.vocab_size,
        min_frequency: args.min_frequency,
        lowercase: args.lowercase,
    };
    print::check_folder(&args.out)?;
    let file = args.out.join("tokenizer.json");
    if file.exists() {
        let location = file.display().to_string();
        return Err(Error::input(location, "is there already", "a new folder"));
    }
    let json = recipe.train_on_files(&args.files)?;
    let folder = ModelFolder::create(&args.out)?;
    folder.write_json("tokenizer_config.json", &recipe.config(args.max_length))?;
    panoply_core::model_folder::write_atomic(&file, &json)?;
    let size = serde_json::from_slice::<serde_json::Value>(&json).map_or(0, |json| {
        let vocab = &json["model"]["vocab"];
        let pairs = vocab.as_object().map(serde_json::Map::len);
        pairs.or(vocab.as_array().map(Vec::len)).unwrap_or(0)
    });
    print::line(&format!("wrote {} ({size} tokens)", file.display()))
}
