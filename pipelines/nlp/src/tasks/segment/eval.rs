//! Scores a segmenter on segmented text.

use super::{Segmenter, Settings, segmenter::word_list};
use panoply_core::{
    Artefact, Error, Evaluation, Predictor, Result, RunContext, plot,
    predictions::read_predictions, progress::Progress,
};
use panoply_datasets::{SegmentedText, Sentence, open_segmented_for_eval};
use panoply_metrics::{MetricError, SegmentationScorer, SegmentationScores};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Texts that are segmented together.
const CHUNK: usize = 64;
/// Rows of the table of errors.
const MAX_ERRORS: usize = 15;
/// Words of this many characters or more are one bar of the picture.
const LONGEST: usize = 5;

/// The metrics of one pass, as counts.
pub(super) struct Scores {
    scorer: SegmentationScorer,
    /// Words found and words, by length.
    by_length: BTreeMap<usize, (u64, u64)>,
    /// What should have been, what was, and how often.
    errors: BTreeMap<(String, String), usize>,
    seen: usize,
}

impl Scores {
    /// None yet; words outside `known` are unknown.
    fn new(known: &BTreeSet<String>) -> Self {
        Self {
            scorer: SegmentationScorer::new(known.iter().cloned()),
            by_length: BTreeMap::new(),
            errors: BTreeMap::new(),
            seen: 0,
        }
    }

    /// Segments each sentence from its bare text. Words outside the segmenter's list are unknown.
    pub(super) fn of(
        segmenter: &Segmenter,
        text: &SegmentedText,
        context: &RunContext,
        label: Option<&str>,
    ) -> Result<Self> {
        let mut progress = label.map_or_else(Progress::hidden, |label| {
            Progress::new(label, text.len() as u64)
        });
        let mut scores = Self::new(&segmenter.words);
        for chunk in text.sentences().chunks(CHUNK) {
            if context.interrupt.is_raised() {
                return Err(Error::Interrupted {
                    resume: "an evaluation keeps no state: run it again".into(),
                });
            }
            let texts: Vec<String> = chunk.iter().map(Sentence::text).collect();
            let answers =
                segmenter.postprocess(segmenter.forward(segmenter.preprocess(&texts)?)?)?;
            for (sentence, answer) in chunk.iter().zip(&answers) {
                scores
                    .add(&sentence.words, &answer.words)
                    .map_err(metric_error)?;
            }
            progress.advance(chunk.len() as u64, "");
        }
        progress.finish();
        Ok(scores)
    }

    fn add(&mut self, truth: &[String], found: &[String]) -> Result<(), MetricError> {
        self.scorer.update(&[truth], &[found])?;
        self.count(truth, found);
        self.seen += 1;
        Ok(())
    }

    fn count(&mut self, truth: &[String], found: &[String]) {
        let (mut t, mut f) = (0, 0);
        while t < truth.len() {
            let (from_t, from_f) = (t, f);
            // The shortest stretch that begins and ends with a bound of both.
            let (mut end_t, mut end_f) = (truth[t].len(), found[f].len());
            (t, f) = (t + 1, f + 1);
            while end_t != end_f {
                if end_t < end_f {
                    end_t += truth[t].len();
                    t += 1;
                } else {
                    end_f += found[f].len();
                    f += 1;
                }
            }
            let right = t - from_t == 1 && f - from_f == 1;
            for word in &truth[from_t..t] {
                let length = word.chars().count().min(LONGEST);
                let (hits, all) = self.by_length.entry(length).or_default();
                *hits += u64::from(right);
                *all += 1;
            }
            if !right {
                let pair = (truth[from_t..t].join(" "), found[from_f..f].join(" "));
                *self.errors.entry(pair).or_default() += 1;
            }
        }
    }

    fn scores(&self) -> Result<SegmentationScores> {
        self.scorer.scores().map_err(metric_error)
    }

    /// Headline metrics, in order.
    pub(super) fn metrics(&self) -> Result<Vec<(String, f64)>> {
        let scores = self.scores()?;
        let mut metrics = vec![
            ("f1", scores.f1),
            ("precision", scores.precision),
            ("recall", scores.recall),
            ("oov_rate", scores.oov_rate),
        ];
        metrics.extend(scores.oov_recall.map(|value| ("oov_recall", value)));
        metrics.extend(scores.iv_recall.map(|value| ("iv_recall", value)));
        let named = metrics.into_iter();
        Ok(named.map(|(name, value)| (name.into(), value)).collect())
    }

