//! Low-rank adapters (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021), in the
//! files of Hugging Face's `peft`.

use super::{
    KeyMap, RawTensor, SaveDtype,
    layout::{self, Kind, Slot},
    read_tensors, write, write_tensors,
};
use crate::{Error, ModelFolder, Result};
use burn::{
    module::{Lora, Module, ModuleMapper, Param, ParamGroup, ParamId},
    tensor::{Tensor, TensorData},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// What `peft` puts in front of the published keys.
const PREFIX: &str = "base_model.model.";
/// How the factors are called where burn hangs them under a weight.
const FACTORS: [(&str, &str); 2] = [(".lora.a", ".lora_A.weight"), (".lora.b", ".lora_B.weight")];
/// Deviation of the first factor at the start; the second is zero, so that nothing changes yet.
const INIT_STD: f64 = 0.02;

/// Which weights get factors, and which are trained whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the factors.
    pub rank: usize,
    /// The product of the factors is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Linear layers that get factors, by the last parts of their published names (`query`,
    /// `attention.self.value`).
    pub targets: Vec<String>,
    /// Layers that are trained whole, such as a new head, by the first parts of their published
    /// names.
    pub whole: Vec<String>,
}

impl LoraConfig {
    /// Freezes `model` but for the factors that it hangs under the targets' weights, and for the
    /// layers trained whole. A published name is what `map` makes of ours.
    ///
    /// # Errors
    /// A rank of 0, an alpha that is not finite and positive, or a name that no layer has.
    pub fn apply<M: Module>(&self, model: M, map: &KeyMap) -> Result<M> {
        if self.rank == 0 || !(self.alpha.is_finite() && self.alpha > 0.0) {
            let what = format!("rank {}, alpha {}", self.rank, self.alpha);
            return Err(Error::input(
                "lora",
                what,
                "a rank of 1 or more and a positive alpha",
            ));
        }
        let slots = layout::slots(&model, map);
        let mut targets = Vec::new();
        for target in &self.targets {
            let has_name =
                |(slot, key): &(&Slot, String)| is_linear(slot, key, map) && ends_with(key, target);
            targets.extend(ids("lora.targets", target, &slots, map, has_name)?);
        }
        let mut whole = Vec::new();
        for name in &self.whole {
            let has_name =
                |(slot, key): &(&Slot, String)| slot.kind == Kind::Float && starts_with(key, name);
            whole.extend(ids("lora.whole", name, &slots, map, has_name)?);
        }
        let lora = Lora {
            init_std: Some(INIT_STD),
            ..Lora::new(self.rank, self.alpha)
        };
        let model = model.apply_lora(lora.set_param_group(ParamGroup::from_ids(targets)));
        Ok(model.unfreeze_group(ParamGroup::from_ids(whole)))
    }

    /// Writes the factors and the layers trained whole, and nothing else: `adapter_model.safetensors`
    /// and an `adapter_config.json` that names the `base` they belong to. `peft` loads it;
    /// `task_type` is its word for the kind of model (`SEQ_CLS`, `CAUSAL_LM`, …).
    ///
    /// # Errors
    /// Values that are not finite; a file that cannot be written.
    pub fn save<M: Module>(
        &self,
        model: &M,
        folder: &ModelFolder,
        map: &KeyMap,
        base: &str,
        task_type: &str,
    ) -> Result<()> {
        let mut tensors = BTreeMap::new();
        let mut in_out = false;
        for slot in layout::slots_with_values(&model.valid(), map) {
            let factor = FACTORS
                .iter()
                .find_map(|(ours, theirs)| Some((slot.name.strip_suffix(ours)?, theirs)));
            if let Some((weight, suffix)) = factor {
                let key = map.to_published(weight);
                in_out |= map.is_in_out(&key);
                let layer = key.strip_suffix(".weight").unwrap_or(&key);
                // burn multiplies from the other side than peft.
                let values = turned(&published(&slot)?);
                tensors.insert(format!("{PREFIX}{layer}{suffix}"), values);
                continue;
            }
            let key = map.to_published(&slot.name);
            if self.whole.iter().any(|name| starts_with(&key, name)) {
                tensors.insert(format!("{PREFIX}{key}"), published(&slot)?);
            }
        }
        let config = json!({
            "peft_type": "LORA", "task_type": task_type, "base_model_name_or_path": base,
            "r": self.rank, "lora_alpha": self.alpha, "target_modules": self.targets,
            "modules_to_save": self.whole, "fan_in_fan_out": in_out, "bias": "none",
            "lora_dropout": 0.0, "inference_mode": true,
        });
        let path = folder.file(ModelFolder::ADAPTER);
        write_tensors(&path, &tensors, SaveDtype::F32)?;
        folder.write_json(ModelFolder::ADAPTER_CONFIG, &config)
    }
}

