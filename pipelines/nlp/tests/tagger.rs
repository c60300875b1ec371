//! Parity of the taggers with their PyTorch twin; `fixtures/tagger/reference.py` made the outputs.

use burn::tensor::{Device, Tensor};
use panoply_core::{Result, weights};
use panoply_nlp::models::tagger::{LexiconConfig, TaggerConfig, TaggerInput};
use panoply_testkit::Golden;
use std::path::{Path, PathBuf};

const TOLERANCE: f64 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    let folder = "tests/fixtures/tagger";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

/// Integers of the fixture, row by row.
fn rows(golden: &Golden, name: &str, lengths: &[usize]) -> Result<Vec<Vec<usize>>> {
    let values = golden.int_tensor::<2>(name, &Device::flex())?;
    let seq = values.dims()[1];
    let values: Vec<i64> = values.into_data().iter::<i64>().collect();
    let rows = values.chunks(seq).zip(lengths);
    Ok(rows
        .map(|(row, &n)| row[..n].iter().map(|&v| v as usize).collect())
        .collect())
}

fn config(architecture: &str, num_bigrams: usize) -> TaggerConfig {
    TaggerConfig::new(architecture.into(), 11, num_bigrams, 4)
        .with_char_dim(6)
        .with_bigram_dim(3)
        .with_hidden_size(5)
}

fn check(name: &str, config: &TaggerConfig) -> Result<()> {
    let device = Device::flex();
    let mut tagger = config.init(&device)?;
    tagger.load(&fixture(&format!("{name}.weights.safetensors")))?;
    let mut golden = Golden::open(&fixture(&format!("{name}.outputs.safetensors")))?;
    let lengths = golden.int_tensor::<1>("lengths", &device)?.into_data();
    let lengths: Vec<usize> = lengths.iter::<i64>().map(|n| n as usize).collect();
    let input = TaggerInput {
        lexicon: match config.lexicon {
            Some(_) => Some(golden.int_tensor("lexicon", &device)?),
            None => None,
        },
        chars: golden.int_tensor("chars", &device)?,
        bigrams: Some(golden.int_tensor("bigrams", &device)?),
        lengths: lengths.clone(),
    };
    let mut seen: Vec<(&str, Tensor<3>)> = Vec::new();
    let emissions = tagger.walk(&input, &mut |stage, x| seen.push((stage, x.clone())));
    for (stage, x) in seen {
        golden.check(stage, &x, TOLERANCE);
    }
    let tags = rows(&golden, "tags", &lengths)?;
    let loss = tagger.crf.neg_log_likelihood(emissions.clone(), &tags)?;
    golden.check("loss", &loss, TOLERANCE);
    let scores = tagger.crf.scores()?;
    let paths = rows(&golden, "paths", &lengths)?;
    let values: Vec<f32> = emissions.into_data().iter::<f32>().collect();
    for ((row, path), &n) in values.chunks(7 * 4).zip(&paths).zip(&lengths) {
        assert_eq!(&scores.viterbi(&row[..4 * n]), path, "{name}");
    }
    golden.finish();

    // What we save is what PyTorch saved.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let saved = dir.path().join("saved.safetensors");
    tagger.save(&saved, weights::SaveDtype::F32)?;
    let published = fixture(&format!("{name}.weights.safetensors"));
    assert_eq!(
        weights::read_tensors(&saved)?,
        weights::read_tensors(&published)?
    );
    Ok(())
}

#[test]
fn bilstm_crf_with_bigrams() -> Result<()> {
    check("bilstm_crf", &config("bilstm_crf", 17))
}

#[test]
fn bigru_crf_of_two_layers() -> Result<()> {
    check("bigru_crf", &config("bigru_crf", 0).with_num_layers(2))
}

#[test]
fn bilstm_crf_with_a_lexicon() -> Result<()> {
    let lexicon = LexiconConfig {
        rows: 18,
        dim: 2,
        per_char: 3,
    };
    let config = config("bilstm_crf", 17).with_lexicon(Some(lexicon));
    check("bilstm_crf_lexicon", &config)
}

#[test]
fn an_unknown_architecture_is_refused() {
    let error = TaggerConfig::new("bilstm".into(), 1, 0, 4).init(&Device::flex());
    let error = error.map(drop).unwrap_err().to_string();
    assert!(error.contains("did you mean 'bilstm_crf'"), "{error}");
}
