//! The bundled model on the bundled photos, from raw bytes to logits, beside timm's
//! `tf_efficientnet_lite0` with the same f16 weights. `real_weights.py --write` made the reference.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{Input, PredictOptions, RunContext, Task};
use panoply_vision::tasks::classify::{BUNDLED, Classify};
use safetensors::SafeTensors;

const REFERENCE: &[u8] = include_bytes!("fixtures/photos/lite0-f16-logits.safetensors");

fn reference(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = tensors.tensor(name).unwrap().data().to_vec();
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

fn best_five(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order.truncate(5);
    order
}

#[test]
fn logits_equal_timm_from_the_raw_picture() {
    let expected = SafeTensors::deserialize(REFERENCE).unwrap();
    let mut session = Classify.open(BUNDLED, &RunContext::cpu()).unwrap();
    let inputs = Classify.examples();
    assert_eq!(
        inputs.len(),
        expected.len(),
        "every bundled photo has a reference"
    );
    let options = PredictOptions {
        raw: true,
        ..PredictOptions::default()
    };
    for (input, answer) in inputs.iter().zip(session.predict(&inputs, &options)) {
        let output = answer.unwrap();
        let ours: Vec<f32> = serde_json::from_value(output.raw.unwrap()["logits"].clone()).unwrap();
        let theirs = reference(&expected, &input.name);
        let worst = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0_f32, f32::max);
        assert!(worst <= 1e-2, "{}: max |delta| {worst}", input.name);
        assert_eq!(best_five(&ours), best_five(&theirs), "{}", input.name);
    }
}

#[test]
fn a_bad_input_spoils_no_other() {
    let mut session = Classify.open(BUNDLED, &RunContext::cpu()).unwrap();
    let mut inputs: Vec<Input> = Classify.examples();
    inputs.insert(1, Input::bytes("broken.jpg", b"not a picture".to_vec()));
    let answers = session.predict(&inputs, &PredictOptions::default());
    assert_eq!(answers.len(), inputs.len());
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_err(), at == 1, "{at}");
    }
    let message = answers[1].as_ref().err().unwrap().to_string();
    assert!(message.contains("broken.jpg"), "{message}");
}
