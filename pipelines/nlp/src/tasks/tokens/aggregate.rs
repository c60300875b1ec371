//! From the classes of tokens to entities: the strategies of transformers' `token-classification`
//! pipeline (5.23).

use crate::tasks::encoder::first_largest;
use serde::{Deserialize, Serialize};

/// How the pieces of a word, and the words of an entity, become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// Every token for itself, with its class as it stands (`B-PER`).
    None,
    /// Neighbouring tokens of one type; `B-` begins another.
    Simple,
    /// As `simple` over whole words, each with the class of its first token: the token that learns.
    #[default]
    First,
    /// Likewise with the largest mean probability of its tokens.
    Average,
    /// Likewise with the class of its surest token.
    Max,
}

/// A stretch of text with its class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entity {
    /// Class; without its prefix (`PER`) where tokens were joined.
    pub label: String,
    /// Probability; the mean over tokens or words where several were joined.
    pub score: f64,
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// The characters between.
    pub text: String,
}

/// A token that is not special.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Probability of each class.
    pub(super) scores: Vec<f64>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it goes on with the word of the token before.
    pub(super) is_subword: bool,
}

/// A token or a word with its class.
struct Tagged {
    class: usize,
    score: f64,
    start: usize,
    end: usize,
}

/// The class that text outside of every entity has; it is left out of answers.
const OUTSIDE: &str = "O";

/// Entities of one window, in order; the caller fills in their texts.
pub(super) fn aggregate(tokens: &[Token], names: &[String], how: Aggregation) -> Vec<Entity> {
    let entity = |label: &str, score: f64, start, end| Entity {
        label: label.into(),
        score,
        start,
        end,
        text: String::new(),
    };
    let tagged: Vec<Tagged> = match how {
        Aggregation::None | Aggregation::Simple => tokens.iter().map(of_token).collect(),
        _ => tokens
            .chunk_by(|_, next| next.is_subword)
            .map(|word| of_word(word, how))
            .collect(),
    };
    if how == Aggregation::None {
        let found = tagged.iter().filter(|t| names[t.class] != OUTSIDE);
        return found
            .map(|t| entity(&names[t.class], t.score, t.start, t.end))
            .collect();
    }
    let joins = |before: &Tagged, next: &Tagged| {
        let (begins, kind) = tag(&names[next.class]);
        !begins && kind == tag(&names[before.class]).1
    };
    let mut entities = Vec::new();
    for group in tagged.chunk_by(joins) {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let name = &names[first.class];
        let label = name.split_once('-').map_or(name.as_str(), |(_, kind)| kind);
        if label != OUTSIDE {
            let score = group.iter().map(|t| t.score).sum::<f64>() / group.len() as f64;
            entities.push(entity(label, score, first.start, last.end));
        }
    }
    entities
}

/// Whether a class begins an entity, and its type; a class without `B-` and `I-` is its own type and
/// goes on.
fn tag(name: &str) -> (bool, &str) {
    match name.strip_prefix("B-") {
        Some(kind) => (true, kind),
        None => (false, name.strip_prefix("I-").unwrap_or(name)),
    }
}

fn of_token(token: &Token) -> Tagged {
    let class = first_largest(&token.scores);
    Tagged {
        class,
        score: token.scores[class],
        start: token.start,
        end: token.end,
    }
}

/// A word out of its tokens, of which there is at least one.
fn of_word(tokens: &[Token], how: Aggregation) -> Tagged {
    let (first, last) = (&tokens[0], &tokens[tokens.len() - 1]);
    let best = |token: &Token| token.scores[first_largest(&token.scores)];
    let scores = match how {
        Aggregation::Average => (0..first.scores.len())
            .map(|class| tokens.iter().map(|t| t.scores[class]).sum::<f64>() / tokens.len() as f64)
            .collect(),
        Aggregation::Max => {
            let sures = tokens.iter().map(best).collect::<Vec<f64>>();
            tokens[first_largest(&sures)].scores.clone()
        }
        _ => first.scores.clone(),
    };
    let class = first_largest(&scores);
    Tagged {
        class,
        score: scores[class],
        start: first.start,
        end: last.end,
    }
}

