//! Entities in tag sequences: the tagging schemes and how spans are read off them, as seqeval 1.2.2
//! does it.
//!
//! One difference: a tag of an unknown prefix and no type (`"X"`) starts nothing, but an entity
//! may end after it, which then takes the start of the one before. seqeval looks for that also in
//! the sequences before this one; here it is at most the start of the sequence.

use crate::{MetricError, Result};

/// How tags mark the bounds of entities. Each tag is `O` or a prefix letter and a type
/// (`B-PER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaggingScheme {
    /// `I` throughout, `B` only where an entity follows another of its type (Ramshaw and Marcus
    /// 1995; CoNLL-2003 as distributed).
    Iob1,
    /// `B` at every start (CoNLL-2002; what most tools call BIO).
    Iob2,
    /// `I` throughout, `E` only where another entity of its type follows.
    Ioe1,
    /// `E` at every end.
    Ioe2,
    /// `B`, `I`, `E`, and `S` for a single token; also called BIOES.
    Iobes,
    /// The same with `L` for the last token and `U` for a single one.
    Bilou,
}

/// How spans are read off tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaggingMode {
    /// Whatever the scheme: a change of type or a tag that cannot continue the entity ends it,
    /// and `I-` without a start begins one. What `conlleval` does, and seqeval by default.
    #[default]
    Lenient,
    /// Only spans that the scheme allows count (seqeval's `mode="strict"`).
    Strict(TaggingScheme),
}

/// A typed span of tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// What the tags say after prefix and hyphen; `_` if nothing.
    pub entity_type: String,
    /// First token.
    pub start: usize,
    /// The token after the last.
    pub end: usize,
}

/// The entities of one sequence of tags, by start.
///
/// An empty tag is an error, and with [`TaggingMode::Strict`] also a prefix that the scheme lacks.
pub fn entities<T: AsRef<str>>(tags: &[T], mode: TaggingMode) -> Result<Vec<Entity>> {
    entities_named("tags", tags, mode)
}

/// [`entities`], with the name that errors call the sequence by.
pub(crate) fn entities_named<T: AsRef<str>>(
    what: &'static str,
    tags: &[T],
    mode: TaggingMode,
) -> Result<Vec<Entity>> {
    let mut parsed = Vec::with_capacity(tags.len() + 1);
    for (index, tag) in tags.iter().enumerate() {
        let tag = tag.as_ref();
        let bad = |expected| MetricError::Text {
            what,
            index,
            found: tag.into(),
            expected,
        };
        let prefix = tag.chars().next();
        let prefix = prefix.ok_or_else(|| bad("a tag such as O or B-PER"))?;
        let rest = &tag[prefix.len_utf8()..];
        let kind = match mode {
            TaggingMode::Lenient => rest.split_once('-').map_or(rest, |(_, kind)| kind),
            TaggingMode::Strict(scheme) => {
                let (prefixes, expected) = scheme.prefixes();
                if !prefixes.contains(prefix) {
                    return Err(bad(expected));
                }
                rest.trim_matches('-')
            }
        };
        let kind = if kind.is_empty() { "_" } else { kind };
        parsed.push(Tag { prefix, kind });
    }
    parsed.push(Tag::OUTSIDE);
    Ok(match mode {
        TaggingMode::Lenient => lenient(&parsed),
        TaggingMode::Strict(scheme) => strict(&parsed, scheme),
    })
}

#[derive(Clone, Copy)]
struct Tag<'a> {
    prefix: char,
    kind: &'a str,
}

impl Tag<'static> {
    const OUTSIDE: Self = Self {
        prefix: 'O',
        kind: "_",
    };
}

impl Tag<'_> {
    fn span(self, start: usize, end: usize) -> Entity {
        Entity {
            entity_type: self.kind.into(),
            start,
            end,
        }
    }
}

