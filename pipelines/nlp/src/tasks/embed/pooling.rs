//! From the vectors of tokens to one of the text, as sentence-transformers' `Pooling` and `Normalize`.

use burn::tensor::{Bool, Tensor};
use panoply_core::{Error, ModelFolder, Result};
use serde_json::Value;

/// One way to make one vector out of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolingMode {
    /// The first token.
    Cls,
    /// The largest value of each feature.
    Max,
    /// The mean.
    Mean,
    /// The sum, divided by the root of the number of tokens.
    MeanSqrtLen,
}

/// The reference's names, in the order in which it concatenates them.
const MODES: [(&str, &str, PoolingMode); 4] = [
    ("cls", "pooling_mode_cls_token", PoolingMode::Cls),
    ("max", "pooling_mode_max_tokens", PoolingMode::Max),
    ("mean", "pooling_mode_mean_tokens", PoolingMode::Mean),
    (
        "mean_sqrt_len_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        PoolingMode::MeanSqrtLen,
    ),
];

/// What follows the encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooling {
    /// Ways of pooling; the vectors of several are concatenated.
    pub modes: Vec<PoolingMode>,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Longest sequence, special tokens included, where the files limit it.
    pub max_length: Option<usize>,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
}

impl Default for Pooling {
    /// The normalised mean: what a folder without sentence-transformers' files gets.
    fn default() -> Self {
        Self {
            modes: vec![PoolingMode::Mean],
            normalize: true,
            max_length: None,
            lower_case: false,
        }
    }
}

impl Pooling {
    /// Reads `modules.json`, the pooling's `config.json` and `sentence_bert_config.json`.
    ///
    /// # Errors
    /// Modules or ways of pooling that do not exist here.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let limits: Value = folder
            .read_json("sentence_bert_config.json")?
            .unwrap_or_default();
        let mut pooling = Self {
            max_length: limits["max_seq_length"].as_u64().map(|n| n as usize),
            lower_case: limits["do_lower_case"].as_bool().unwrap_or(false),
            ..Self::default()
        };
        let modules: Option<Vec<Value>> = folder.read_json("modules.json")?;
        let Some(modules) = modules else {
            return Ok(pooling);
        };
        pooling.normalize = false;
        for module in &modules {
            let kind = module["type"].as_str().unwrap_or_default();
            match kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Normalize" => pooling.normalize = true,
                "Pooling" => {
                    let path = module["path"].as_str().unwrap_or("1_Pooling");
                    pooling.modes = modes(folder, &format!("{path}/config.json"))?;
                }
                _ => {
                    let file = folder.file("modules.json").display().to_string();
                    let expected = "Transformer, Pooling, Normalize";
                    return Err(Error::input(file, format!("module '{kind}'"), expected));
                }
            }
        }
        Ok(pooling)
    }

    /// One vector a text, not yet normalised.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, seq, hidden_size]`
    /// - `real`: `[batch, seq]`, false at padding
    /// - output: `[batch, modes * hidden_size]`
    pub fn pool(&self, hidden: Tensor<3>, real: Tensor<2, Bool>) -> Tensor<2> {
        let [batch, _, features] = hidden.dims();
        let real = real.unsqueeze_dim::<3>(2); // [batch, seq, 1]
        let weight = real.clone().float();
        let count = weight.clone().sum_dim(1).clamp_min(1e-9);
        let sum = || (hidden.clone() * weight.clone()).sum_dim(1);
        let one = |mode: &PoolingMode| {
            let pooled = match mode {
                PoolingMode::Cls => hidden.clone().narrow(1, 0, 1),
                PoolingMode::Mean => sum() / count.clone(),
                PoolingMode::MeanSqrtLen => sum() / count.clone().sqrt(),
                PoolingMode::Max => {
                    let padding = real.clone().bool_not().expand(hidden.dims());
                    hidden.clone().mask_fill(padding, -1e9).max_dim(1)
                }
            };
            pooled.reshape([batch, features])
        };
        Tensor::cat(self.modes.iter().map(one).collect(), 1)
    }

    /// Vectors of length 1, if so configured: torch's `F.normalize(x, p=2, dim=1)`.
    pub fn finish(&self, pooled: Tensor<2>) -> Tensor<2> {
        if !self.normalize {
            return pooled;
        }
        let length = pooled.clone().powi_scalar(2).sum_dim(1).sqrt();
        pooled / length.clamp_min(1e-12)
    }
}

