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

/// A detector over whole rows.
pub trait RowStream: Send {
    /// Number of columns that a row has.
    fn num_columns(&self) -> usize;

    /// Takes the next rows and gives, for each, a score a column; 0 while there are too few rows to tell. No value is
    /// missing, and none lies beyond 1e150.
    ///
    /// # Errors
    /// What a network says.
    fn push(&mut self, rows: &[Vec<f64>]) -> Result<Vec<Vec<f64>>>;

    /// Forgets everything, at a gap.
    fn reset(&mut self);
}

/// One detector a column.
pub struct PerColumn(pub Vec<Box<dyn ColumnStream>>);

impl RowStream for PerColumn {
    fn num_columns(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, rows: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let columns = &mut self.0;
        let score = |row: &Vec<f64>| {
            let pairs = columns.iter_mut().zip(row);
            pairs.map(|(column, &value)| column.push(value)).collect()
        };
        Ok(rows.iter().map(score).collect())
    }

    fn reset(&mut self) {
        self.0.iter_mut().for_each(|column| column.reset());
    }
}

/// A detector, and the rule that nothing is remembered across a gap.
pub struct SeriesStream {
    rows: Box<dyn RowStream>,
    gap: Option<f64>,
    last: Option<i64>,
    steps: Steps,
}

impl SeriesStream {
    /// A step of more than `gap` times the usual one is a gap, `None` for never.
    pub fn new(rows: Box<dyn RowStream>, gap: Option<f64>) -> Self {
        Self {
            rows,
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
        let mut scores = self.push_all(location, &[stamp], &[row.to_vec()])?;
        Ok(scores.pop().flatten())
    }

    /// As [`push`](Self::push) for rows that are there already; what can be scored together is.
    ///
    /// # Errors
    /// As there; the stream is of no more use then.
    pub fn push_all(
        &mut self,
        location: &str,
        stamps: &[i64],
        rows: &[Vec<f64>],
    ) -> Result<Vec<Option<StreamScore>>> {
        let mut scores = Vec::with_capacity(rows.len());
        // Rows that nothing separates.
        let mut run: Vec<Vec<f64>> = Vec::new();
        for (&stamp, row) in stamps.iter().zip(rows) {
            self.check(location, stamp, row)?;
            if self.goes_on(stamp) && !row.iter().any(|value| value.is_nan()) {
                run.push(row.clone());
                continue;
            }
            self.flush(&mut run, &mut scores)?;
            self.rows.reset();
            if row.iter().any(|value| value.is_nan()) {
                scores.push(None);
            } else {
                run.push(row.clone());
            }
        }
        self.flush(&mut run, &mut scores)?;
        Ok(scores)
    }

    fn flush(
        &mut self,
        run: &mut Vec<Vec<f64>>,
        scores: &mut Vec<Option<StreamScore>>,
    ) -> Result<()> {
        let columns = self.rows.push(run)?;
        scores.extend(columns.into_iter().map(|c| Some(StreamScore::of(c))));
        run.clear();
        Ok(())
    }

    fn check(&self, location: &str, stamp: i64, row: &[f64]) -> Result<()> {
        let columns = self.rows.num_columns();
        if row.len() != columns {
            let what = format!("{} values", row.len());
            return Err(Error::input(
                location,
                what,
                format!("{columns}, one a column"),
            ));
        }
        if let Some(value) = row.iter().find(|value| value.abs() > MAX_VALUE) {
            let expected = format!("a magnitude of at most {MAX_VALUE:e}");
            return Err(Error::input(location, value.to_string(), expected));
        }
        if let Some(last) = self.last.filter(|&last| stamp <= last) {
            let what = format!("a time {} ms before the last one", last.abs_diff(stamp));
            return Err(Error::input(location, what, "ascending times"));
        }
        Ok(())
    }

    /// Takes the time of the next row; whether no gap lies before it.
    fn goes_on(&mut self, stamp: i64) -> bool {
        let last = self.last.replace(stamp);
        let Some(step) = last.map(|last| stamp.saturating_sub(last)) else {
            return true;
        };
        let is_gap = self.gap.is_some_and(|gap| self.steps.is_gap(step, gap));
        self.steps.push(step);
        !is_gap
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

    fn counting() -> Box<dyn RowStream> {
        Box::new(PerColumn(vec![Box::new(Count(0))]))
    }

    #[test]
    fn nothing_is_remembered_across_a_gap_or_a_missing_value() {
        let mut stream = SeriesStream::new(counting(), Some(1.5));
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
        let mut stream = SeriesStream::new(counting(), None);
        stream.push("row", 5, &[1.0]).unwrap();
        assert!(stream.push("row", 5, &[1.0]).is_err());
        assert!(stream.push("row", 4, &[1.0]).is_err());
        assert!(stream.push("row", 6, &[f64::INFINITY]).is_err());
        assert!(stream.push("row", 6, &[1.0, 2.0]).is_err());
        assert_eq!(stream.push("row", 6, &[1.0]).unwrap().unwrap().score, 1.0);
    }
}
