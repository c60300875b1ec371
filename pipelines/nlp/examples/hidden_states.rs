//! Hidden states of an encoder of the BERT family, for comparison with another implementation.
//!
//! `hidden_states FOLDER INPUTS OUTPUTS`: FOLDER as downloaded from the Hub; INPUTS a safetensors
//! file with `input_ids`, `attention_mask` and `token_type_ids`, `[batch, seq]`; OUTPUTS gets the
//! output of the embeddings and of each layer. `tests/real_weights.py` calls it.

use burn::tensor::{Device, Int, Tensor, TensorData};
use panoply_core::{
    Error, Result,
    model_folder::ModelFolder,
    weights::{self, RawTensor, SaveDtype},
};
use panoply_nlp::models::bert::{BertConfig, EncoderInput};
use std::{collections::BTreeMap, path::Path};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, inputs, outputs] = args.as_slice() else {
        let found = format!("{} arguments", args.len());
        return Err(Error::input("command line", found, "FOLDER INPUTS OUTPUTS"));
    };
    let device = Device::flex();
    let folder = ModelFolder::open(Path::new(folder))?;
    let config = BertConfig::from_hf(&folder.config()?)?;
    let mut model = config.init(&device);
    weights::load(&mut model, &folder.weights()?, config.key_map())?;

    let inputs = weights::read_tensors(Path::new(inputs))?;
    let read = |name: &str| -> Result<Tensor<2, Int>> {
        let Some(x) = inputs.get(name).filter(|x| x.shape.len() == 2) else {
            return Err(Error::input("INPUTS", format!("no {name}"), "[batch, seq]"));
        };
        let values: Vec<i64> = x.data.iter().map(|&v| v as i64).collect();
        let data = TensorData::new(values, x.shape.clone());
        Ok(Tensor::from_data(data, &device))
    };
    let input = EncoderInput::new(read("input_ids")?)
        .mask(read("attention_mask")?.equal_elem(1))
        .token_types(read("token_type_ids")?);
    let mut seen: Vec<(String, Tensor<3>)> = Vec::new();
    model.walk(&input, &mut |name, x| {
        seen.push((name.to_string(), x.clone()));
    });
    let raw = |(name, x): (String, Tensor<3>)| {
        let shape = x.dims().to_vec();
        let data = x.try_to_vec_as::<f32>().map_err(|e| Error::Internal {
            context: name.clone(),
            message: e.to_string(),
        })?;
        let integer = false;
        Ok((
            name,
            RawTensor {
                shape,
                data,
                integer,
            },
        ))
    };
    let tensors: BTreeMap<String, RawTensor> = seen.into_iter().map(raw).collect::<Result<_>>()?;
    weights::write_tensors(Path::new(outputs), &tensors, SaveDtype::F32)
}
