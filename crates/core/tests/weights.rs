//! Weights against PyTorch's own files (`fixtures/weights/reference.py` made them).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use burn::{
    module::Module,
    nn::{
        BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Distribution, Tensor, activation},
};
use panoply_core::{
    Error,
    weights::{
        KeyMap, LoadOptions, RawTensor, SaveDtype, digest, load, load_bytes, load_with, num_params,
        published_keys, read_tensors, save, write_tensors,
    },
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("layer1.{}.conv.weight", "stages.0.{}.conv.weight"),
        ("layer1.{}.bn.**", "stages.0.{}.norm.**"),
        ("stem.bn.**", "stem.norm.**"),
        ("classifier.1.{}", "head.{}"),
    ],
    dropped: &["**.num_batches_tracked"],
    ..KeyMap::IDENTITY
};

#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Block {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new([inputs, outputs], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false);
        Self {
            conv: conv.init(device),
            norm: BatchNormConfig::new(outputs).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        activation::relu(self.norm.forward(self.conv.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Tiny {
    stem: Block,
    stages: Vec<Vec<Block>>,
    norm: LayerNorm,
    hidden: Linear,
    head: Linear,
}

impl Tiny {
    fn with_classes(classes: usize, device: &Device) -> Self {
        Self {
            stem: Block::new(3, 4, device),
            stages: vec![vec![Block::new(4, 6, device), Block::new(6, 6, device)]],
            norm: LayerNormConfig::new(6).init(device),
            hidden: LinearConfig::new(6, 6).init(device),
            head: LinearConfig::new(6, classes).init(device),
        }
    }

    fn new() -> Self {
        Self::with_classes(5, &Device::flex())
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self
            .stages
            .iter()
            .flatten()
            .fold(self.stem.forward(x), |x, block| block.forward(x));
        let x = x.mean_dims(&[2, 3]).flatten::<2>(1, 3);
        self.head
            .forward(activation::tanh(self.hidden.forward(self.norm.forward(x))))
    }

    fn values(&self, device: &Device) -> Vec<f32> {
        let x = read_tensors(&fixture("golden.safetensors")).unwrap()["input"]
            .data
            .clone();
        let x = Tensor::<1>::from_floats(&x[..], device).reshape([2, 3, 5, 5]);
        self.forward(x)
            .into_data()
            .try_into_vec_as::<f32>()
            .unwrap()
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/weights")
        .join(name)
}

fn golden() -> Vec<f32> {
    read_tensors(&fixture("golden.safetensors")).unwrap()["output"]
        .data
        .clone()
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Loading `path` must fail, name the file and `parts`, and leave the model as it was.
#[track_caller]
fn refused(path: &Path, parts: &[&str]) -> Error {
    let mut model = Tiny::new();
    load(&mut model, &fixture("f32.safetensors"), &KEY_MAP).unwrap();
    let error = load(&mut model, path, &KEY_MAP).unwrap_err();
    let text = error.to_string();
    for part in parts
        .iter()
        .copied()
        .chain([path.file_name().unwrap().to_str().unwrap()])
    {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
    assert!(!matches!(error, Error::Internal { .. }), "{text}");
    assert!(!text.contains('\n'), "{text}");
    assert_eq!(
        max_difference(&model.values(&Device::flex()), &golden()).max(1e-6),
        1e-6,
        "{text}"
    );
    error
}

#[test]
fn every_format_gives_pytorchs_outputs() {
    let cases = [
        ("f32.safetensors", 1e-6, ""),
        ("f64.safetensors", 1e-6, ""),
        ("sharded.safetensors.index.json", 1e-6, ""),
        ("plain.pt", 1e-6, ""),
        ("legacy.pt", 1e-6, ""),
        ("views.pt", 1e-6, ""),
        ("nested.pth", 1e-6, "module."),
        // The weights themselves are rounded in these two.
        ("f16.safetensors", 2e-3, ""),
        ("bf16.bin", 2e-2, ""),
    ];
    for (name, tolerance, prefix) in cases {
        let mut model = Tiny::new();
        let report = load(&mut model, &fixture(name), &KEY_MAP).unwrap();
        let difference = max_difference(&model.values(&Device::flex()), &golden());
        println!("{name}: max difference {difference:e}");
        assert!(difference <= tolerance, "{name}: {difference:e}");
        assert_eq!((report.loaded, report.dropped), (21, 3), "{name}");
        assert_eq!(report.prefix, prefix, "{name}");
    }
}

#[test]
fn keys_shapes_digest_and_count_equal_pytorchs() {
    let facts: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture("golden.json")).unwrap()).unwrap();
    let model = Tiny::new();
    let keys = published_keys(&model, &KEY_MAP);
    let expected: Vec<(String, Vec<usize>)> =
        serde_json::from_value(facts["keys"].clone()).unwrap();
    assert_eq!(keys, expected);
    assert_eq!(digest(&keys), facts["digest"]);
    assert_eq!(num_params(&model), facts["num_params"]);
    // Counting initialises nothing and freezing changes nothing.
    assert_eq!(num_params(&model.freeze()), facts["num_params"]);
}

#[test]
fn saving_f32_gives_the_published_file_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/model.safetensors");
    let mut model = Tiny::new();
    load(&mut model, &fixture("f32.safetensors"), &KEY_MAP).unwrap();
    save(&model, &path, &KEY_MAP, SaveDtype::F32).unwrap();
    let mut ours = read_tensors(&path).unwrap();
    let mut theirs = read_tensors(&fixture("f32.safetensors")).unwrap();
    // The counter is written as zero; nothing reads it.
    let count = |tensors: &mut BTreeMap<String, RawTensor>| {
        let counters: Vec<_> = tensors.values_mut().filter(|t| t.integer).collect();
        let shapes: Vec<_> = counters.iter().map(|t| t.shape.clone()).collect();
        for t in counters {
            t.data = vec![0.0];
        }
        shapes
    };
    assert_eq!(count(&mut ours), count(&mut theirs));
    assert_eq!(ours, theirs);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    // Written over an existing file, the same bytes.
    let bytes = fs::read(&path).unwrap();
    save(&model, &path, &KEY_MAP, SaveDtype::F32).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(String::from_utf8_lossy(&bytes[..200]).contains(r#""__metadata__":{"format":"pt"}"#));
}

#[test]
fn half_precision_round_trips() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let mut model = Tiny::new();
    load(&mut model, &fixture("f32.safetensors"), &KEY_MAP).unwrap();
    for (dtype, relative) in [
        (SaveDtype::F16, 1.0 / 2048.0),
        (SaveDtype::BF16, 1.0 / 256.0),
    ] {
        save(&model, &path, &KEY_MAP, dtype).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 3600);
        let (exact, rounded) = (
            read_tensors(&fixture("f32.safetensors")).unwrap(),
            read_tensors(&path).unwrap(),
        );
        for (key, exact) in exact.iter().filter(|(_, t)| !t.integer) {
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= a.abs() * relative + 1e-7;
            assert!(
                exact.data.iter().zip(&rounded[key].data).all(close),
                "{dtype:?} {key}"
            );
        }
        // What is representable survives another trip unchanged.
        let mut again = Tiny::new();
        load_bytes(&mut again, &fs::read(&path).unwrap(), "bundled", &KEY_MAP).unwrap();
        let second = dir.path().join("second.safetensors");
        save(&again, &second, &KEY_MAP, dtype).unwrap();
        assert_eq!(fs::read(&second).unwrap(), fs::read(&path).unwrap());
    }
}

#[test]
fn f16_equals_pytorchs_rounding() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write_tensors(
        &path,
        &read_tensors(&fixture("f32.safetensors")).unwrap(),
        SaveDtype::F16,
    )
    .unwrap();
    assert_eq!(
        read_tensors(&path).unwrap(),
        read_tensors(&fixture("f16.safetensors")).unwrap()
    );
}

#[test]
fn a_trained_model_saves_its_last_statistics_and_loading_replaces_them() {
    let device = Device::flex().autodiff();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let mut model = Tiny::with_classes(5, &device);
    load(&mut model, &fixture("f32.safetensors"), &KEY_MAP).unwrap();
    let x = Tensor::random([4, 3, 5, 5], Distribution::Normal(0.5, 1.0), &device);
    // Two steps: burn keeps the last update of the statistics pending.
    let trained = model.clone().train();
    let _ = trained.forward(x.clone());
    let _ = trained.forward(x);
    save(&trained, &path, &KEY_MAP, SaveDtype::F32).unwrap();
    let mean = |t: &BTreeMap<String, RawTensor>| t["stem.bn.running_mean"].data.clone();
    let settled = trained
        .valid()
        .stem
        .norm
        .running_mean
        .value()
        .into_data()
        .try_into_vec_as::<f32>()
        .unwrap();
    assert_eq!(mean(&read_tensors(&path).unwrap()), settled);
    let published = read_tensors(&fixture("f32.safetensors")).unwrap();
    assert!(max_difference(&settled, &mean(&published)) > 1e-3);

    let mut trained = trained;
    let _ = trained.forward(Tensor::random(
        [4, 3, 5, 5],
        Distribution::Normal(0.5, 1.0),
        &device,
    ));
    load(&mut trained, &fixture("f32.safetensors"), &KEY_MAP).unwrap();
    let valid = trained.valid();
    assert!(max_difference(&valid.values(&Device::flex()), &golden()) <= 1e-6);
}

#[test]
fn a_new_head_is_allowed_on_request() {
    let device = Device::flex();
    let mut model = Tiny::with_classes(7, &device);
    let error = load(&mut model, &fixture("f32.safetensors"), &KEY_MAP)
        .unwrap_err()
        .to_string();
    assert!(error.contains("2 mis-shaped: classifier.1.bias (expected [7], found [5]), classifier.1.weight (expected [7, 6], found [5, 6])"), "{error}");
    let options = LoadOptions {
        allow_missing: &["classifier.**"],
        allow_unexpected: &[],
    };
    let report = load_with(&mut model, &fixture("plain.pt"), &KEY_MAP, options).unwrap();
    assert_eq!(
        (report.loaded, report.misshaped.len(), report.missing.len()),
        (19, 2, 0)
    );

    // A file without a head, and with keys that we do not have.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backbone.safetensors");
    let mut tensors = read_tensors(&fixture("f32.safetensors")).unwrap();
    tensors.retain(|key, _| !key.starts_with("classifier"));
    tensors.insert(
        "aux.weight".into(),
        RawTensor {
            shape: vec![1],
            data: vec![1.0],
            integer: false,
        },
    );
    write_tensors(&path, &tensors, SaveDtype::F32).unwrap();
    let options = LoadOptions {
        allow_missing: &["classifier.**"],
        allow_unexpected: &["aux.{}"],
    };
    let report = load_with(&mut model, &path, &KEY_MAP, options).unwrap();
    assert_eq!(
        report.missing,
        ["classifier.1.bias [7]", "classifier.1.weight [7, 6]"]
    );
    assert_eq!(report.unexpected, ["aux.weight"]);
    let strict = load(&mut model, &path, &KEY_MAP).unwrap_err().to_string();
    assert!(
        strict.contains("2 missing: classifier.1.bias [7]"),
        "{strict}"
    );
    assert!(strict.contains("1 unexpected: aux.weight"), "{strict}");
}

#[test]
fn what_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let published = read_tensors(&fixture("f32.safetensors")).unwrap();
    let with = |name: &str, edit: &dyn Fn(&mut BTreeMap<String, RawTensor>)| {
        let mut tensors = published.clone();
        edit(&mut tensors);
        let path = dir.path().join(name);
        write_tensors(&path, &tensors, SaveDtype::F32).unwrap();
        path
    };
    let bias = |n: usize| RawTensor {
        shape: vec![n],
        data: vec![0.0; n],
        integer: false,
    };
    refused(
        &with("missing.safetensors", &|t| {
            _ = t.remove("layer1.1.bn.weight");
        }),
        &["1 missing: layer1.1.bn.weight [6]"],
    );
    refused(
        &with("extra.safetensors", &|t| {
            _ = t.insert("stem.conv.bias".into(), bias(4));
        }),
        &["1 unexpected: stem.conv.bias"],
    );
    refused(
        &with("shape.safetensors", &|t| {
            _ = t.insert("hidden.bias".into(), bias(7));
        }),
        &["1 mis-shaped: hidden.bias (expected [6], found [7])"],
    );
    refused(
        &with("kind.safetensors", &|t| {
            t.get_mut("hidden.bias").unwrap().integer = true;
        }),
        &["hidden.bias (expected Float values, found I64)"],
    );
    // Our own name of a key that the table renames leads to the same tensor.
    refused(
        &with("twice.safetensors", &|t| {
            _ = t.insert("head.bias".into(), bias(5));
        }),
        &["1 doubly given: head.bias"],
    );
    let many = with("many.safetensors", &|t| {
        t.extend((0..30).map(|i| (format!("x.{i}"), bias(1))));
    });
    refused(&many, &["30 unexpected: x.0, x.1, ", ", and 20 more"]);

    let mut nan = fs::read(fixture("f32.safetensors")).unwrap();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let path = dir.path().join("nan.safetensors");
    fs::write(&path, nan).unwrap();
    refused(&path, &["1 not finite: ", "(holds NaN)"]);
}

#[test]
fn damaged_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(fixture("f32.safetensors")).unwrap();
    refused(
        &write("cut.safetensors", &whole[..whole.len() - 100]),
        &["bytes of tensors where the header announces"],
    );
    refused(&write("header.safetensors", &whole[..100]), &["unreadable"]);
    refused(&write("empty.safetensors", b""), &["0 bytes"]);
    refused(&write("garbage.safetensors", &[0xA5; 300]), &["unreadable"]);
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&(u64::MAX - 3).to_le_bytes());
    refused(
        &write("huge.safetensors", &huge),
        &["header of 18446744073709551612 bytes"],
    );
    refused(&write("empty.pt", b""), &["unreadable"]);
    refused(&write("text.txt", b"hello"), &["neither safetensors nor"]);
    for name in ["plain.pt", "legacy.pt"] {
        let whole = fs::read(fixture(name)).unwrap();
        for part in [2, 3, 5] {
            refused(
                &write("cut.pt", &whole[..whole.len() * (part - 1) / part]),
                &["unreadable"],
            );
        }
        let mut garbage = whole.clone();
        garbage[200..]
            .iter_mut()
            .enumerate()
            .for_each(|(i, b)| *b = (i * 7) as u8);
        refused(&write("garbage.pth", &garbage), &[]);
    }
    // The payload would run a command in Python; here the key is simply not a tensor.
    refused(&fixture("evil.pt"), &["1 missing: classifier.1.bias [5]"]);
    assert!(!Path::new("panoply-was-here").exists());
    let nowhere = dir.path().join("nowhere.safetensors");
    assert!(matches!(
        refused(&nowhere, &["cannot read"]),
        Error::Io { .. }
    ));
    let folder = dir.path().join("folder.safetensors");
    fs::create_dir(&folder).unwrap();
    refused(&folder, &["is a folder"]);
}