/// The base model that the adapter in a folder belongs to; `None` if there is no adapter.
///
/// # Errors
/// An `adapter_config.json` that names none.
pub fn adapter_base(folder: &ModelFolder) -> Result<Option<String>> {
    let config: Option<Value> = folder.read_json(ModelFolder::ADAPTER_CONFIG)?;
    let Some(config) = config else {
        return Ok(None);
    };
    match config["base_model_name_or_path"].as_str() {
        Some(base) => Ok(Some(base.into())),
        None => Err(wrong(
            folder,
            "no base_model_name_or_path",
            "the model that it adapts",
        )),
    }
}

/// Adds the adapter in a folder to the weights of `model`, its base: `W + alpha / r * B A`, and
/// layers trained whole in the place of the base's.
///
/// # Errors
/// A kind of adapter other than plain LoRA; a factor without its partner, of a layer that the model
/// has not, or of another shape. The model is only changed if all fit.
pub fn merge_adapter<M: Module>(model: M, folder: &ModelFolder, map: &KeyMap) -> Result<M> {
    let scale = scale(folder)?;
    let tensors = read_tensors(&folder.file(ModelFolder::ADAPTER))?;
    let slots = layout::slots(&model, map);
    let slot_of: HashMap<String, &Slot> = slots
        .iter()
        .map(|slot| (map.to_published(&slot.name), slot))
        .collect();
    let find = |key: &str| {
        let found = slot_of.get(key).copied();
        found.ok_or_else(|| wrong(folder, &format!("'{key}'"), "layers of its base model"))
    };
    let mut changes = HashMap::new();
    for (key, tensor) in &tensors {
        let bare = key.strip_prefix(PREFIX).unwrap_or(key);
        if let Some(layer) = bare.strip_suffix(".lora_A.weight") {
            let partner = format!("{PREFIX}{layer}.lora_B.weight");
            let slot = find(&format!("{layer}.weight"))?;
            let up = tensors
                .get(&partner)
                .ok_or_else(|| wrong(folder, &format!("no '{partner}'"), "both factors"))?;
            let fits = tensor.shape.len() == 2
                && up.shape.len() == 2
                && tensor.shape[0] == up.shape[1]
                && slot.burn_shape() == [tensor.shape[1], up.shape[0]];
            if !fits {
                let what = format!("'{key}' {:?} and {:?}", tensor.shape, up.shape);
                let expected = format!("factors of {:?}", slot.shape);
                return Err(wrong(folder, &what, &expected));
            }
            changes.insert(slot.id, Change::Add(tensor.clone(), up.clone(), scale));
        } else if !bare.ends_with(".lora_B.weight") {
            let slot = find(bare)?;
            if slot.shape != tensor.shape {
                let what = format!("'{key}' {:?}", tensor.shape);
                return Err(wrong(folder, &what, &format!("{:?}", slot.shape)));
            }
            changes.insert(slot.id, Change::Replace(tensor.clone(), slot.transposed));
        }
    }
    Ok(model.map(&mut Merge(changes)))
}