    /// Recall by kind of word, as bars.
    pub(super) fn picture(&self) -> Result<Artefact> {
        let scores = self.scores()?;
        let mut bars = vec![("all words".to_string(), scores.recall)];
        bars.extend(
            scores
                .iv_recall
                .map(|v| ("in the training words".into(), v)),
        );
        bars.extend(scores.oov_recall.map(|v| ("unknown words".into(), v)));
        for (&length, &(hits, all)) in &self.by_length {
            let name = match length {
                1 => "1 character".into(),
                LONGEST => format!("{length} characters or more"),
                _ => format!("{length} characters"),
            };
            bars.push((format!("{name} ({all})"), hits as f64 / all as f64));
        }
        Ok(Artefact {
            file_name: "recall-by-word.svg".into(),
            bytes: plot::bars("Recall by kind of word", &bars)?.into_bytes(),
        })
    }

    fn evaluation(&self) -> Result<Evaluation> {
        let metrics = self.metrics()?;
        let headline: Map<String, Value> = metrics
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let table = self.error_table();
        let error = |row: &Vec<String>| json!({ "count": row[1].parse::<usize>().ok(), "should_be": row[2], "was": row[3] });
        let errors: Vec<Value> = table[1..].iter().map(error).collect();
        Ok(Evaluation {
            num_samples: self.seen,
            json: json!({
                "num_samples": self.seen, "num_words": self.scores()?.num_words,
                "metrics": headline, "errors": errors,
            }),
            metrics,
            table,
            artefacts: vec![self.picture()?],
        })
    }

    /// The most frequent errors, the first row a header.
    fn error_table(&self) -> Vec<Vec<String>> {
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_by_key(|(pair, count)| (std::cmp::Reverse(**count), *pair));
        let header = ["", "count", "should be", "was"].map(String::from).to_vec();
        let row = |((truth, found), count): (&(String, String), &usize)| {
            vec![
                String::new(),
                count.to_string(),
                truth.clone(),
                found.clone(),
            ]
        };
        let rows = errors.into_iter().take(MAX_ERRORS).map(row);
        std::iter::once(header).chain(rows).collect()
    }
}

fn metric_error(error: MetricError) -> Error {
    Error::Internal {
        context: "scoring".into(),
        message: error.to_string(),
    }
}

/// Word precision, recall and F1, the rate of unknown words, recall of unknown and of known words,
/// and the most frequent errors on the test file of `data`, else its validation file, else its
/// training file.
pub(super) fn eval(segmenter: &Segmenter, data: &Path, context: &RunContext) -> Result<Evaluation> {
    let text = open_segmented_for_eval(data)?;
    Scores::of(segmenter, &text, context, Some("eval"))?.evaluation()
}

/// The same of a file with the words of each sentence, in order.
pub(super) fn score_predictions(
    predictions: &Path,
    data: &Path,
    settings: &Settings,
) -> Result<Evaluation> {
    #[derive(Deserialize)]
    struct Line {
        words: Vec<String>,
    }
    let list = settings.word_list.as_deref().ok_or_else(|| {
        let expected = "the words of the training data, which decide what is unknown";
        Error::input("--set word_list", "missing", expected)
    })?;
    let text = open_segmented_for_eval(data)?;
    let mut scores = Scores::new(&word_list(list)?);
    let mut lines = read_predictions(predictions)?;
    for sentence in text.sentences() {
        let line = lines.next().ok_or_else(|| {
            let what = format!("{} lines", scores.seen);
            let expected = format!("one for each of the {} sentences", text.len());
            Error::input(predictions.display().to_string(), what, expected)
        })??;
        let words = line.parse::<Line>("{\"words\": [...]}")?.words;
        scores.add(&sentence.words, &words).map_err(|e| {
            let expected = format!("the words of \"{}\"", sentence.text());
            Error::input(&line.location, e.to_string(), expected)
        })?;
    }
    if let Some(line) = lines.next() {
        let expected = format!("the end: there are {} sentences", text.len());
        return Err(Error::input(line?.location, "one more line", expected));
    }
    scores.evaluation()
}
