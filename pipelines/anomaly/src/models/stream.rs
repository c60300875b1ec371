//! Detectors that read a series row by row and remember a bounded part of it.

use panoply_core::{Error, Result};

/// Beyond it, squares and sums over a window overflow.
const MAX_VALUE: f64 = 1e150;

/// What a detector says of the newest row.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamScore {
    /// Higher for what is more abnormal: the largest of `columns`.
    pub score: f64,
    /// The score of each column by itself.
    pub columns: Vec<f64>,
}

impl StreamScore {
    /// Of one score a column.
    pub fn of(columns: Vec<f64>) -> Self {
        let score = columns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { score, columns }
    }
}

/// A detector over the values of one column.
///
/// Only what came before is looked at: a score never changes when later values come. Memory does not grow with the
/// length of the series.
pub trait ColumnStream: Send {
    /// Takes the next value and scores it; 0 while there are too few values to tell.
    fn push(&mut self, value: f64) -> f64;

    /// Forgets everything, at a gap.
    fn reset(&mut self);
}

/// One detector a column, and the rule that nothing is remembered across a gap.
pub struct SeriesStream {
    columns: Vec<Box<dyn ColumnStream>>,
    gap: Option<f64>,
    last: Option<i64>,
    steps: Steps,
}

impl SeriesStream {
    /// Of one stream a column; a step of more than `gap` times the usual one is a gap, `None` for never.
    pub fn new(columns: Vec<Box<dyn ColumnStream>>, gap: Option<f64>) -> Self {
        Self {
            columns,
            gap,
            last: None,
            steps: Steps::default(),
        }
    }

    /// Takes the row of time `stamp` (milliseconds since 1970). A row with a missing value (NaN) has no score and ends
    /// what can be remembered, as a gap does. `location` is for messages.
    ///
    /// # Errors
    /// Another number of values than columns; a value beyond 1e150; a time that is not after the one before it. Nothing
    /// is taken then.
    pub fn push(&mut self, location: &str, stamp: i64, row: &[f64]) -> Result<Option<StreamScore>> {
        if row.len() != self.columns.len() {
            let expected = format!("{}, one a column", self.columns.len());
            return Err(Error::input(
                location,
                format!("{} values", row.len()),
                expected,
            ));
        }
        if let Some(value) = row.iter().find(|value| value.abs() > MAX_VALUE) {
            let expected = format!("a magnitude of at most {MAX_VALUE:e}");
            return Err(Error::input(location, value.to_string(), expected));
        }
        if let Some(last) = self.last {
            if stamp <= last {
                let what = format!("a time {} ms before the last one", last.abs_diff(stamp));
                return Err(Error::input(location, what, "ascending times"));
            }
            let step = stamp.saturating_sub(last);
            if self.gap.is_some_and(|gap| self.steps.is_gap(step, gap)) {
                self.reset();
            }
            self.steps.push(step);
        }
        self.last = Some(stamp);
        if row.iter().any(|value| value.is_nan()) {
            self.reset();
            return Ok(None);
        }
        let scores = self
            .columns
            .iter_mut()
            .zip(row)
            .map(|(column, &value)| column.push(value));
        Ok(Some(StreamScore::of(scores.collect())))
    }

    fn reset(&mut self) {
        self.columns.iter_mut().for_each(|column| column.reset());
    }
}

/// The last steps between times.
#[derive(Default)]
struct Steps {
    recent: Vec<i64>,
    next: usize,
}

impl Steps {
    const MAX: usize = 64;

    fn push(&mut self, step: i64) {
        if self.recent.len() < Self::MAX {
            self.recent.push(step);
        } else {
            self.recent[self.next] = step;
            self.next = (self.next + 1) % Self::MAX;
        }
    }

    /// Whether `step` is more than `gap` times the median of the recent ones.
    fn is_gap(&self, step: i64, gap: f64) -> bool {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2);
        median.is_some_and(|&median| step as f64 > gap * median as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores a value by how many came before it.
    struct Count(usize);

    impl ColumnStream for Count {
        fn push(&mut self, _value: f64) -> f64 {
            self.0 += 1;
            (self.0 - 1) as f64
        }

        fn reset(&mut self) {
            self.0 = 0;
        }
    }

    #[test]
    fn nothing_is_remembered_across_a_gap_or_a_missing_value() {
        let mut stream = SeriesStream::new(vec![Box::new(Count(0))], Some(1.5));
        let mut scores = Vec::new();
        for (stamp, value) in [
            (0, 1.0),
            (10, 1.0),
            (20, 1.0),
            (50, 1.0),
            (60, f64::NAN),
            (70, 1.0),
            (80, 1.0),
        ] {
            scores.push(
                stream
                    .push("row", stamp, &[value])
                    .unwrap()
                    .map(|s| s.score),
            );
        }
        let expected = [
            Some(0.0),
            Some(1.0),
            Some(2.0),
            Some(0.0),
            None,
            Some(0.0),
            Some(1.0),
        ];
        assert_eq!(scores, expected);
    }

    #[test]
    fn wrong_rows_are_refused_and_leave_the_stream_as_it_was() {
        let mut stream = SeriesStream::new(vec![Box::new(Count(0))], None);
        stream.push("row", 5, &[1.0]).unwrap();
        assert!(stream.push("row", 5, &[1.0]).is_err());
        assert!(stream.push("row", 4, &[1.0]).is_err());
        assert!(stream.push("row", 6, &[f64::INFINITY]).is_err());
        assert!(stream.push("row", 6, &[1.0, 2.0]).is_err());
        assert_eq!(stream.push("row", 6, &[1.0]).unwrap().unwrap().score, 1.0);
    }
}
