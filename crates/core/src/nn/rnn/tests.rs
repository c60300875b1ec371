use super::*;
use crate::{host, weights};
use burn::tensor::Distribution;
use std::{collections::BTreeMap, path::Path};
use weights::RawTensor;

fn reference() -> BTreeMap<String, RawTensor> {
    let file = "tests/fixtures/sequence/sequence.safetensors";
    weights::read_tensors(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn tensor<const D: usize>(raw: &RawTensor, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(raw.data.clone(), raw.shape.clone()), device)
}

fn close(what: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let largest = ours.iter().zip(reference);
    let largest = largest.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-5, "{what}: {largest}");
}

/// Calls `with` for each parameter under PyTorch's name.
fn parameters(rnn: &mut Rnn, mut with: impl FnMut(String, &mut RnnWeights)) {
    for (index, layer) in rnn.layers.iter_mut().enumerate() {
        with(format!("l{index}"), &mut layer.forward);
        if let Some(reverse) = &mut layer.reverse {
            with(format!("l{index}_reverse"), reverse);
        }
    }
}

/// Output, last state and every gradient equal PyTorch's packed sequences.
fn equals_torch(name: &str, config: RnnConfig, fused: bool) {
    let device = Device::flex().autodiff();
    let file = reference();
    let get = |key: &str| &file[&format!("{name}.{key}")];
    let mut rnn = config.init(&device);
    parameters(&mut rnn, |suffix, weights| {
        let param = |key: &str| &file[&format!("{name}.{key}_{suffix}")];
        weights.weight_ih = Param::from_tensor(tensor(param("weight_ih"), &device));
        weights.weight_hh = Param::from_tensor(tensor(param("weight_hh"), &device));
        weights.bias_ih = Param::from_tensor(tensor(param("bias_ih"), &device));
        weights.bias_hh = Param::from_tensor(tensor(param("bias_hh"), &device));
    });
    let lengths: Vec<usize> = file["lengths"].data.iter().map(|&v| v as usize).collect();
    let x = tensor::<3>(get("x"), &device).require_grad();
    let y = rnn.run(x.clone(), &lengths, fused);
    let what = |part: &str| format!("{name} {part}, fused {fused}");
    close(&what("output"), &values(y.clone()), &get("output").data);
    let last = rnn.last_hidden(y.clone(), &lengths);
    close(&what("hidden"), &values(last), &get("hidden").data);
    let grads = (y * tensor(get("cotangent"), &device)).sum().backward();
    let grad = host::to_vec(x.grad(&grads).unwrap()).unwrap();
    close(&what("grad x"), &grad, &get("grad.x").data);
    parameters(&mut rnn, |suffix, weights| {
        let pair = |key: &str, ours: Vec<f32>| {
            let key = format!("grad.{key}_{suffix}");
            close(&what(&key), &ours, &get(&key).data);
        };
        let two = |p: &Param<Tensor<2>>| host::to_vec(p.val().grad(&grads).unwrap()).unwrap();
        let one = |p: &Param<Tensor<1>>| host::to_vec(p.val().grad(&grads).unwrap()).unwrap();
        pair("weight_ih", two(&weights.weight_ih));
        pair("weight_hh", two(&weights.weight_hh));
        pair("bias_ih", one(&weights.bias_ih));
        pair("bias_hh", one(&weights.bias_hh));
    });
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    host::to_vec(x.inner()).unwrap()
}

#[test]
fn a_recurrent_layer_equals_torch() {
    for (name, kind) in [("lstm", RnnKind::Lstm), ("gru", RnnKind::Gru)] {
        equals_torch(name, RnnConfig::new(kind, 3, 5), true);
        equals_torch(name, RnnConfig::new(kind, 3, 5), false);
    }
}

#[test]
fn a_bidirectional_stack_equals_torch() {
    for (name, kind) in [("lstm_deep", RnnKind::Lstm), ("gru_deep", RnnKind::Gru)] {
        let config = RnnConfig::new(kind, 3, 5)
            .with_num_layers(2)
            .with_bidirectional(true);
        equals_torch(name, config.clone(), true);
        equals_torch(name, config, false);
    }
}

#[test]
fn padding_changes_nothing() {
    let device = Device::flex();
    device.seed(1);
    let config = RnnConfig::new(RnnKind::Lstm, 4, 6).with_bidirectional(true);
    let rnn = config.init(&device);
    let x: Tensor<3> = Tensor::random([1, 3, 4], Distribution::Normal(0.0, 1.0), &device);
    let alone = rnn.forward(x.clone(), &[3]);
    let noise: Tensor<3> = Tensor::random([1, 5, 4], Distribution::Normal(0.0, 9.0), &device);
    let padded = rnn.forward(Tensor::cat(vec![x, noise], 1), &[3]);
    let padded = values(padded);
    close("padded", &padded[..3 * 12], &values(alone));
    assert!(padded[3 * 12..].iter().all(|&v| v == 0.0));
}

#[test]
fn an_empty_sequence_is_zero() {
    let device = Device::flex();
    let rnn = RnnConfig::new(RnnKind::Lstm, 2, 3).init(&device);
    let y = rnn.forward(Tensor::ones([2, 1, 2], &device), &[0, 1]);
    let y = values(y);
    assert!(y[..3].iter().all(|&v| v == 0.0) && y[3..].iter().all(|&v| v != 0.0));
}