/// `alpha / r` of a plain LoRA adapter.
fn scale(folder: &ModelFolder) -> Result<f64> {
    let config: Value = folder
        .read_json(ModelFolder::ADAPTER_CONFIG)?
        .unwrap_or_default();
    let is_set = |key: &str| match &config[key] {
        Value::Null | Value::Bool(false) => false,
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let unread = ["use_dora", "use_rslora", "rank_pattern", "alpha_pattern"];
    if let Some(key) = unread.iter().find(|key| is_set(key)) {
        return Err(wrong(folder, key, "plain LoRA of one rank"));
    }
    let (kind, rank) = (&config["peft_type"], config["r"].as_f64().unwrap_or(0.0));
    let alpha = config["lora_alpha"].as_f64().unwrap_or(rank);
    if kind != "LORA" || rank < 1.0 {
        let what = format!("peft_type {kind}, r {}", config["r"]);
        return Err(wrong(folder, &what, "LORA with a rank"));
    }
    Ok(alpha / rank)
}

fn wrong(folder: &ModelFolder, what: &str, expected: &str) -> Error {
    let location = folder.file(ModelFolder::ADAPTER_CONFIG);
    Error::input(location.display().to_string(), what, expected)
}

/// What becomes of a parameter.
enum Change {
    /// The factors A `[r, in]` and B `[out, r]`, and what their product is multiplied by.
    Add(RawTensor, RawTensor, f64),
    /// Other values, and whether the file has them turned.
    Replace(RawTensor, bool),
}

struct Merge(HashMap<ParamId, Change>);

impl ModuleMapper for Merge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(change) = self.0.remove(&param.id) else {
            return param;
        };
        param.map(|weight| {
            let device = weight.device();
            let matrix = |raw: RawTensor| {
                let shape = [raw.shape[0], raw.shape[1]];
                Tensor::<2>::from_data(TensorData::new(raw.data, shape), &device)
            };
            match change {
                Change::Add(down, up, scale) => {
                    let product = matrix(up).matmul(matrix(down)).transpose(); // [in, out]
                    weight.clone() + product.mul_scalar(scale).reshape(weight.dims())
                }
                Change::Replace(raw, true) => matrix(raw).transpose().reshape(weight.dims()),
                Change::Replace(raw, false) => {
                    Tensor::<D>::from_data(TensorData::new(raw.data, weight.dims()), &device)
                }
            }
        })
    }
}

impl Slot {
    /// The shape as burn has it: of a linear layer's weight `[in, out]`.
    fn burn_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.transposed {
            shape.reverse();
        }
        shape
    }
}

/// Parameters with a name, or an error that says what could have been meant.
fn ids(
    setting: &'static str,
    name: &str,
    slots: &[Slot],
    map: &KeyMap,
    has_name: impl Fn(&(&Slot, String)) -> bool,
) -> Result<Vec<ParamId>> {
    let keyed = || {
        slots
            .iter()
            .map(|slot| (slot, map.to_published(&slot.name)))
    };
    let found: Vec<ParamId> = keyed().filter(|k| has_name(k)).map(|k| k.0.id).collect();
    if found.is_empty() {
        let mut known: Vec<String> = keyed()
            .filter(|(slot, key)| is_linear(slot, key, map))
            .filter_map(|(_, key)| {
                Some(key.strip_suffix(".weight")?.rsplit('.').next()?.to_string())
            })
            .collect();
        known.sort();
        known.dedup();
        return Err(Error::unknown(setting, name, known));
    }
    Ok(found)
}

fn is_linear(slot: &Slot, published: &str, map: &KeyMap) -> bool {
    slot.shape.len() == 2 && (slot.transposed || map.is_in_out(published))
}

