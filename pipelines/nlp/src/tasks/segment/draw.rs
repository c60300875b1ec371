//! The picture of an answer: the text with a box around each word (SVG).

use panoply_core::Artefact;
use std::fmt::Write as _;

/// Width of the picture and of one full-width character, height of a line, in pixels.
const WIDTH: usize = 720;
const EM: usize = 20;
const LINE: usize = 40;
/// Words that are drawn; the JSON has them all.
const MAX_WORDS: usize = 400;

/// The words in boxes, line by line; white space is a gap.
pub(super) fn words(words: &[&str], name: &str) -> Artefact {
    let (mut x, mut y, mut boxes) = (EM, EM, String::new());
    for word in words.iter().take(MAX_WORDS) {
        let width = word.chars().map(advance).sum::<usize>();
        if word.trim().is_empty() {
            x += width.min(EM);
            continue;
        }
        if x > EM && x + width + 12 > WIDTH - EM {
            (x, y) = (EM, y + LINE);
        }
        // Writing to a String cannot fail.
        let _ = write!(
            boxes,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"30\" rx=\"5\" fill=\"#dbeafe\" stroke=\"#2563eb\"/>\
             <text x=\"{mid}\" y=\"{base}\" text-anchor=\"middle\" fill=\"#111\">{text}</text>",
            w = width + 8,
            mid = x + width / 2 + 4,
            base = y + 21,
            text = escape(word),
        );
        x += width + 14;
    }
    let height = y + LINE + EM / 2;
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-size=\"18\" font-family=\"'Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{boxes}</svg>\n"
    );
    Artefact {
        file_name: format!("{}.svg", stem(name)),
        bytes: svg.into_bytes(),
    }
}

fn advance(c: char) -> usize {
    if c.is_ascii() { EM * 11 / 20 } else { EM }
}

/// `texts/a.txt:3` → `a.txt-3`: what may stand in a file name.
fn stem(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let safe = |c: char| {
        if c.is_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let stem: String = last.chars().map(safe).collect();
    if stem.trim_matches(['-', '.']).is_empty() {
        "text".into()
    } else {
        stem
    }
}

/// Markup as text; what XML does not allow becomes the replacement character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_box_and_is_escaped() {
        let art = words(&["甲乙", " ", "<&\u{0}"], "a/b.txt:3");
        let text = String::from_utf8(art.bytes).unwrap();
        assert_eq!(art.file_name, "b.txt-3.svg");
        assert_eq!(text.matches("rx=\"5\"").count(), 2);
        assert!(text.contains("甲乙</text>") && text.contains("&lt;&amp;\u{FFFD}</text>"));
    }

    #[test]
    fn a_long_text_wraps() {
        let art = words(&["中文"; 40], "-");
        let text = String::from_utf8(art.bytes).unwrap();
        assert_eq!(
            (art.file_name.as_str(), text.matches("x=\"20\"").count()),
            ("text.svg", 4)
        );
    }
}
