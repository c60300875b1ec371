//! The tokenizers of sacrebleu's BLEU that need no model.

use crate::text::{is_space, single_spaced, split};
use regex::Regex;
use std::{borrow::Cow, sync::LazyLock};

/// How BLEU cuts a line into words before it counts n-grams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BleuTokenizer {
    /// mteval-v13a's rules, sacrebleu's default: ASCII punctuation stands apart, but for periods
    /// and commas between digits.
    #[default]
    V13a,
    /// Chinese characters stand apart, the rest as mteval-v13a has it.
    Zh,
    /// Every character is a word.
    Char,
    /// Words as whitespace has them: for text that is already tokenized.
    None,
}

impl BleuTokenizer {
    /// sacrebleu's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V13a => "13a",
            Self::Zh => "zh",
            Self::Char => "char",
            Self::None => "none",
        }
    }

    /// The words of a line.
    pub fn tokenize(self, line: &str) -> Vec<String> {
        let line = match self {
            Self::V13a => mteval(&format!(" {} ", unescape(line))),
            // Without spaces at the ends, where 13a has one: ",5" stays whole here.
            Self::Zh => mteval(&chinese_apart(line.trim_matches(is_space))),
            Self::Char => line.chars().flat_map(|c| [c, ' ']).collect(),
            Self::None => line.into(),
        };
        split(&line).map(String::from).collect()
    }
}

/// What mteval-v13a undoes of SGML and hyphenation.
fn unescape(line: &str) -> String {
    let mut line = Cow::Borrowed(line);
    // In this order: "&amp;lt;" ends as "<".
    for (from, to) in [
        ("<skipped>", ""),
        ("-\n", ""),
        ("\n", " "),
        ("&quot;", "\""),
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ] {
        if line.contains(from) {
            line = Cow::Owned(line.replace(from, to));
        }
    }
    line.into_owned()
}

/// mteval-v13a's rules for Western languages, one after the other.
static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let rule = |pattern| Regex::new(pattern).expect("the pattern is constant and valid");
    [
        // ASCII from space to ~, without letters, digits, and ' , - . which have their own rules.
        (rule(r"([ -\&\(-\+/:-@\[-`\{-\~])"), " $1 "),
        // A period or comma that no digit stands before, or behind.
        (rule(r"([^0-9])([.,])"), "$1 $2 "),
        (rule(r"([.,])([^0-9])"), " $1 $2"),
        // A hyphen behind a digit.
        (rule(r"([0-9])(-)"), "$1 $2 "),
    ]
});

fn mteval(line: &str) -> String {
    let apply =
        |line: String, (rule, to): &(Regex, &str)| rule.replace_all(&line, *to).into_owned();
    single_spaced(&RULES.iter().fold(line.to_string(), apply))
}

/// sacrebleu's ranges of Chinese characters. Two of them (extension B, and the supplement of
/// compatibility forms) are written there with four-digit escapes and so mean strings of two
/// characters; between these lie the last two ranges here, and no character above U+FFFF.
const CHINESE: [(char, char); 22] = [
    ('\u{3400}', '\u{4db5}'),
    ('\u{4e00}', '\u{9fa5}'),
    ('\u{9fa6}', '\u{9fbb}'),
    ('\u{f900}', '\u{fa2d}'),
    ('\u{fa30}', '\u{fa6a}'),
    ('\u{fa70}', '\u{fad9}'),
    ('\u{ff00}', '\u{ffef}'),
    ('\u{2e80}', '\u{2eff}'),
    ('\u{3000}', '\u{303f}'),
    ('\u{31c0}', '\u{31ef}'),
    ('\u{2f00}', '\u{2fdf}'),
    ('\u{2ff0}', '\u{2fff}'),
    ('\u{3100}', '\u{312f}'),
    ('\u{31a0}', '\u{31bf}'),
    ('\u{fe10}', '\u{fe1f}'),
    ('\u{fe30}', '\u{fe4f}'),
    ('\u{2600}', '\u{26ff}'),
    ('\u{2700}', '\u{27bf}'),
    ('\u{3200}', '\u{32ff}'),
    ('\u{3300}', '\u{33ff}'),
    ('\u{2001}', '\u{2a6d}'),
    ('\u{2f81}', '\u{2fa1}'),
];

fn chinese_apart(line: &str) -> String {
    let mut apart = String::with_capacity(2 * line.len());
    for c in line.chars() {
        if CHINESE
            .iter()
            .any(|&(first, last)| (first..=last).contains(&c))
        {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(tokenizer: BleuTokenizer, line: &str) -> String {
        tokenizer.tokenize(line).join(" ")
    }

    #[test]
    fn v13a_keeps_numbers_and_apostrophes_whole() {
        let line = "It's $3,000.50 (7-fold), &quot;really&quot;... e.g. 5.";
        assert_eq!(
            words(BleuTokenizer::V13a, line),
            "It's $ 3,000.50 ( 7 - fold ) , \" really \" . . . e . g . 5 ."
        );
    }

    #[test]
    fn zh_sets_characters_apart() {
        assert_eq!(
            words(BleuTokenizer::Zh, "我有3.5个Apple，真的."),
            "我 有 3.5 个 Apple ， 真 的 ."
        );
        // Only 13a pads the line, so that rules find a neighbour at its ends.
        assert_eq!(words(BleuTokenizer::Zh, " ,5 5. "), ",5 5.");
        assert_eq!(words(BleuTokenizer::V13a, " ,5 5. "), ", 5 5 .");
        // sacrebleu's slip: not above U+FFFF, and the long dash of U+2014 as if it were one.
        assert_eq!(words(BleuTokenizer::Zh, "a𠀀b—c"), "a𠀀b — c");
        assert_eq!(words(BleuTokenizer::Char, "a𠀀 b"), "a 𠀀 b");
    }
}
