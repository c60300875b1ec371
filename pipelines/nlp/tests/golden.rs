//! Parity of the networks with `transformers`.
//!
//! The reference outputs were made by `fixtures/reference.py`, whose header pins the versions. The
//! models are tiny and load committed random weights from files that `save_pretrained` wrote.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use burn::{
    module::Module,
    tensor::{Bool, Device, Int, Tensor},
};
use panoply_core::weights::{self, KeyMap, SaveDtype};
use panoply_nlp::models::{
    CausalInput, CausalLm, CausalLmConfig, Decoder,
    bert::{self, Bert, BertConfig, EncoderInput},
    gpt_neo::GptNeoConfig,
    gpt2::Gpt2Config,
    llama::LlamaConfig,
};
use panoply_testkit::Golden;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

const TOLERANCE: f64 = 1e-4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn weights_of(name: &str) -> PathBuf {
    fixture(&format!("{name}.weights.safetensors"))
}

fn config(name: &str) -> Value {
    json("configs.json")[name].clone()
}

/// Loads the committed weights strictly; what is saved again is what the reference wrote.
fn load<M: Module>(model: &mut M, name: &str, map: &KeyMap) {
    let path = weights_of(name);
    let report = weights::load(model, &path, map).unwrap();
    assert_eq!((report.dropped, report.prefix.as_str()), (0, ""), "{name}");
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("model.safetensors");
    weights::save(model, &saved, map, SaveDtype::F32).unwrap();
    let (ours, reference) = (
        weights::read_tensors(&saved).unwrap(),
        weights::read_tensors(&path).unwrap(),
    );
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        reference.keys().collect::<Vec<_>>()
    );
    assert!(ours == reference, "{name}: values differ");
}

/// The mask of the padded batch, as numbers and as truth values.
fn mask(golden: &Golden) -> (Tensor<2>, Tensor<2, Bool>) {
    let mask = golden
        .int_tensor::<2>("padded/attention_mask", &Device::flex())
        .unwrap();
    (mask.clone().float(), mask.equal_elem(1))
}

/// Compares hidden states; where `mask` is given, outputs at padding are zero in the reference.
fn check(golden: &mut Golden, name: &str, x: &Tensor<3>, mask: Option<&Tensor<2>>) {
    match mask {
        Some(mask) => {
            let x = x.clone() * mask.clone().unsqueeze_dim(2);
            golden.check(&format!("padded/{name}"), &x, TOLERANCE);
        }
        None => golden.check(name, x, TOLERANCE),
    }
}

/// Every reference output was compared.
fn finish(golden: Golden) {
    let inputs = ["input_ids", "attention_mask", "token_type_ids"];
    let is_output = |name: &&str| !inputs.contains(&name.rsplit('/').next().unwrap());
    let outputs = golden.names().filter(is_output).count();
    assert_eq!(outputs, golden.passed().len() + golden.mismatches().len());
    golden.finish();
}

// ------------------------------------------------------------------------------------- encoders

