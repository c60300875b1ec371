//! Explanations of texts: a share a token, as coloured text.

use crate::preprocess::{Encoded, TextTokenizer};
use panoply_core::{Artefact, Output, Shade, plot::escape};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;

/// What a token has to do with the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct TokenShare {
    /// The token's spelling in the vocabulary.
    pub(super) token: String,
    /// First character of it in the text.
    pub(super) start: usize,
    /// One past its last character.
    pub(super) end: usize,
    /// Its share; what it means depends on the method.
    pub(super) share: f32,
}

/// An explanation of one answer.
pub(super) struct Explained<'a> {
    /// Stem of the file.
    pub(super) stem: String,
    pub(super) method: &'a str,
    pub(super) text: &'a str,
    /// What the explained answer is.
    pub(super) answer: String,
    /// What to know about the shares.
    pub(super) note: String,
    pub(super) tokens: Vec<TokenShare>,
}

/// Shares of an encoded text's tokens, special tokens included.
pub(super) fn token_shares(
    encoded: &Encoded,
    tokenizer: &TextTokenizer,
    shares: &[f32],
) -> Vec<TokenShare> {
    let tokens = encoded.ids.iter().zip(&encoded.offsets).zip(shares);
    let share = |((&id, &(start, end)), &share): ((&u32, &(usize, usize)), &f32)| TokenShare {
        token: tokenizer.token(id).unwrap_or_default(),
        start,
        end,
        share,
    };
    tokens.map(share).collect()
}

impl Explained<'_> {
    /// The text in pieces, each with its token's share over the largest one: within `[-1, 1]`.
    fn shades(&self) -> Vec<Shade> {
        let in_text = |t: &&TokenShare| t.end > t.start;
        let size = |t: &TokenShare| f64::from(t.share.abs());
        let largest = self.tokens.iter().filter(in_text).map(size);
        let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
        let chars: Vec<char> = self.text.chars().collect();
        let piece = |from: usize, to: usize, weight: f64| Shade {
            text: chars[from..to].iter().collect(),
            weight,
        };
        let (mut pieces, mut at) = (Vec::new(), 0);
        for token in self.tokens.iter().filter(in_text) {
            // Tokens of one character, as bytes of an emoji are, show as the first of them.
            let (start, end) = (token.start.max(at), token.end.min(chars.len()));
            if start >= end {
                continue;
            }
            if start > at {
                pieces.push(piece(at, start, 0.0));
            }
            pieces.push(piece(start, end, f64::from(token.share) / largest));
            at = end;
        }
        if at < chars.len() {
            pieces.push(piece(at, chars.len(), 0.0));
        }
        pieces
    }

    /// The answer of `explain`: coloured text, a table of the tokens, a page.
    pub(super) fn output(self) -> Output {
        let share = format!("share for '{}'", self.answer);
        let mut table = vec![["", "token", &share].map(String::from).to_vec()];
        for token in &self.tokens {
            let share = format!("{:+.4}", token.share);
            table.push(vec![String::new(), token.token.clone(), share]);
        }
        let shades = self.shades();
        let artefact = Artefact {
            file_name: format!("{}.{}.html", self.stem, self.method),
            bytes: self.page(&shades).into_bytes(),
        };
        Output {
            json: json!({
                "method": self.method, "answer": self.answer, "note": self.note,
                "tokens": self.tokens, "page": artefact.file_name,
            }),
            raw: None,
            table,
            shades,
            artefacts: vec![artefact],
        }
    }

    /// One file without scripts; colours that read on light and on dark ground.
    fn page(&self, shades: &[Shade]) -> String {
        let mut body = String::new();
        for shade in shades {
            let text = escape(&shade.text);
            // Writing to a String cannot fail.
            let _ = if shade.weight == 0.0 {
                write!(body, "{text}")
            } else {
                let colour = if shade.weight > 0.0 {
                    "46,125,50"
                } else {
                    "198,40,40"
                };
                let alpha = 0.75 * shade.weight.abs();
                write!(
                    body,
                    "<span style=\"background:rgba({colour},{alpha:.3})\" title=\"{:+.3}\">{text}</span>",
                    shade.weight
                )
            };
        }
        format!(
            "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{method}</title>\n<style>body{{font:1.1rem/1.9 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}\
             p.text{{white-space:pre-wrap}}span{{border-radius:.2em;padding:.1em 0}}small{{opacity:.7}}</style>\n</head>\n<body>\n\
             <h1>{answer}</h1>\n<p class=\"text\">{body}</p>\n<p><small>{method}. Green speaks for the answer, red against it; \
             the strongest is the fullest. {note}</small></p>\n</body>\n</html>\n",
            method = escape(self.method),
            answer = escape(&self.answer),
            note = escape(&self.note),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_shown_once_and_escaped() {
        let token = |start, end, share| TokenShare {
            token: String::new(),
            start,
            end,
            share,
        };
        let explained = Explained {
            stem: "a".into(),
            method: "m",
            text: "<é> 🙂 b",
            answer: "x".into(),
            note: String::new(),
            // A special token, one of three bytes of the emoji each, a negative one.
            tokens: vec![
                token(0, 0, 9.0),
                token(0, 3, 1.0),
                token(4, 5, 0.5),
                token(4, 5, 0.5),
                token(6, 7, -2.0),
            ],
        };
        let shades = explained.shades();
        let text: String = shades.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(text, explained.text);
        let weights: Vec<f64> = shades.iter().map(|s| s.weight).collect();
        assert_eq!(weights, [0.5, 0.0, 0.25, 0.0, -1.0]);
        let page = explained.page(&shades);
        assert!(page.contains(">&lt;é&gt;</span> <span"), "{page}");
    }
}