/// Spans between any two tags that bound one; `tags` end in `O`.
fn lenient(tags: &[Tag<'_>]) -> Vec<Entity> {
    let (mut found, mut start, mut previous) = (Vec::new(), 0, Tag::OUTSIDE);
    for (index, &tag) in tags.iter().enumerate() {
        let other = previous.kind != tag.kind;
        let ends = match (previous.prefix, tag.prefix) {
            ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O') => true,
            ('O' | '.', _) => false,
            _ => other,
        };
        let starts = match (previous.prefix, tag.prefix) {
            (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I') => true,
            (_, 'O' | '.') => false,
            _ => other,
        };
        if ends {
            found.push(previous.span(start, index));
        }
        if starts {
            start = index;
        }
        previous = tag;
    }
    found
}

/// Spans that begin, go on and end as the scheme says; `tags` end in `O`.
fn strict(tags: &[Tag<'_>], scheme: TaggingScheme) -> Vec<Entity> {
    let (mut found, mut index, mut previous) = (Vec::new(), 0, Tag::OUTSIDE);
    while let Some(&tag) = tags.get(index) {
        let start = index;
        index += 1;
        if scheme.starts(previous, tag) {
            while index < tags.len() && scheme.continues(tags[index - 1], tags[index]) {
                index += 1;
            }
            // The closing `O` continues nothing, so there always is a tag behind the span.
            if index < tags.len() && scheme.ends(tags[index - 1], tags[index]) {
                found.push(tag.span(start, index));
            }
        }
        previous = tags[index - 1];
    }
    found
}

/// The transitions of seqeval's scheme classes.
impl TaggingScheme {
    /// The allowed prefixes, and how an error names them.
    fn prefixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Iob1 | Self::Iob2 => ("IOB", "a tag that begins with I, O or B"),
            Self::Ioe1 | Self::Ioe2 => ("IOE", "a tag that begins with I, O or E"),
            Self::Iobes => ("IOBES", "a tag that begins with I, O, B, E or S"),
            Self::Bilou => ("BILOU", "a tag that begins with B, I, L, O or U"),
        }
    }

    /// Whether an entity starts at `tag`.
    fn starts(self, previous: Tag<'_>, tag: Tag<'_>) -> bool {
        let same = previous.kind == tag.kind;
        let prefixes = (previous.prefix, tag.prefix);
        match self {
            Self::Iob1 => match prefixes {
                ('O' | 'B', 'I') => true,
                ('I', 'I') => !same,
                ('I' | 'B', 'B') => same,
                _ => false,
            },
            Self::Ioe1 => match prefixes {
                ('O' | 'E', 'I') => true,
                ('I', 'I') => !same,
                ('E', 'E') => same,
                _ => false,
            },
            Self::Ioe2 => match prefixes {
                ('O' | 'E', 'I' | 'E') => true,
                ('I', 'I' | 'E') => !same,
                _ => false,
            },
            Self::Iob2 => tag.prefix == 'B',
            Self::Iobes => matches!(tag.prefix, 'B' | 'S'),
            Self::Bilou => matches!(tag.prefix, 'B' | 'U'),
        }
    }

    /// Whether `tag` goes on with the entity of `previous`.
    fn continues(self, previous: Tag<'_>, tag: Tag<'_>) -> bool {
        let prefixes = (previous.prefix, tag.prefix);
        let may = match self {
            Self::Iob1 | Self::Iob2 => matches!(prefixes, ('B' | 'I', 'I')),
            Self::Ioe1 | Self::Ioe2 => matches!(prefixes, ('I', 'I' | 'E')),
            Self::Iobes => matches!(prefixes, ('B' | 'I', 'I' | 'E')),
            Self::Bilou => matches!(prefixes, ('B' | 'I', 'I' | 'L')),
        };
        may && previous.kind == tag.kind
    }

    /// Whether an entity may end between `previous` and `tag`.
    fn ends(self, previous: Tag<'_>, tag: Tag<'_>) -> bool {
        let same = previous.kind == tag.kind;
        let prefixes = (previous.prefix, tag.prefix);
        match self {
            Self::Iob1 => match prefixes {
                ('I' | 'B', 'O') | ('I', 'B') => true,
                ('I' | 'B', 'I') => !same,
                ('B', 'B') => same,
                _ => false,
            },
            Self::Iob2 => match prefixes {
                ('I' | 'B', 'O' | 'B') => true,
                ('I' | 'B', 'I') => !same,
                _ => false,
            },
            Self::Ioe1 => match prefixes {
                ('I', 'O') => true,
                ('I', 'I' | 'E') => !same,
                ('E', 'I' | 'E') => same,
                _ => false,
            },
            Self::Ioe2 => previous.prefix == 'E',
            Self::Iobes => matches!(previous.prefix, 'E' | 'S'),
            Self::Bilou => matches!(previous.prefix, 'L' | 'U'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(tags: &str, mode: TaggingMode) -> Vec<String> {
        let tags: Vec<&str> = tags.split(' ').collect();
        let found = entities(&tags, mode).unwrap();
        let text = |e: &Entity| format!("{}:{}-{}", e.entity_type, e.start, e.end);
        found.iter().map(text).collect()
    }

    #[test]
    fn an_inside_without_start_counts_only_when_lenient() {
        let tags = "I-PER O B-LOC I-ORG";
        let lenient = spans(tags, TaggingMode::Lenient);
        assert_eq!(lenient, ["PER:0-1", "LOC:2-3", "ORG:3-4"]);
        let strict = spans(tags, TaggingMode::Strict(TaggingScheme::Iob2));
        assert_eq!(strict, ["LOC:2-3"]);
        let iob1 = spans(
            "I-A I-A B-A O I-B",
            TaggingMode::Strict(TaggingScheme::Iob1),
        );
        assert_eq!(iob1, ["A:0-2", "A:2-3", "B:4-5"]);
    }

    #[test]
    fn an_unfinished_iobes_entity_counts_only_when_lenient() {
        let tags = "B-A I-A O S-A B-A E-A";
        assert_eq!(
            spans(tags, TaggingMode::Lenient),
            ["A:0-2", "A:3-4", "A:4-6"]
        );
        let strict = spans(tags, TaggingMode::Strict(TaggingScheme::Iobes));
        assert_eq!(strict, ["A:3-4", "A:4-6"]);
    }

    #[test]
    fn bad_tags_are_named() {
        let text = |tags: &[&str], mode| entities(tags, mode).unwrap_err().to_string();
        assert_eq!(
            text(&["O", ""], TaggingMode::Lenient),
            r#"tags[1] is ""; expected a tag such as O or B-PER"#
        );
        assert_eq!(
            text(&["S-A"], TaggingMode::Strict(TaggingScheme::Iob2)),
            r#"tags[0] is "S-A"; expected a tag that begins with I, O or B"#
        );
    }
}
