//! The table that renames a published checkpoint's keys to ours and back.

use crate::{Error, Result};

/// Keys longer than this match no pattern; no published key comes near it.
const MAX_KEY_LEN: usize = 1024;

/// How the keys of a published checkpoint and the paths of our module correspond: data next to the
/// model, used in both directions.
///
/// In a pattern `{}` stands for one or more characters without a `.`, `**` for one or more
/// characters of any kind. What a side captures fills the other side's wildcards in order, so both
/// sides of a row hold the same wildcards in the same order. The first row that matches wins; a key
/// that matches no row keeps its name. Several published patterns may lead to one of ours (old
/// spellings of a checkpoint): loading takes each of them, saving writes the first.
///
/// Our side is the module path (field names, `Vec` indices, no enum variants) with **PyTorch's
/// names at the leaf** (`weight`, `bias`, `running_mean`, `running_var`), whatever burn calls them:
/// a norm's `gamma` is `weight`, and a linear layer's weight has the shape `[out, in]`.
///
/// ```
/// use panoply_core::weights::KeyMap;
///
/// const KEY_MAP: KeyMap = KeyMap {
///     renames: &[
///         ("downsample.{}.0.weight", "blocks.{}.shortcut.conv.weight"),
///         ("layer1.**", "stages.0.**"),
///     ],
///     dropped: &["**.num_batches_tracked"],
///     ..KeyMap::IDENTITY
/// };
/// assert_eq!(KEY_MAP.to_ours("layer1.0.conv1.weight"), "stages.0.0.conv1.weight");
/// assert_eq!(KEY_MAP.to_published("stages.0.0.conv1.weight"), "layer1.0.conv1.weight");
/// assert_eq!(KEY_MAP.to_ours("fc.bias"), "fc.bias");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyMap {
    /// Rows of (published pattern, our pattern).
    pub renames: &'static [(&'static str, &'static str)],
    /// Patterns of published keys that loading ignores on purpose. If one of them names
    /// `num_batches_tracked`, saving writes that counter (a zero) next to every `running_mean`,
    /// because PyTorch's strict loading wants it.
    pub dropped: &'static [&'static str],
    /// What stands in front of a trunk's keys where it has a head: (published, ours), both with
    /// the dot (`("transformer.", "transformer.")`). The other tables leave it out. Loading takes a
    /// file with it into a model without it and the other way round, so a file of the trunk
    /// alone fits a model with a head.
    pub prefix: Option<(&'static str, &'static str)>,
    /// Patterns of published keys of linear layers' weights that are stored `[in, out]`, as Hugging
    /// Face's `Conv1D` does.
    pub in_out: &'static [&'static str],
    /// Rows of (published key, published key whose tensor it is), for a layer that has no weight of
    /// its own. Loading ignores the first, or takes it for the second where the file lacks that;
    /// saving leaves it out, as `save_pretrained` does.
    pub tied: &'static [(&'static str, &'static str)],
}

impl KeyMap {
    /// Every key keeps its name and none is ignored. Tables are written `KeyMap { renames: …,
    /// ..KeyMap::IDENTITY }`.
    pub const IDENTITY: Self = Self {
        renames: &[],
        dropped: &[],
        prefix: None,
        in_out: &[],
        tied: &[],
    };

    /// Our name of a published key.
    pub fn to_ours(&self, published: &str) -> String {
        let (prefix, key) = self.split(published, |(published, ours)| (published, ours));
        let row = self
            .renames
            .iter()
            .find_map(|(from, to)| translate(from, to, key));
        format!("{prefix}{}", row.as_deref().unwrap_or(key))
    }

    /// The published name of a key of ours.
    pub fn to_published(&self, ours: &str) -> String {
        let (prefix, key) = self.split(ours, |(published, ours)| (ours, published));
        let row = self
            .renames
            .iter()
            .find_map(|(to, from)| translate(from, to, key));
        format!("{prefix}{}", row.as_deref().unwrap_or(key))
    }

    /// Whether loading ignores this published key.
    pub fn is_dropped(&self, published: &str) -> bool {
        self.any(self.dropped, published)
    }

    /// Whether the weight of this published key is stored `[in, out]`.
    pub fn is_in_out(&self, published: &str) -> bool {
        self.any(self.in_out, published)
    }

