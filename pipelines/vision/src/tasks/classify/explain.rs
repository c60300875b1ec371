//! Why did the classifier answer so? Heat maps over the photo.

use super::{Classifier, draw, stem};
use crate::models::ConvNet;
use burn::tensor::Tensor;
use panoply_core::{
    Error, ExplainRequest, Output, Predictor, Result, RunContext,
    explain::{self, IntegratedGradientsOptions, OcclusionOptions},
    host::to_vec,
};
use panoply_datasets::image::decode;
use serde_json::json;

/// Methods, in the order of `info`.
pub(super) const METHODS: &[&str] = &["grad-cam", "integrated-gradients", "occlusion"];

pub(super) fn explain(request: &ExplainRequest, context: &RunContext) -> Result<Output> {
    let model = request.model.as_deref().unwrap_or(super::BUNDLED);
    let classifier = Classifier::open(model, context)?;
    let photo = decode(request.input.as_bytes()?, &request.input.name)?;
    let prediction = classifier.predict(std::slice::from_ref(&photo))?.remove(0);
    let target = request.target.unwrap_or(prediction.labels[0].index);
    if target >= prediction.logits.len() {
        let what = format!("class {target} of {}", prediction.logits.len());
        return Err(Error::input(
            "--target",
            what,
            format!("0 to {}", prediction.logits.len() - 1),
        ));
    }
    let input = classifier.preprocess(std::slice::from_ref(&photo))?;
    let (heat, note) = attribute(&classifier, &request.method, input, target)?;
    let shown = classifier.preprocessing.view(&photo);
    let [height, width] = heat.dims();
    let name = format!("{}.{}", stem(&request.input.name), request.method);
    let artefact = draw::heat_map(&shown, &to_vec(heat)?, (width as u32, height as u32), &name)?;
    let label = classifier.label(target);
    let table = vec![
        vec![
            String::new(),
            "method".into(),
            "class".into(),
            "note".into(),
        ],
        vec![
            String::new(),
            request.method.clone(),
            label.clone(),
            note.clone(),
        ],
    ];
    let json = json!({
        "method": request.method, "index": target, "label": label, "note": note, "picture": artefact.file_name,
    });
    Ok(Output {
        json,
        table,
        artefacts: vec![artefact],
        ..Output::default()
    })
}

/// A heat map `[height, width]` in `[0, 1]` over the model's input, and what to know about it.
fn attribute(
    classifier: &Classifier,
    method: &str,
    input: Tensor<4>,
    target: usize,
) -> Result<(Tensor<2>, String)> {
    let backbone = &classifier.backbone;
    let [_, _, height, width] = input.dims();
    match method {
        "grad-cam" => {
            let map = explain::grad_cam(
                |x| backbone.features(x),
                |f| backbone.head(f),
                input,
                target,
            )?;
            let map = explain::upsample_bilinear(map, [height, width])?;
            Ok((scaled(map)?, "last feature map".into()))
        }
        "integrated-gradients" => {
            let baseline = input.zeros_like();
            let options = IntegratedGradientsOptions::default();
            let found = explain::integrated_gradients(
                |x| backbone.forward(x),
                input,
                baseline,
                target,
                &options,
            )?;
            let map = found.values.abs().sum_dim(1).reshape([height, width]);
            let change = found.output - found.baseline_output;
            let note = format!(
                "logit {:.3} = {:.3} at the mean colour + {:.3}; completeness gap {:.1e}",
                found.output, found.baseline_output, change, found.delta
            );
            Ok((scaled(clip_top(map)?)?, note))
        }
        "occlusion" => {
            let window = (height / 7).max(1);
            let stride = (height / 14).max(1);
            let options = OcclusionOptions {
                window: [window; 2],
                stride: [stride; 2],
                baseline: 0.0,
                batch: 16,
            };
            let map = explain::occlusion(|x| backbone.forward(x), input, target, &options)?;
            let [_, channels, ..] = map.dims();
            let map = map
                .sum_dim(1)
                .reshape([height, width])
                .div_scalar(channels as f32)
                .clamp_min(0.0);
            Ok((
                scaled(map)?,
                format!("drop of the logit under a {window}-pixel window of the mean colour"),
            ))
        }
        _ => Err(Error::unknown(
            "explain method",
            method,
            METHODS.iter().copied(),
        )),
    }
}

/// Divides by the largest value; an all-zero map stays zero.
fn scaled(map: Tensor<2>) -> Result<Tensor<2>> {
    let max = to_vec(map.clone())?.into_iter().fold(0.0_f32, f32::max);
    Ok(if max > 0.0 { map.div_scalar(max) } else { map })
}

/// Clips at the 99th percentile: single pixels would leave the rest of the map dark.
fn clip_top(map: Tensor<2>) -> Result<Tensor<2>> {
    let mut values = to_vec(map.clone())?;
    values.sort_by(f32::total_cmp);
    Ok(map.clamp_max(values[(values.len() - 1) * 99 / 100]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::classify::{BUNDLED, Classify};
    use panoply_core::Task;

    /// The head's dropout would make each one different.
    #[test]
    fn an_explanation_is_about_the_prediction_and_always_the_same() {
        let context = RunContext::cpu();
        let classifier = Classifier::open(BUNDLED, &context).unwrap();
        let example = Classify.examples().remove(0);
        let photo = decode(example.as_bytes().unwrap(), &example.name).unwrap();
        let input = classifier.preprocess(&[photo]).unwrap();
        let heat = || {
            to_vec(
                attribute(&classifier, "grad-cam", input.clone(), 281)
                    .unwrap()
                    .0,
            )
        };
        assert_eq!(heat().unwrap(), heat().unwrap());

        let predicted = to_vec(classifier.forward(input.clone()).unwrap()).unwrap();
        let lifted = classifier.backbone.forward(input.autodiff());
        let explained = to_vec(lifted.without_autodiff()).unwrap();
        for (a, b) in predicted.iter().zip(explained) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
