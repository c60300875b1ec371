//! Language workloads: tokenising, an encoder's forward pass, a decoder's steps, a training step.

use crate::Workload;
use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLearningRate,
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamWConfig, GradientsParams},
    tensor::{Device, Distribution, Int, Tensor},
};
use panoply_core::ModelFolder;
use panoply_datasets::{Split, bundled};
use panoply_nlp::{
    models::{
        CausalInput, Decoder,
        bert::{BertConfig, EncoderInput},
        gpt2::Gpt2Config,
    },
    preprocess::TextTokenizer,
};
use std::path::Path;

/// Every workload, in the order of measurement. `_b` is the batch, `_t` the number of tokens in a text
/// or already read; `decode` makes [`STEPS`] tokens.
pub const NAMES: &[&str] = &[
    "tokenize_b256",
    "forward_bert_base_t128_b1",
    "forward_bert_base_t128_b8",
    "decode_gpt2_t128_b1",
    "train_step_minilm_l6_t128_b8",
];

/// Tokens that one call of `decode` makes.
pub const STEPS: usize = 16;

/// The workload called `name`; `None` if there is none.
pub fn workload(name: &str) -> Option<Workload> {
    let name = *NAMES.iter().find(|known| **known == name)?;
    let batch = name.rsplit_once("_b")?.1.parse().ok()?;
    let run = match name {
        "tokenize_b256" => tokenize(batch),
        "decode_gpt2_t128_b1" => decode(128),
        "train_step_minilm_l6_t128_b8" => train_step(batch, 128),
        _ => forward(batch, 128),
    };
    Some(Workload { name, batch, run })
}

/// WordPiece with the tiny vocabulary of the tests, on bundled messages one after the other.
fn tokenize(batch: usize) -> Box<dyn FnMut()> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/nlp/tests/fixtures/text/bert");
    let folder = ModelFolder::open(&folder).expect("the fixture is there");
    let config = BertConfig::from_hf(&folder.config().expect("a config")).expect("a BERT");
    let tokenizer = TextTokenizer::open(&folder, &config).expect("a tokenizer");
    let messages = bundled::languages(Split::Train).expect("bundled messages");
    let texts: Vec<String> = (0..batch)
        .map(|row| messages.text(row).to_string())
        .collect();
    Box::new(move || {
        let tokens = texts.iter().map(|text| {
            let encoded = tokenizer.encode_quietly("text", text);
            encoded.map_or(0, |encoded| encoded.len())
        });
        assert!(tokens.sum::<usize>() > batch);
    })
}

fn ids(batch: usize, len: usize, vocab: usize, device: &Device) -> Tensor<2, Int> {
    let top = Distribution::Uniform(0.0, vocab as f64);
    Tensor::<2>::random([batch, len], top, device).int()
}

fn forward(batch: usize, len: usize) -> Box<dyn FnMut()> {
    let device = Device::flex();
    device.seed(0);
    let config = BertConfig::bert_base();
    let network = config.init(&device);
    let input = EncoderInput::new(ids(batch, len, config.vocab_size, &device));
    Box::new(move || {
        network.forward(&input).sum().into_scalar::<f32>();
    })
}

/// Greedy steps after `read` tokens, through the cache.
fn decode(read: usize) -> Box<dyn FnMut()> {
    let device = Device::flex();
    device.seed(0);
    let config = Gpt2Config::gpt2();
    let network = config.init(&device);
    let mut cache = network.cache(read + STEPS);
    let prompt = ids(1, read, config.vocab_size, &device);
    let start = network
        .next(&CausalInput::new(prompt), &mut cache)
        .argmax(1);
    Box::new(move || {
        let mut token = start.clone();
        for _ in 0..STEPS {
            token = network.next(&CausalInput::new(token), &mut cache).argmax(1);
        }
        token.into_scalar::<i64>();
        cache.truncate(read);
    })
}

/// Forward, backward and AdamW of a classifier of two classes.
fn train_step(batch: usize, len: usize) -> Box<dyn FnMut()> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let config = BertConfig::minilm_l6();
    let mut network = Some(config.init_sequence_classification(&device));
    let mut optimizer = AdamWConfig::new().init();
    let input = EncoderInput::new(ids(batch, len, config.vocab_size, &device));
    let classes = Tensor::<1, Int>::arange(0..batch as i64, &device).remainder_scalar(2);
    let loss = CrossEntropyLossConfig::new().init(&device);
    Box::new(move || {
        let now = network.take().expect("put back after each step");
        let value = loss.forward(now.forward(&input), classes.clone());
        let gradients = GradientsParams::from_grads(value.backward(), &now);
        let now = optimizer.step(ModuleLearningRate::from(1e-5), now, gradients);
        value.into_scalar::<f32>();
        network = Some(now);
    })
}