    /// The published key whose tensor this key names once more.
    pub fn tied_to(&self, published: &str) -> Option<&'static str> {
        let bare = |key| self.split(key, |(published, _)| (published, "")).1;
        self.tied
            .iter()
            .find(|(key, _)| bare(key) == bare(published))
            .map(|(_, source)| *source)
    }

    /// The name among ours that a published key has: as the table says, else with the prefix added
    /// or taken off, else in the spelling of the first BERT checkpoints, which call a norm's
    /// weight and bias `gamma` and `beta`.
    pub(super) fn find<'n>(
        &self,
        published: &str,
        ours: impl Fn(&str) -> Option<&'n str>,
    ) -> Option<&'n str> {
        let tolerant = |published: &str| {
            let name = self.to_ours(published);
            ours(&name).or_else(|| {
                let (_, prefix) = self.prefix?;
                ours(&match name.strip_prefix(prefix) {
                    Some(bare) => bare.to_string(),
                    None => format!("{prefix}{name}"),
                })
            })
        };
        tolerant(published).or_else(|| {
            let (stem, leaf) = published.rsplit_once('.')?;
            match leaf {
                "gamma" => tolerant(&format!("{stem}.weight")),
                "beta" => tolerant(&format!("{stem}.bias")),
                _ => None,
            }
        })
    }

    /// What to put in front of the translation of a key, and the key without its prefix.
    fn split<'k>(
        &self,
        key: &'k str,
        order: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
    ) -> (&'static str, &'k str) {
        let found = self.prefix.map(order).and_then(|(from, to)| {
            let bare = key.strip_prefix(from)?;
            Some((to, bare))
        });
        found.unwrap_or(("", key))
    }

    fn any(&self, patterns: &[&str], published: &str) -> bool {
        let (_, bare) = self.split(published, |(published, _)| (published, ""));
        patterns
            .iter()
            .any(|pattern| matches(pattern, bare) || matches(pattern, published))
    }

    /// Whether saving writes `num_batches_tracked`.
    pub(super) fn writes_counters(&self) -> bool {
        self.dropped
            .iter()
            .any(|pattern| pattern.ends_with("num_batches_tracked"))
    }

    /// Refuses a table whose rows cannot be used in both directions.
    pub(super) fn check(&self) -> Result<()> {
        let bad = self
            .renames
            .iter()
            .find(|(left, right)| wildcards(left) != wildcards(right));
        bad.map_or(Ok(()), |(left, right)| {
            Err(Error::Internal {
                context: "key map".into(),
                message: format!("'{left}' and '{right}' hold different wildcards"),
            })
        })
    }
}

/// Whether `key` fits `pattern`.
pub(super) fn matches(pattern: &str, key: &str) -> bool {
    captures(pattern, key).is_some()
}

fn translate(from: &str, to: &str, key: &str) -> Option<String> {
    let found = captures(from, key)?;
    let mut out = String::with_capacity(key.len());
    let mut rest = to;
    for capture in found {
        let (text, _, after) = next_wildcard(rest)?;
        out.push_str(text);
        out.push_str(capture);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// What the wildcards of `pattern` stand for in `key`, the shortest first.
fn captures<'k>(pattern: &str, key: &'k str) -> Option<Vec<&'k str>> {
    let mut found = Vec::new();
    (key.len() <= MAX_KEY_LEN && fits(pattern, key, &mut found)).then_some(found)
}

fn fits<'k>(pattern: &str, key: &'k str, found: &mut Vec<&'k str>) -> bool {
    let Some((text, any, after)) = next_wildcard(pattern) else {
        return pattern == key;
    };
    let Some(key) = key.strip_prefix(text) else {
        return false;
    };
    for (start, c) in key.char_indices() {
        if c == '.' && !any {
            break;
        }
        let (capture, rest) = key.split_at(start + c.len_utf8());
        found.push(capture);
        if fits(after, rest, found) {
            return true;
        }
        found.pop();
    }
    false
}

/// The text before the first wildcard, whether that wildcard crosses dots, and the text after it.
fn next_wildcard(pattern: &str) -> Option<(&str, bool, &str)> {
    let segment = pattern.find("{}").unwrap_or(usize::MAX);
    let any = pattern.find("**").unwrap_or(usize::MAX);
    let at = segment.min(any);
    (at != usize::MAX).then(|| (&pattern[..at], any < segment, &pattern[at + 2..]))
}

