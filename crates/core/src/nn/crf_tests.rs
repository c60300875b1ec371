use super::*;
use crate::{seed::derive, weights};
use std::path::Path;

/// Values between -2 and 2.
fn draw(count: usize, seed: u64) -> Vec<f32> {
    let unit = |i| derive(&[seed, i as u64]) as f64 / u64::MAX as f64;
    (0..count).map(|i| (4.0 * unit(i) - 2.0) as f32).collect()
}

fn scores(tags: usize, seed: u64) -> CrfScores {
    CrfScores {
        start: draw(tags, derive(&[seed, 1])),
        end: draw(tags, derive(&[seed, 2])),
        transitions: draw(tags * tags, derive(&[seed, 3])),
    }
}

/// Every path of `seq` steps.
fn paths(tags: usize, seq: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..tags.pow(seq as u32))
        .map(move |n| (0..seq).map(|t| n / tags.pow(t as u32) % tags).collect())
}

#[test]
fn equals_enumeration_on_every_small_case() {
    for case in 0..60_u64 {
        let (tags, seq) = (1 + case as usize % 4, 1 + case as usize / 4 % 5);
        let crf = scores(tags, case);
        let emissions = draw(seq * tags, derive(&[case, 4]));
        let all: Vec<(Vec<usize>, f64)> = paths(tags, seq)
            .map(|path| {
                let score = crf.score(&emissions, &path);
                (path, score)
            })
            .collect();
        let z: f64 = all.iter().map(|(_, score)| score.exp()).sum();
        assert!(
            (crf.log_partition(&emissions) - z.ln()).abs() < 1e-9,
            "case {case}"
        );
        let best = all.iter().map(|(_, score)| *score).fold(f64::MIN, f64::max);
        let found = crf.viterbi(&emissions);
        assert!(
            (crf.score(&emissions, &found) - best).abs() < 1e-9,
            "case {case}"
        );
        let marginals = crf.marginals(&emissions);
        for (at, marginal) in marginals.iter().enumerate() {
            let through = all.iter().filter(|(path, _)| path[at / tags] == at % tags);
            let expected = through.map(|(_, score)| score.exp()).sum::<f64>() / z;
            assert!(
                (f64::from(*marginal) - expected).abs() < 1e-6,
                "case {case}"
            );
        }
    }
}

#[test]
fn what_is_forbidden_is_never_chosen() {
    let mut crf = scores(2, 5);
    crf.start[1] = f32::NEG_INFINITY;
    crf.transitions[1] = f32::NEG_INFINITY;
    let emissions = [0.0, 50.0, 0.0, 50.0, 0.0, 50.0];
    assert_eq!(crf.viterbi(&emissions), [0, 0, 0]);
    assert!((crf.log_partition(&emissions) - crf.score(&emissions, &[0, 0, 0])).abs() < 1e-9);
}

#[test]
fn nothing_has_one_path() {
    let crf = scores(3, 1);
    assert!(crf.viterbi(&[]).is_empty() && crf.marginals(&[]).is_empty());
    assert_eq!((crf.score(&[], &[]), crf.log_partition(&[])), (0.0, 0.0));
}

/// Loss, gradients and best paths of pytorch-crf 0.7.2.
#[test]
fn equals_pytorch_crf() {
    let file = "tests/fixtures/sequence/sequence.safetensors";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let file = weights::read_tensors(&path).unwrap();
    let device = Device::flex().autodiff();
    let get = |key: &str| &file[&format!("crf.{key}")];
    fn tensor<const D: usize>(raw: &weights::RawTensor, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(raw.data.clone(), raw.shape.clone()), device)
    }
    let mut crf = CrfConfig::new(4).init(&device);
    crf.start_transitions = Param::from_tensor(tensor(get("start_transitions"), &device));
    crf.end_transitions = Param::from_tensor(tensor(get("end_transitions"), &device));
    crf.transitions = Param::from_tensor(tensor(get("transitions"), &device));
    let lengths = file["lengths"].data.iter().map(|&v| v as usize);
    let rows = |key: &str| -> Vec<Vec<usize>> {
        let rows = get(key).data.chunks(6).zip(lengths.clone());
        rows.map(|(row, n)| row[..n].iter().map(|&v| v as usize).collect())
            .collect()
    };
    let x = tensor::<3>(get("x"), &device).require_grad();
    let loss = crf.neg_log_likelihood(x.clone(), &rows("tags")).unwrap();
    let value = loss.clone().into_scalar::<f32>();
    assert!((value - get("loss").data[0]).abs() < 1e-5, "{value}");
    // As in training, where the mean is taken.
    let grads = loss.mul_scalar(0.5).backward();
    let close = |key: &str, ours: Vec<f32>| {
        for (ours, reference) in ours.iter().zip(&get(&format!("grad.{key}")).data) {
            assert!((2.0 * ours - reference).abs() < 1e-5, "{key}: {ours}");
        }
    };
    close("x", host::to_vec(x.grad(&grads).unwrap()).unwrap());
    let vector = |p: &Param<Tensor<1>>| host::to_vec(p.val().grad(&grads).unwrap()).unwrap();
    close("start_transitions", vector(&crf.start_transitions));
    close("end_transitions", vector(&crf.end_transitions));
    let grad = crf.transitions.val().grad(&grads).unwrap();
    close("transitions", host::to_vec(grad).unwrap());
    let scores = crf.scores().unwrap();
    for ((row, path), n) in get("x").data.chunks(24).zip(rows("paths")).zip(lengths) {
        assert_eq!(scores.viterbi(&row[..4 * n]), path);
    }
}
