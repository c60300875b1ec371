//! The text of an answer while its tokens come: stop strings, and pieces for whoever watches.

use crate::preprocess::TextTokenizer;
use panoply_core::{Pieces, Result};

/// The text of one growing answer.
pub(super) struct Growing<'a> {
    tokenizer: &'a TextTokenizer,
    /// Tokens in front of the answer.
    prompt: &'a [u32],
    stop: &'a [String],
    pieces: Option<&'a Pieces>,
    shown: String,
}

impl<'a> Growing<'a> {
    pub(super) fn new(
        tokenizer: &'a TextTokenizer,
        prompt: &'a [u32],
        stop: &'a [String],
        pieces: Option<&'a Pieces>,
    ) -> Self {
        Self {
            tokenizer,
            prompt,
            stop,
            pieces,
            shown: String::new(),
        }
    }

    /// Looks at the answer's tokens after one more; whether a stop string ends it.
    pub(super) fn update(&mut self, tokens: &[u32]) -> Result<bool> {
        if self.stop.is_empty() && self.pieces.is_none() {
            return Ok(false);
        }
        let text = self.tokenizer.continuation(self.prompt, tokens)?;
        // The sign for a broken character at the end may become another one.
        if first_stop(text.trim_end_matches('\u{FFFD}'), self.stop).is_some() {
            return Ok(true);
        }
        let settled = text.len() - held_back(&text, self.stop);
        self.show(&text[..settled])?;
        Ok(false)
    }

    /// The answer's text, cut in front of a stop string; what was not shown yet is.
    pub(super) fn finish(mut self, tokens: &[u32]) -> Result<String> {
        let mut text = self.tokenizer.continuation(self.prompt, tokens)?;
        if let Some(at) = first_stop(&text, self.stop) {
            text.truncate(at);
        }
        self.show(&text)?;
        Ok(text)
    }

    fn show(&mut self, settled: &str) -> Result<()> {
        let Some(pieces) = self.pieces else {
            return Ok(());
        };
        // A decoder may change what it has said (white space before a comma); that is not shown again.
        if let Some(piece) = settled.strip_prefix(self.shown.as_str()) {
            pieces.show(piece)?;
            self.shown.push_str(piece);
        }
        Ok(())
    }
}

/// Where the first of the stop strings begins.
fn first_stop(text: &str, stop: &[String]) -> Option<usize> {
    stop.iter().filter_map(|s| text.find(s.as_str())).min()
}

/// Bytes at the end of a text that later tokens may change: a character of which bytes are missing, and the
/// beginning of a stop string.
fn held_back(text: &str, stop: &[String]) -> usize {
    let whole = text.trim_end_matches('\u{FFFD}');
    let begun = |stop: &String| {
        let ends = stop.char_indices().map(|(at, _)| at).skip(1);
        ends.filter(|&at| whole.ends_with(&stop[..at])).max()
    };
    let begun = stop.iter().filter_map(begun).max().unwrap_or(0);
    text.len() - whole.len() + begun
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn beginnings_of_stop_strings_and_halves_of_characters_wait() {
        let stop = ["\n\nQ".to_string(), "END".into()];
        assert_eq!(held_back("a\n", &stop), 1);
        assert_eq!(held_back("a\n\n", &stop), 2);
        assert_eq!(held_back("aEN\u{FFFD}", &stop), 5);
        assert_eq!(held_back("aENx", &stop), 0);
        assert_eq!(first_stop("xEND\n\nQ", &stop), Some(1));
    }

    #[test]
    fn a_stop_string_across_tokens_ends_the_text_and_is_not_shown() {
        let tokenizer = TextTokenizer::characters(["abcEND"].into_iter(), 64).unwrap();
        let ids = |text: &str| tokenizer.encode_whole("text", text).unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let sink = shown.clone();
        let pieces = Pieces::new(move |piece| {
            sink.lock().unwrap().push_str(piece);
            Ok(())
        });
        let (prompt, answer, stop) = (ids("ab"), ids("cENaEND"), ["END".to_string()]);
        let mut growing = Growing::new(&tokenizer, &prompt, &stop, Some(&pieces));
        let mut ended = 0;
        for end in 1..=answer.len() {
            if growing.update(&answer[..end]).unwrap() {
                ended = end;
                break;
            }
        }
        assert_eq!((ended, shown.lock().unwrap().as_str()), (7, "cENa"));
        assert_eq!(growing.finish(&answer).unwrap(), "cENa");
        assert_eq!(shown.lock().unwrap().as_str(), "cENa");
    }
}