#[test]
fn every_truncation_and_flip_of_a_header_is_an_error_or_a_whole_load() {
    let whole = fs::read(fixture("f32.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut model = Tiny::new();
    let mut refused = 0;
    for at in (0..header).step_by(3) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x15;
        refused += usize::from(load_bytes(&mut model, &flipped, "flipped", &KEY_MAP).is_err());
        assert!(load_bytes(&mut model, &whole[..at], "cut", &KEY_MAP).is_err());
    }
    assert!(refused * 10 > header / 3 * 8, "{refused} of {}", header / 3);
}

#[test]
fn shards_stay_in_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        let path = dir.path().join("model.safetensors.index.json");
        fs::write(&path, text).unwrap();
        path
    };
    let index = |shard: &str| write(&format!(r#"{{"weight_map": {{"a": {shard:?}}}}}"#));
    for outside in [
        "../f32.safetensors",
        "/etc/passwd",
        "..",
        "x/y.safetensors",
        "x\\y.safetensors",
        "",
        "model.safetensors.index.json",
    ] {
        refused(&index(outside), &["leaves the folder"]);
    }
    refused(
        &index("gone.safetensors"),
        &["the shard gone.safetensors is missing"],
    );
    fs::copy(
        fixture("sharded-a.safetensors"),
        dir.path().join("s.safetensors"),
    )
    .unwrap();
    refused(
        &index("s.safetensors"),
        &["'a' is not in its shard s.safetensors"],
    );
    refused(&write("{"), &["weight_map"]);
    fs::copy(
        fixture("sharded-a.safetensors"),
        dir.path().join("t.safetensors"),
    )
    .unwrap();
    refused(
        &write(r#"{"weight_map": {"a": "s.safetensors", "b": "t.safetensors"}}"#),
        &["is in two shards"],
    );
}

#[test]
fn saving_refuses_what_the_file_cannot_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.safetensors");
    fs::write(&path, "before").unwrap();
    let one = |v: f32| {
        BTreeMap::from([(
            "a.weight".to_string(),
            RawTensor {
                shape: vec![1],
                data: vec![v],
                integer: false,
            },
        )])
    };
    let fails = |v: f32, dtype: SaveDtype, part: &str| {
        let error = write_tensors(&path, &one(v), dtype)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("'a.weight'") && error.contains(part),
            "{error}"
        );
    };
    fails(1e5, SaveDtype::F16, "does not fit F16");
    fails(f32::NAN, SaveDtype::F32, "holds NaN");
    fails(f32::INFINITY, SaveDtype::BF16, "holds inf");
    let wrong = BTreeMap::from([(
        "a.weight".to_string(),
        RawTensor {
            shape: vec![2],
            data: vec![1.0],
            integer: false,
        },
    )]);
    assert!(write_tensors(&path, &wrong, SaveDtype::F32).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    write_tensors(&path, &one(1e5), SaveDtype::BF16).unwrap();

    // A table that does not lead back would write a file that cannot be loaded.
    let lossy = KeyMap {
        renames: &[("same", "hidden.bias"), ("same", "hidden.weight")],
        ..KeyMap::IDENTITY
    };
    let error = save(&Tiny::new(), &path, &lossy, SaveDtype::F32)
        .unwrap_err()
        .to_string();
    assert!(error.contains("'hidden.weight' becomes 'same'"), "{error}");
}

#[test]
fn a_model_on_an_autodiff_device_keeps_training_after_loading() {
    let device = Device::flex().autodiff();
    let mut model = Tiny::with_classes(5, &device);
    model.stem = model.stem.freeze();
    load(&mut model, &fixture("f32.safetensors"), &KEY_MAP).unwrap();
    let x = Tensor::random([4, 3, 5, 5], Distribution::Default, &device);
    let gradients = model.forward(x).sum().backward();
    assert!(model.hidden.weight.grad(&gradients).is_some());
    assert!(model.stem.conv.weight.grad(&gradients).is_none());
}