/// The ways of pooling that a configuration turns on: by flags, or by name as newer versions write it.
fn modes(folder: &ModelFolder, file: &str) -> Result<Vec<PoolingMode>> {
    let path = || folder.file(file).display().to_string();
    let config: Value = folder
        .read_json(file)?
        .ok_or_else(|| Error::input(path(), "no such file", "the pooling's configuration"))?;
    let named = &config["pooling_mode"];
    let on = |name: &str, flag: &str| match named {
        Value::Null => config[flag].as_bool().unwrap_or(false),
        Value::Array(names) => names.iter().any(|n| n == name),
        one => one == name,
    };
    let found: Vec<PoolingMode> = MODES
        .iter()
        .filter(|(name, flag, _)| on(name, flag))
        .map(|(_, _, mode)| *mode)
        .collect();
    let flags = config.as_object().into_iter().flatten();
    let num_flags = flags
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == true)
        .count();
    if found.is_empty() || num_flags > found.len() {
        let known = MODES.map(|(name, _, _)| name).join(", ");
        return Err(Error::input(path(), "an unknown way of pooling", known));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use std::{fs, path::Path};

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, ModelFolder) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
            fs::write(path, content).unwrap();
        }
        let folder = ModelFolder::open(dir.path()).unwrap();
        (dir, folder)
    }

    const MODULES: &str = r#"[{"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]"#;

    #[test]
    fn files_say_how_to_pool() {
        let read = |files: &[(&str, &str)]| Pooling::read(&folder(files).1);
        assert_eq!(read(&[]).unwrap(), Pooling::default());
        let flags = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        let limits = r#"{"max_seq_length": 256, "do_lower_case": false}"#;
        let found = read(&[
            ("modules.json", MODULES),
            ("1_Pooling/config.json", flags),
            ("sentence_bert_config.json", limits),
        ]);
        let expected = Pooling {
            modes: vec![PoolingMode::Cls],
            normalize: false,
            max_length: Some(256),
            lower_case: false,
        };
        assert_eq!(found.unwrap(), expected);
        let named = r#"{"pooling_mode": ["mean", "max"]}"#;
        let found = read(&[("modules.json", MODULES), ("1_Pooling/config.json", named)]).unwrap();
        assert_eq!(found.modes, [PoolingMode::Max, PoolingMode::Mean]);
    }

    #[test]
    fn what_is_not_implemented_is_refused() {
        let refuse = |files: &[(&str, &str)]| {
            let error = Pooling::read(&folder(files).1).unwrap_err();
            error.to_string()
        };
        let weighted = r#"{"pooling_mode_mean_tokens": true, "pooling_mode_lasttoken": true}"#;
        let files = [
            ("modules.json", MODULES),
            ("1_Pooling/config.json", weighted),
        ];
        assert!(refuse(&files).contains("unknown way of pooling"));
        assert!(refuse(&files[..1]).contains("no such file"));
        let dense = r#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#;
        assert!(refuse(&[("modules.json", dense)]).contains("Dense"));
    }

    #[test]
    fn padding_takes_no_part() {
        let device = Device::flex();
        let hidden = Tensor::<3>::from_data([[[1.0, -4.0], [3.0, -2.0], [100.0, 100.0]]], &device);
        let real = Tensor::<2, Bool>::from_data([[true, true, false]], &device);
        let pooling = Pooling {
            modes: MODES.map(|(_, _, mode)| mode).to_vec(),
            ..Pooling::default()
        };
        let pooled = pooling.pool(hidden, real).into_data();
        let root = 2f32.sqrt();
        let expected = [[1.0, -4.0, 3.0, -2.0, 2.0, -3.0, 4.0 / root, -6.0 / root]];
        let tolerance = burn::tensor::Tolerance::<f32>::absolute(1e-6);
        pooled.assert_approx_eq(&burn::tensor::TensorData::from(expected), tolerance);
        let unit = Pooling::default().finish(Tensor::from_data([[3.0, 4.0], [0.0, 0.0]], &device));
        let expected = burn::tensor::TensorData::from([[0.6f32, 0.8], [0.0, 0.0]]);
        unit.into_data().assert_approx_eq(&expected, tolerance);
    }
}
