//! Every trainable parameter of every network learns.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Device, Gradients, Tensor},
};
use panoply_nlp::models::{
    CausalInput, CausalLmConfig, Decoder,
    bert::{BertConfig, EncoderInput, Variant},
    gpt_neo::GptNeoConfig,
    gpt2::Gpt2Config,
    llama::LlamaConfig,
};

/// Names of parameters whose gradient is absent, not finite or all zero.
struct Audit<'g> {
    path: Vec<String>,
    grads: &'g Gradients,
    seen: usize,
    bad: Vec<String>,
}

impl ModuleVisitor for Audit<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.seen += 1;
        let largest = param
            .val()
            .grad(self.grads)
            .map_or(f32::NAN, |g| g.abs().max().into_scalar());
        if !(largest.is_finite() && largest > 0.0) {
            self.bad.push(format!("{}: {largest}", self.path.join(".")));
        }
    }
}

fn audit<M: Module, const D: usize>(name: &str, model: &M, logits: Tensor<D>) {
    // Squares about one, so that no symmetry of the start cancels.
    let grads = (logits - 1.0).square().mean().backward();
    let mut audit = Audit {
        path: Vec::new(),
        grads: &grads,
        seen: 0,
        bad: Vec::new(),
    };
    model.visit(&mut audit);
    assert!(
        audit.seen >= 20 && audit.bad.is_empty(),
        "{name}: {} of {}",
        audit.bad.join(", "),
        audit.seen
    );
}

const IDS: [[i64; 6]; 2] = [[2, 8, 3, 9, 4, 5], [7, 7, 6, 2, 1, 1]];

fn padding(device: &Device) -> Tensor<2, Bool> {
    let real = [[true; 6], [true, true, true, true, false, false]];
    Tensor::from_data(real, device)
}

#[test]
fn encoders_and_their_heads() {
    let device = Device::flex().autodiff();
    device.seed(5);
    let input = EncoderInput::new(Tensor::from_ints(IDS, &device)).mask(padding(&device));
    let variants = [
        (Variant::Bert, 2, 0),
        (Variant::Roberta, 1, 1),
        (Variant::DistilBert, 0, 0),
    ];
    for (variant, type_vocab_size, pad_token_id) in variants {
        let config = BertConfig {
            variant,
            type_vocab_size,
            pad_token_id,
            num_labels: 3,
            ..BertConfig::tiny(12)
        };
        let name = |head: &str| format!("{variant:?} {head}");
        let model = config.init_masked_lm(&device);
        audit(&name("masked"), &model, model.forward(&input));
        let model = config.init_sequence_classification(&device);
        audit(&name("sequence"), &model, model.forward(&input));
        let model = config.init_token_classification(&device);
        audit(&name("token"), &model, model.forward(&input));
        let model = config.init_question_answering(&device);
        audit(&name("span"), &model, model.forward(&input));
    }
}

#[test]
fn decoders() {
    let device = Device::flex().autodiff();
    device.seed(6);
    let untied = LlamaConfig {
        tie_word_embeddings: false,
        ..LlamaConfig::tiny(12)
    };
    let configs = [
        CausalLmConfig::Gpt2(Gpt2Config::tiny(12)),
        CausalLmConfig::GptNeo(GptNeoConfig::tiny(12)),
        CausalLmConfig::Llama(LlamaConfig::tiny(12)),
        CausalLmConfig::Llama(untied),
    ];
    for config in configs {
        let model = config.init(&device);
        let plain = CausalInput::new(Tensor::from_ints(IDS, &device));
        let padded = plain.clone().mask(padding(&device));
        for input in [plain, padded] {
            audit(
                &format!("{config:?}"),
                &model,
                model.forward(&input, None).narrow(1, 0, 4),
            );
        }
    }
}