/// Entities of all windows of a text: of those that overlap the longest stays, among equals the surest.
pub(super) fn merge_windows(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.sort_by_key(|entity| entity.start);
    let mut merged: Vec<Entity> = Vec::with_capacity(entities.len());
    for entity in entities {
        let Some(previous) = merged.last_mut() else {
            merged.push(entity);
            continue;
        };
        if entity.start < previous.end {
            let lengths = (entity.end - entity.start).cmp(&(previous.end - previous.start));
            if lengths
                .then(entity.score.total_cmp(&previous.score))
                .is_gt()
            {
                *previous = entity;
            }
        } else {
            merged.push(entity);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn token(class: usize, at: usize, is_subword: bool) -> Token {
        let mut scores = vec![0.1; 4];
        scores[class] = 0.7;
        Token {
            scores,
            start: at,
            end: at + 1,
            is_subword,
        }
    }

    fn names() -> Vec<String> {
        ["O", "B-A", "I-A", "I-B"].map(String::from).to_vec()
    }

    fn spans(tokens: &[Token], how: Aggregation) -> Vec<(String, usize, usize)> {
        let found = aggregate(tokens, &names(), how).into_iter();
        found.map(|e| (e.label, e.start, e.end)).collect()
    }

    /// transformers 5.23: `TokenClassificationPipeline.aggregate` on random scores.
    #[test]
    fn strategies_equal_transformers() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/spans/tokens.json"
        );
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let names: Vec<String> = serde_json::from_value(file["labels"].clone()).unwrap();
        let rows = file["strategies"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let scores: Vec<Vec<f64>> = serde_json::from_value(row["scores"].clone()).unwrap();
            let subword: Vec<bool> = serde_json::from_value(row["subword"].clone()).unwrap();
            let token = |(at, (scores, is_subword)): (usize, (&Vec<f64>, &bool))| Token {
                scores: scores.clone(),
                start: 2 * at,
                end: 2 * at + 1,
                is_subword: *is_subword,
            };
            let tokens = scores.iter().zip(&subword).enumerate().map(token);
            let tokens: Vec<Token> = tokens.collect();
            for how in ["none", "simple", "first", "average", "max"] {
                let strategy: Aggregation = serde_json::from_value(how.into()).unwrap();
                let expected: Vec<(String, f64, usize, usize)> =
                    serde_json::from_value(row[how].clone()).unwrap();
                let found = aggregate(&tokens, &names, strategy);
                assert_eq!(found.len(), expected.len(), "{how}");
                for (found, (label, score, start, end)) in found.iter().zip(&expected) {
                    let place = (&found.label, found.start, found.end);
                    assert_eq!(place, (label, *start, *end), "{how}");
                    assert!((found.score - score).abs() < 1e-6, "{how}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn a_beginning_or_another_type_ends_an_entity() {
        let tokens: Vec<Token> = [2, 1, 2, 3, 0, 2]
            .iter()
            .enumerate()
            .map(|(at, &class)| token(class, at, false))
            .collect();
        let simple = [("A", 0, 1), ("A", 1, 3), ("B", 3, 4), ("A", 5, 6)];
        let simple = simple.map(|(l, s, e)| (l.to_string(), s, e));
        assert_eq!(spans(&tokens, Aggregation::Simple), simple);
        assert_eq!(spans(&tokens, Aggregation::First), simple);
        let none = spans(&tokens, Aggregation::None);
        assert_eq!((none.len(), none[1].0.as_str()), (5, "B-A"));
        assert!(spans(&[], Aggregation::Max).is_empty());
    }

    #[test]
    fn of_windows_the_longest_and_surest_stays() {
        let entity = |start, end, score| Entity {
            label: "A".into(),
            score,
            start,
            end,
            text: String::new(),
        };
        let all = vec![
            entity(5, 7, 0.5),
            entity(0, 2, 0.5),
            entity(1, 4, 0.1),
            entity(5, 7, 0.6),
        ];
        let merged: Vec<_> = merge_windows(all)
            .iter()
            .map(|e| (e.start, e.end, e.score))
            .collect();
        assert_eq!(merged, [(1, 4, 0.1), (5, 7, 0.6)]);
    }
}
