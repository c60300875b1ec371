//! Vocabularies of other programs as a `tokenizer.json`.

use panoply_core::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Longest token, in characters, that is looked at for merges.
const LONGEST: usize = 256;

/// What a token is, in the numbers of GGUF.
pub(super) const UNKNOWN: i128 = 2;
/// A token that stands for no text.
pub(super) const CONTROL: i128 = 3;
/// A token that a user has added.
pub(super) const USER: i128 = 4;

/// A vocabulary, token by token.
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    /// What each is; empty where that is unknown.
    pub(super) kinds: Vec<i128>,
}

impl Vocabulary {
    fn ids(&self, location: &str) -> Result<Map<String, Value>> {
        let mut ids = Map::new();
        for (id, token) in self.tokens.iter().enumerate() {
            if ids.insert(token.clone(), json!(id)).is_some() {
                let what = format!("the token '{token}' is there twice");
                return Err(Error::input(location, what, "every token once"));
            }
        }
        Ok(ids)
    }

    fn added(&self) -> Vec<Value> {
        let added = self.tokens.iter().zip(&self.kinds).enumerate();
        let added = added.filter(|(_, (_, kind))| [UNKNOWN, CONTROL, USER].contains(kind));
        let token = |(id, (token, kind)): (usize, (&String, &i128))| {
            json!({
                "id": id,
                "content": token,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": *kind != USER,
            })
        };
        added.map(token).collect()
    }

    /// A token in front of every text, if there is one.
    fn post_processor(&self, first: Option<usize>) -> Value {
        let Some((id, token)) = first.and_then(|id| Some((id, self.tokens.get(id)?))) else {
            return Value::Null;
        };
        let piece = json!({"SpecialToken": {"id": token, "type_id": 0}});
        let text = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
        json!({
            "type": "TemplateProcessing",
            "single": [piece, text("A", 0)],
            "pair": [piece, text("A", 0), piece, text("B", 1)],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
        })
    }

    /// GPT-2's byte-level pairs. `digits` says whether each digit stands alone.
    pub(super) fn byte_level(
        &self,
        location: &str,
        merges: &[String],
        digits: bool,
        first: Option<usize>,
    ) -> Result<Value> {
        let bytes = json!({
            "type": "ByteLevel",
            "add_prefix_space": false,
            "trim_offsets": true,
            "use_regex": true,
        });
        let pre_tokenizer = if digits {
            let digits = json!({"type": "Digits", "individual_digits": true});
            json!({"type": "Sequence", "pretokenizers": [digits, bytes]})
        } else {
            bytes.clone()
        };
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added(),
            "pre_tokenizer": pre_tokenizer,
            "post_processor": self.post_processor(first),
            "decoder": bytes,
            "model": {"type": "BPE", "vocab": self.ids(location)?, "merges": merges},
        }))
    }

    /// Llama's tokenizer: SentencePiece's pairs with scores, unknown characters as bytes. Pairs are
    /// merged in the order of the scores of what they make, as transformers' converter has it.
    pub(super) fn sentence_piece(
        &self,
        location: &str,
        scores: &[f32],
        first: Option<usize>,
    ) -> Result<Value> {
        let unknown = self.kinds.iter().position(|&kind| kind == UNKNOWN);
        let unknown = unknown.and_then(|id| self.tokens.get(id));
        let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let decoders = [
            replace("▁", " "),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
            strip,
        ];
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added(),
            "normalizer": {"type": "Sequence", "normalizers": [prepend, replace(" ", "▁")]},
            "post_processor": self.post_processor(first),
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE",
                "unk_token": unknown,
                "fuse_unk": true,
                "byte_fallback": true,
                "vocab": self.ids(location)?,
                "merges": self.merges(scores),
            },
        }))
    }

    /// Every way to make a token out of two others, best score first.
    fn merges(&self, scores: &[f32]) -> Vec<[&str; 2]> {
        let ids: BTreeMap<&str, usize> = self
            .tokens
            .iter()
            .enumerate()
            .map(|(id, token)| (token.as_str(), id))
            .collect();
        let mut found = Vec::new();
        for (id, (token, &score)) in self.tokens.iter().zip(scores).enumerate() {
            let special = self.kinds.get(id).is_some_and(|&kind| kind == CONTROL);
            if special || token.chars().nth(LONGEST).is_some() {
                continue;
            }
            let cuts = token
                .char_indices()
                .skip(1)
                .map(|(at, _)| token.split_at(at));
            let parts = cuts.filter_map(|(a, b)| Some((ids.get(a)?, ids.get(b)?, a, b)));
            let mut parts: Vec<_> = parts.collect();
            parts.sort_unstable();
            found.extend(parts.into_iter().map(|(_, _, a, b)| (score, [a, b])));
        }
        let length = |text: &str| text.chars().count();
        // A stable sort, largest first, as Python's with `reverse=True`.
        found.sort_by(|(x, [a, b]), (y, [c, d])| {
            y.total_cmp(x)
                .then_with(|| length(c).cmp(&length(a)))
                .then_with(|| length(d).cmp(&length(b)))
        });
        found.into_iter().map(|(_, pair)| pair).collect()
    }
}