/// Whether a weight's layer is called `name`, or so in the last parts of its name.
fn ends_with(key: &str, name: &str) -> bool {
    let layer = key.strip_suffix(".weight").unwrap_or(key);
    layer
        .strip_suffix(name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a parameter belongs to what is called `name`.
fn starts_with(key: &str, name: &str) -> bool {
    key.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A slot's values in the published layout.
fn published(slot: &Slot) -> Result<RawTensor> {
    let failed = |message| Error::Internal {
        context: format!("reading '{}'", slot.name),
        message,
    };
    let fetch = slot.fetch.as_ref();
    let fetch = fetch.ok_or_else(|| failed("no values".into()))?;
    let values = write::floats(fetch).map_err(failed)?;
    let shape = slot.shape.clone();
    Ok(RawTensor {
        data: match shape[..] {
            [out, input] if slot.transposed => layout::transpose(&values, input, out),
            _ => values,
        },
        shape,
        integer: false,
    })
}

/// A matrix on its side.
fn turned(matrix: &RawTensor) -> RawTensor {
    let [rows, cols] = [matrix.shape[0], matrix.shape[1]];
    RawTensor {
        shape: vec![cols, rows],
        data: layout::transpose(&matrix.data, rows, cols),
        integer: matrix.integer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{
        nn::{Linear, LinearConfig},
        tensor::Device,
    };

    #[derive(Module, Debug)]
    struct Net {
        body: Linear,
        head: Linear,
    }

    const MAP: KeyMap = KeyMap {
        renames: &[
            ("encoder.query.{}", "body.{}"),
            ("classifier.{}", "head.{}"),
        ],
        ..KeyMap::IDENTITY
    };

    fn net(device: &Device) -> Net {
        Net {
            body: LinearConfig::new(5, 4).init(device),
            head: LinearConfig::new(4, 3).init(device),
        }
    }

    fn run(net: &Net, x: &Tensor<2>) -> Vec<f32> {
        let y = net.head.forward(net.body.forward(x.clone()).tanh());
        y.into_data().try_into_vec_as().unwrap()
    }

    fn lora() -> LoraConfig {
        LoraConfig {
            rank: 2,
            alpha: 6.0,
            targets: vec!["query".into()],
            whole: vec!["classifier".into()],
        }
    }

    /// Gives every factor and the head other values.
    struct Move;

    impl ModuleMapper for Move {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if param.is_require_grad() {
                param.map(|x| x.clone() + x.ones_like() * 0.3 + x * 0.5)
            } else {
                param
            }
        }
    }

    #[test]
    fn merged_equals_unmerged_and_the_file_holds_the_adapter_alone() {
        let device = Device::flex();
        device.seed(5);
        let base = net(&device);
        let x = Tensor::random([7, 5], burn::tensor::Distribution::Default, &device);
        let adapted = lora().apply(base.clone().train(), &MAP).unwrap();
        assert_eq!(run(&adapted.valid(), &x), run(&base, &x));
        let adapted = adapted.map(&mut Move).valid();
        let unmerged = run(&adapted, &x);

        let dir = tempfile::tempdir().unwrap();
        let folder = ModelFolder::create(dir.path()).unwrap();
        lora()
            .save(&adapted, &folder, &MAP, "owner/base", "SEQ_CLS")
            .unwrap();
        let written = read_tensors(&folder.file(ModelFolder::ADAPTER)).unwrap();
        let shapes: Vec<(String, Vec<usize>)> = written
            .into_iter()
            .map(|(key, raw)| (key, raw.shape))
            .collect();
        let expected = [
            ("base_model.model.classifier.bias", vec![3]),
            ("base_model.model.classifier.weight", vec![3, 4]),
            ("base_model.model.encoder.query.lora_A.weight", vec![2, 5]),
            ("base_model.model.encoder.query.lora_B.weight", vec![4, 2]),
        ];
        let expected = expected.map(|(key, shape)| (key.to_string(), shape));
        assert_eq!(shapes, expected);

        assert_eq!(
            adapter_base(&folder).unwrap().as_deref(),
            Some("owner/base")
        );
        let merged = run(&merge_adapter(base.clone(), &folder, &MAP).unwrap(), &x);
        let moved = run(&base, &x);
        for ((a, b), c) in merged.iter().zip(&unmerged).zip(moved) {
            assert!((a - b).abs() < 1e-5 && (a - c).abs() > 1e-2, "{a} {b} {c}");
        }
        let materialized = run(&adapted.materialize(), &x);
        assert!(
            materialized
                .iter()
                .zip(&unmerged)
                .all(|(a, b)| (a - b).abs() < 1e-5)
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let device = Device::flex();
        let refuse = |config: LoraConfig, words: &str| {
            let error = config.apply(net(&device), &MAP).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refuse(LoraConfig { rank: 0, ..lora() }, "rank 0");
        let targets = vec!["qurey".into()];
        refuse(LoraConfig { targets, ..lora() }, "did you mean 'query'");
        let whole = vec!["head".into()];
        refuse(LoraConfig { whole, ..lora() }, "lora.whole");

        let dir = tempfile::tempdir().unwrap();
        let folder = ModelFolder::create(dir.path()).unwrap();
        assert_eq!(adapter_base(&folder).unwrap(), None);
        let adapted = lora().apply(net(&device), &MAP).unwrap();
        lora()
            .save(&adapted, &folder, &MAP, "b", "SEQ_CLS")
            .unwrap();
        let other = KeyMap {
            renames: &[("encoder.key.{}", "body.{}")],
            ..KeyMap::IDENTITY
        };
        let error = merge_adapter(net(&device), &folder, &other).unwrap_err();
        assert!(error.to_string().contains("classifier"), "{error}");
        let mut config: Value = folder
            .read_json(ModelFolder::ADAPTER_CONFIG)
            .unwrap()
            .unwrap();
        config["use_dora"] = json!(true);
        folder
            .write_json(ModelFolder::ADAPTER_CONFIG, &config)
            .unwrap();
        let error = merge_adapter(net(&device), &folder, &MAP).unwrap_err();
        assert!(error.to_string().contains("use_dora"), "{error}");
    }
}