fn wildcards(pattern: &str) -> Vec<bool> {
    let mut rest = pattern;
    std::iter::from_fn(|| {
        let (_, any, after) = next_wildcard(rest)?;
        rest = after;
        Some(any)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: KeyMap = KeyMap {
        renames: &[
            ("layer{}.{}.bn.weight", "stages.{}.blocks.{}.norm.weight"),
            ("head.**", "fc.**"),
            ("old_stem.weight", "stem.weight"),
            ("stem_conv.weight", "stem.weight"),
        ],
        dropped: &["**.num_batches_tracked", "mask"],
        ..KeyMap::IDENTITY
    };

    #[test]
    fn both_directions_and_first_match() {
        assert_eq!(
            MAP.to_ours("layer2.10.bn.weight"),
            "stages.2.blocks.10.norm.weight"
        );
        assert_eq!(
            MAP.to_published("stages.2.blocks.10.norm.weight"),
            "layer2.10.bn.weight"
        );
        assert_eq!(MAP.to_ours("head.a.b"), "fc.a.b");
        assert_eq!(MAP.to_ours("stem_conv.weight"), "stem.weight");
        assert_eq!(MAP.to_published("stem.weight"), "old_stem.weight");
        assert_eq!(MAP.to_ours("other"), "other");
    }

    #[test]
    fn a_segment_holds_no_dot_and_is_not_empty() {
        assert_eq!(MAP.to_ours("layer1.0.1.bn.weight"), "layer1.0.1.bn.weight");
        assert_eq!(MAP.to_ours("layer.0.bn.weight"), "layer.0.bn.weight");
        assert_eq!(MAP.to_ours("head."), "head.");
    }

    #[test]
    fn dropped_patterns() {
        assert!(MAP.is_dropped("layer1.0.bn1.num_batches_tracked"));
        assert!(MAP.is_dropped("mask") && !MAP.is_dropped("masks"));
        assert!(!MAP.is_dropped("num_batches_tracked"));
        assert!(MAP.writes_counters() && !KeyMap::IDENTITY.writes_counters());
    }

    #[test]
    fn rows_with_unequal_wildcards_are_refused() {
        MAP.check().unwrap();
        let bad = KeyMap {
            renames: &[("a.{}.{}", "b.{}")],
            ..KeyMap::IDENTITY
        };
        assert!(
            bad.check()
                .unwrap_err()
                .to_string()
                .contains("'a.{}.{}' and 'b.{}'")
        );
        let bad = KeyMap {
            renames: &[("a.{}.**", "b.**.{}")],
            ..KeyMap::IDENTITY
        };
        assert!(bad.check().is_err());
    }

    const DECODER: KeyMap = KeyMap {
        renames: &[("h.{}.ln.{}", "layers.{}.norm.{}")],
        dropped: &["h.{}.attn.bias"],
        prefix: Some(("transformer.", "trunk.")),
        in_out: &["h.{}.fc.weight"],
        tied: &[("lm_head.weight", "transformer.wte.weight")],
    };

    #[test]
    fn a_prefix_goes_both_ways_and_may_be_absent() {
        let ours = "trunk.layers.3.norm.bias";
        assert_eq!(DECODER.to_ours("transformer.h.3.ln.bias"), ours);
        assert_eq!(DECODER.to_published(ours), "transformer.h.3.ln.bias");
        assert_eq!(DECODER.to_ours("h.3.ln.bias"), "layers.3.norm.bias");
        for key in ["h.0.attn.bias", "transformer.h.0.attn.bias"] {
            assert!(DECODER.is_dropped(key));
        }
        assert!(DECODER.is_in_out("transformer.h.0.fc.weight"));
        assert!(DECODER.is_in_out("h.0.fc.weight") && !DECODER.is_in_out("h.0.fc.bias"));
        assert_eq!(
            DECODER.tied_to("lm_head.weight"),
            Some("transformer.wte.weight")
        );
        assert_eq!(DECODER.tied_to("wte.weight"), None);
    }

    #[test]
    fn keys_are_found_with_or_without_prefix_and_in_old_spelling() {
        let find = |names: &[&'static str], key| {
            DECODER.find(key, |name| names.iter().find(|n| **n == name).copied())
        };
        let head = [
            "trunk.layers.0.norm.weight",
            "trunk.wte.weight",
            "score.bias",
        ];
        let trunk = ["layers.0.norm.weight", "wte.weight"];
        for key in ["h.0.ln.weight", "transformer.h.0.ln.weight", "h.0.ln.gamma"] {
            assert_eq!(find(&head, key), Some(head[0]), "{key}");
            assert_eq!(find(&trunk, key), Some(trunk[0]), "{key}");
        }
        assert_eq!(find(&head, "score.beta"), Some("score.bias"));
        assert_eq!(find(&trunk, "score.bias"), None);
    }
}