/// What a head makes of hidden states: per token or per sequence.
enum Logits {
    Tokens(Tensor<3>),
    Sequences(&'static str, Tensor<2>),
    Nothing,
}

fn check_encoder(name: &str, bert: &Bert, head: impl Fn(Tensor<3>) -> Logits) {
    let device = Device::flex();
    let mut golden = Golden::open(&fixture(&format!("{name}.outputs.safetensors"))).unwrap();
    let (numbers, truth) = mask(&golden);
    for padded in [false, true] {
        let prefix = if padded { "padded/" } else { "" };
        let ids = |key: &str| golden.int_tensor::<2>(&format!("{prefix}{key}"), &device);
        let mut input = EncoderInput::new(ids("input_ids").unwrap());
        if padded {
            input = input.mask(truth.clone());
        }
        if let (true, Ok(types)) = (padded, ids("token_type_ids")) {
            input = input.token_types(types);
        }
        let numbers = padded.then_some(&numbers);
        let mut seen = Vec::new();
        let hidden = bert.walk(&input, &mut |name, x| {
            seen.push((name.to_string(), x.clone()));
        });
        for (place, x) in seen {
            check(&mut golden, &place, &x, numbers);
        }
        match head(hidden) {
            Logits::Tokens(x) => check(&mut golden, "logits", &x, numbers),
            Logits::Sequences(place, x) => {
                golden.check(&format!("{prefix}{place}"), &x, TOLERANCE);
            }
            Logits::Nothing => (),
        }
    }
    finish(golden);
}

fn check_family(family: &str) {
    let device = Device::flex();
    let read = |head: &str| {
        let name = format!("{family}_{head}");
        (BertConfig::from_hf(&config(&name)).unwrap(), name)
    };

    let (config, name) = read("base");
    let mut model = config.init(&device);
    load(&mut model, &name, config.key_map());
    check_encoder(&name, &model, |hidden| {
        model
            .pooled(hidden)
            .map_or(Logits::Nothing, |x| Logits::Sequences("pooled", x))
    });

    let (config, name) = read("masked_lm");
    let mut model = config.init_masked_lm(&device);
    load(&mut model, &name, config.key_map());
    check_encoder(&name, &model.bert, |hidden| {
        Logits::Tokens(model.head(hidden))
    });

    let (config, name) = read("sequence");
    let mut model = config.init_sequence_classification(&device);
    load(&mut model, &name, config.key_map());
    check_encoder(&name, &model.bert, |hidden| {
        Logits::Sequences("logits", model.head(hidden))
    });

    let (config, name) = read("token");
    let mut model = config.init_token_classification(&device);
    load(&mut model, &name, config.key_map());
    check_encoder(&name, &model.bert, |hidden| {
        Logits::Tokens(model.head(hidden))
    });

    let (config, name) = read("span");
    let mut model = config.init_question_answering(&device);
    load(&mut model, &name, config.key_map());
    check_encoder(&name, &model.bert, |hidden| {
        Logits::Tokens(model.head(hidden))
    });
}

#[test]
fn bert_and_its_heads() {
    check_family("bert");
}

#[test]
fn roberta_and_its_heads() {
    check_family("roberta");
}

#[test]
fn distilbert_and_its_heads() {
    check_family("distilbert");
}

#[test]
fn a_new_head_takes_the_encoder_of_any_file() {
    let device = Device::flex();
    for family in ["bert", "roberta", "distilbert"] {
        for source in ["base", "masked_lm", "span"] {
            let config = BertConfig::from_hf(&config(&format!("{family}_token"))).unwrap();
            let mut model = config.init_token_classification(&device);
            let path = weights_of(&format!("{family}_{source}"));
            let map = config.key_map();
            assert!(weights::load(&mut model, &path, map).is_err());
            let report = weights::load_with(&mut model, &path, map, bert::NEW_HEAD).unwrap();
            assert_eq!(
                report.missing,
                ["classifier.bias [3]", "classifier.weight [3, 16]"]
            );
            let expected = weights::published_keys(&model, map).len() - 2;
            assert_eq!(report.loaded, expected, "{family} from {source}");
        }
    }
}

// ------------------------------------------------------------------------------------- decoders

fn decoder(name: &str) -> CausalLm {
    let mut model = CausalLmConfig::from_hf(&config(name))
        .unwrap()
        .init(&Device::flex());
    let map = model.key_map();
    load(&mut model, name, map);
    model
}

fn ids_of(golden: &Golden, name: &str) -> Tensor<2, Int> {
    golden.int_tensor(name, &Device::flex()).unwrap()
}

fn check_decoder(name: &str) {
    let model = decoder(name);
    let mut golden = Golden::open(&fixture(&format!("{name}.outputs.safetensors"))).unwrap();
    let (numbers, truth) = mask(&golden);
    let plain = CausalInput::new(ids_of(&golden, "input_ids"));
    let padded = CausalInput::new(ids_of(&golden, "padded/input_ids")).mask(truth);
    for (input, numbers) in [(plain, None), (padded, Some(&numbers))] {
        let mut seen = Vec::new();
        model.walk(&input, None, &mut |name, x| {
            seen.push((name.to_string(), x.clone()));
        });
        for (place, x) in seen {
            check(&mut golden, &place, &x, numbers);
        }
        check(&mut golden, "logits", &model.forward(&input, None), numbers);
    }
    finish(golden);
    check_cache(name, &model);
    check_padding(name, &model);
}

fn largest<const D: usize>(x: Tensor<D>) -> f32 {
    x.abs().max().into_scalar()
}

/// Logits are the same whether tokens come at once or in parts.
fn check_cache(name: &str, model: &CausalLm) {
    let golden = Golden::open(&fixture(&format!("{name}.outputs.safetensors"))).unwrap();
    let ids = ids_of(&golden, "input_ids");
    let whole = model.forward(&CausalInput::new(ids.clone()), None);
    for splits in [&[9][..], &[1; 9], &[5, 1, 3], &[2, 7], &[8, 1]] {
        let mut cache = model.cache(12);
        let mut start = 0;
        for (i, &len) in splits.iter().enumerate() {
            let part = CausalInput::new(ids.clone().narrow(1, start, len));
            let expected = whole.clone().narrow(1, start, len);
            // The odd parts twice, to see that a cut-back cache goes on as before.
            if i % 2 == 1 {
                model.forward(&part, Some(&mut cache));
                cache.truncate(start);
            }
            let found = model.forward(&part, Some(&mut cache));
            let difference = largest(found - expected.clone());
            assert!(difference < 1e-5, "{name} {splits:?}: {difference}");
            cache.truncate(start);
            let [batch, _, vocab] = expected.dims();
            let last = expected.narrow(1, len - 1, 1).reshape([batch, vocab]);
            let difference = largest(model.next(&part, &mut cache) - last);
            assert!(difference < 1e-5, "{name} {splits:?}: {difference}");
            start += len;
        }
        assert_eq!(cache.len(), 9);
    }
}

/// Rows of a padded batch give what they give alone, at once and step by step, and in another order
/// when beams are reordered.
fn check_padding(name: &str, model: &CausalLm) {
    let device = Device::flex();
    let rows: [&[i64]; 3] = [&[7, 30, 2, 9, 41], &[5, 6], &[11, 12, 13]];
    // What follows, a column a row of the batch.
    let next: [[i64; 3]; 3] = [[8, 9, 33], [3, 9, 2], [50, 4, 17]];
    let order: [i64; 3] = [2, 0, 0];
    for left in [true, false] {
        let mut ids = [[0_i64; 5]; 3];
        let mut real = [[false; 5]; 3];
        for (i, row) in rows.iter().enumerate() {
            let start = if left { 5 - row.len() } else { 0 };
            ids[i][start..start + row.len()].copy_from_slice(row);
            real[i][start..start + row.len()].fill(true);
        }
        let mut cache = model.cache(8);
        let prompt = CausalInput::new(Tensor::from_ints(ids, &device))
            .mask(Tensor::from_data(real, &device));
        let mut found = vec![model.next(&prompt, &mut cache)];
        cache.reorder(&Tensor::from_ints(order, &device));
        for tokens in next {
            let tokens = Tensor::<1, Int>::from_ints(tokens, &device).reshape([3, 1]);
            found.push(model.next(&CausalInput::new(tokens), &mut cache));
        }
        for (step, found) in found.into_iter().enumerate() {
            for row in 0..3 {
                let source = if step == 0 { row } else { order[row] as usize };
                let mut alone = rows[source].to_vec();
                alone.extend(next[..step].iter().map(|tokens| tokens[row]));
                let alone = Tensor::<1, Int>::from_ints(alone.as_slice(), &device).unsqueeze();
                let expected = model.next(&CausalInput::new(alone), &mut model.cache(8));
                let difference = largest(found.clone().narrow(0, row, 1) - expected);
                assert!(
                    difference < 1e-5,
                    "{name}, left {left}, step {step}, row {row}: {difference}"
                );
            }
        }
    }
}

#[test]
fn gpt2() {
    check_decoder("gpt2");
}

#[test]
fn gpt_neo() {
    check_decoder("gpt_neo");
}

#[test]
fn llama() {
    check_decoder("llama");
}

#[test]
fn llama_with_biases_and_an_output_layer_of_its_own() {
    check_decoder("llama_untied");
}

#[test]
fn gpt2_takes_the_older_files_of_the_hub() {
    // Without prefix, with the masks as buffers, with the output layer once more.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors = weights::read_tensors(&weights_of("gpt2")).unwrap();
    let table = tensors["transformer.wte.weight"].clone();
    let mut old: std::collections::BTreeMap<_, _> = tensors
        .iter()
        .map(|(key, x)| {
            (
                key.trim_start_matches("transformer.").to_string(),
                x.clone(),
            )
        })
        .collect();
    old.insert("h.0.attn.bias".into(), table.clone());
    old.insert("h.1.attn.masked_bias".into(), table.clone());
    old.insert("lm_head.weight".into(), table.clone());
    weights::write_tensors(&path, &old, SaveDtype::F32).unwrap();
    let mut model = CausalLmConfig::from_hf(&config("gpt2"))
        .unwrap()
        .init(&Device::flex());
    let report = model.load(&path).unwrap();
    assert_eq!((report.loaded, report.dropped), (tensors.len(), 3));
    let input = CausalInput::new(Tensor::from_ints([[4, 5, 6]], &Device::flex()));
    let difference = model.forward(&input, None) - decoder("gpt2").forward(&input, None);
    assert_eq!(largest(difference), 0.0);

    // The output layer alone stands for both; another one than the table is refused.
    old.remove("wte.weight");
    weights::write_tensors(&path, &old, SaveDtype::F32).unwrap();
    assert_eq!(model.load(&path).unwrap().loaded, tensors.len());
    let mut other = table.clone();
    other.data[5] += 1.0;
    old.insert("wte.weight".into(), other);
    weights::write_tensors(&path, &old, SaveDtype::F32).unwrap();
    let error = model.load(&path).unwrap_err().to_string();
    assert!(
        error.contains("1 not tied: lm_head.weight (is not wte.weight)"),
        "{error}"
    );
}

// ------------------------------------------------------------------------------------ full size

fn layout<M: Module>(model: &M, map: &KeyMap) -> (usize, String) {
    (
        weights::num_params(model),
        weights::digest(&weights::published_keys(model, map)),
    )
}

#[test]
fn parameter_counts_and_keys_are_the_published_ones() {
    let device = Device::flex();
    let mut found = Vec::new();
    let bases = [
        ("bert_base", BertConfig::bert_base()),
        ("bert_large", BertConfig::bert_large()),
        ("minilm_l6", BertConfig::minilm_l6()),
        ("roberta_base", BertConfig::roberta_base()),
        ("distilbert_base", BertConfig::distilbert_base()),
    ];
    for (name, config) in bases {
        let map = config.key_map();
        found.push((name.to_string(), layout(&config.init(&device), map)));
        if name.ends_with("base") {
            let heads = [
                ("masked_lm", layout(&config.init_masked_lm(&device), map)),
                (
                    "sequence",
                    layout(&config.init_sequence_classification(&device), map),
                ),
                (
                    "token",
                    layout(&config.init_token_classification(&device), map),
                ),
                (
                    "span",
                    layout(&config.init_question_answering(&device), map),
                ),
            ];
            found.extend(heads.map(|(head, layout)| (format!("{name}_{head}"), layout)));
        }
    }
    let decoders = [
        ("gpt2", CausalLmConfig::Gpt2(Gpt2Config::gpt2())),
        ("gpt2_medium", CausalLmConfig::Gpt2(Gpt2Config::medium())),
        ("gpt2_large", CausalLmConfig::Gpt2(Gpt2Config::large())),
        ("gpt2_xl", CausalLmConfig::Gpt2(Gpt2Config::xl())),
        (
            "gpt_neo_125m",
            CausalLmConfig::GptNeo(GptNeoConfig::neo_125m()),
        ),
        (
            "gpt_neo_1_3b",
            CausalLmConfig::GptNeo(GptNeoConfig::neo_1_3b()),
        ),
        (
            "gpt_neo_2_7b",
            CausalLmConfig::GptNeo(GptNeoConfig::neo_2_7b()),
        ),
        ("llama_7b", CausalLmConfig::Llama(LlamaConfig::llama_7b())),
        (
            "stories15m",
            CausalLmConfig::Llama(LlamaConfig::stories15m()),
        ),
        (
            "smollm2_135m",
            CausalLmConfig::Llama(LlamaConfig::smollm2_135m()),
        ),
    ];
    for (name, config) in decoders {
        let model = config.init(&device);
        found.push((name.to_string(), layout(&model, model.key_map())));
    }
    let layouts = json("layouts.json");
    assert_eq!(layouts.as_object().unwrap().len(), found.len());
    for (name, (num_params, digest)) in found {
        assert_eq!(layouts[&name]["num_params"], num_params, "{name}");
        assert_eq!(layouts[&name]["digest"], digest, "{name}");
    }
    let published = [
        ("bert_base", 109_482_240),
        ("distilbert_base", 66_362_880),
        ("roberta_base", 124_645_632),
        ("gpt2", 124_439_808),
        ("gpt_neo_125m", 125_198_592),
        ("stories15m", 15_191_712),
        ("smollm2_135m", 134_515_008),
    ];
    for (name, count) in published {
        assert_eq!(layouts[name]["num_params"], count, "{name}");
    }
}
