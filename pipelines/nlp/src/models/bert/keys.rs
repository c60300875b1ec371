//! Keys of the published weights.

use panoply_core::weights::{KeyMap, LoadOptions};

/// Keys of BERT and RoBERTa below the prefix.
const ENCODER: [(&str, &str); 13] = [
    ("embeddings.word_embeddings.{}", "embeddings.word.{}"),
    (
        "embeddings.position_embeddings.{}",
        "embeddings.position.{}",
    ),
    (
        "embeddings.token_type_embeddings.{}",
        "embeddings.token_type.{}",
    ),
    ("embeddings.LayerNorm.{}", "embeddings.norm.{}"),
    (
        "encoder.layer.{}.attention.self.query.{}",
        "layers.{}.attention.q.{}",
    ),
    (
        "encoder.layer.{}.attention.self.key.{}",
        "layers.{}.attention.k.{}",
    ),
    (
        "encoder.layer.{}.attention.self.value.{}",
        "layers.{}.attention.v.{}",
    ),
    (
        "encoder.layer.{}.attention.output.dense.{}",
        "layers.{}.attention.out.{}",
    ),
    (
        "encoder.layer.{}.attention.output.LayerNorm.{}",
        "layers.{}.attention_norm.{}",
    ),
    (
        "encoder.layer.{}.intermediate.dense.{}",
        "layers.{}.mlp.fc1.{}",
    ),
    ("encoder.layer.{}.output.dense.{}", "layers.{}.mlp.fc2.{}"),
    (
        "encoder.layer.{}.output.LayerNorm.{}",
        "layers.{}.mlp_norm.{}",
    ),
    ("pooler.dense.{}", "pooler.{}"),
];

const fn with_head<const N: usize, const M: usize>(
    head: [(&'static str, &'static str); N],
) -> [(&'static str, &'static str); M] {
    let mut rows = [("", ""); M];
    let mut i = 0;
    while i < M {
        rows[i] = if i < N { head[i] } else { ENCODER[i - N] };
        i += 1;
    }
    rows
}

/// Keys of `BertModel` and of BERT with a head.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &with_head::<3, 16>([
        ("cls.predictions.transform.dense.{}", "lm_head.dense.{}"),
        ("cls.predictions.transform.LayerNorm.{}", "lm_head.norm.{}"),
        ("cls.predictions.bias", "lm_head.bias"),
    ]),
    dropped: &["embeddings.position_ids"],
    prefix: Some(("bert.", "bert.")),
    tied: &[
        (
            "cls.predictions.decoder.weight",
            "bert.embeddings.word_embeddings.weight",
        ),
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ],
    ..KeyMap::IDENTITY
};

/// Keys of `RobertaModel` and of RoBERTa with a head.
pub const ROBERTA_KEY_MAP: KeyMap = KeyMap {
    renames: &with_head::<1, 14>([("lm_head.layer_norm.{}", "lm_head.norm.{}")]),
    dropped: &["embeddings.position_ids"],
    prefix: Some(("roberta.", "bert.")),
    tied: &[
        (
            "lm_head.decoder.weight",
            "roberta.embeddings.word_embeddings.weight",
        ),
        ("lm_head.decoder.bias", "lm_head.bias"),
    ],
    ..KeyMap::IDENTITY
};

/// Keys of `DistilBertModel` and of DistilBERT with a head.
pub const DISTILBERT_KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("embeddings.word_embeddings.{}", "embeddings.word.{}"),
        (
            "embeddings.position_embeddings.{}",
            "embeddings.position.{}",
        ),
        ("embeddings.LayerNorm.{}", "embeddings.norm.{}"),
        (
            "transformer.layer.{}.attention.q_lin.{}",
            "layers.{}.attention.q.{}",
        ),
        (
            "transformer.layer.{}.attention.k_lin.{}",
            "layers.{}.attention.k.{}",
        ),
        (
            "transformer.layer.{}.attention.v_lin.{}",
            "layers.{}.attention.v.{}",
        ),
        (
            "transformer.layer.{}.attention.out_lin.{}",
            "layers.{}.attention.out.{}",
        ),
        (
            "transformer.layer.{}.sa_layer_norm.{}",
            "layers.{}.attention_norm.{}",
        ),
        ("transformer.layer.{}.ffn.lin1.{}", "layers.{}.mlp.fc1.{}"),
        ("transformer.layer.{}.ffn.lin2.{}", "layers.{}.mlp.fc2.{}"),
        (
            "transformer.layer.{}.output_layer_norm.{}",
            "layers.{}.mlp_norm.{}",
        ),
        ("vocab_transform.{}", "lm_head.dense.{}"),
        ("vocab_layer_norm.{}", "lm_head.norm.{}"),
        ("vocab_projector.bias", "lm_head.bias"),
    ],
    dropped: &["embeddings.position_ids"],
    prefix: Some(("distilbert.", "bert.")),
    tied: &[(
        "vocab_projector.weight",
        "distilbert.embeddings.word_embeddings.weight",
    )],
    ..KeyMap::IDENTITY
};

/// Heads of the family in the published spelling.
const HEADS: [&str; 8] = [
    "classifier.**",
    "pre_classifier.**",
    "qa_outputs.**",
    "cls.**",
    "lm_head.**",
    "vocab_**",
    "pooler.**",
    "{}.pooler.**",
];

/// Loads an encoder under a new head: the head's own tensors (and the pooler's) may be missing or of
/// another shape, and the file may hold heads that the model has not.
pub const NEW_HEAD: LoadOptions<'static> = LoadOptions {
    allow_missing: &HEADS,
    allow_unexpected: &HEADS,
};
