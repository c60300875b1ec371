//! Text as Python's `str` methods take it, for the metrics whose references are Python programs.

/// Python's `str.isspace`: Unicode `White_Space`, and the four ASCII separators that Python adds.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Python's `str.split()`: the runs between whitespace, none of them empty.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The runs of [`split`] with one space between.
pub(crate) fn single_spaced(text: &str) -> String {
    split(text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_sees_the_ascii_separators_as_space() {
        let words: Vec<&str> = split("\u{3000}a\u{1f}b\u{a0}\u{1c} c\n").collect();
        assert_eq!(words, ["a", "b", "c"]);
        assert_eq!(split(" \t").count(), 0);
        // A zero-width space is no space to Python either.
        assert_eq!(single_spaced("  x\u{200b}y  z "), "x\u{200b}y z");
    }
}
