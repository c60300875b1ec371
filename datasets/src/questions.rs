//! Questions with their answers in a text: the JSON files of SQuAD 1.1 (Rajpurkar et al., 2016) and 2.0
//! (Rajpurkar et al., 2018), plain or gzipped.

use crate::{Error, Result, Splits, files, hex};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// An answer, as a stretch of its paragraph.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// The words.
    pub text: String,
    /// The first character in the paragraph, in Unicode characters.
    #[serde(rename = "answer_start")]
    pub start: usize,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its name in the data set.
    pub id: String,
    /// Title of the article that it is about.
    pub title: Arc<str>,
    /// The paragraph that holds the answer.
    pub context: Arc<str>,
    /// The question.
    pub question: String,
    /// Accepted answers, the first of which is trained on; empty where there is none.
    pub answers: Vec<Answer>,
    /// Whether the data set says that the paragraph does not hold an answer (SQuAD 2.0).
    pub is_impossible: bool,
}

impl Question {
    /// The stretch `[start, end)` of the first answer, in Unicode characters, if its text stands there.
    pub fn span(&self) -> Option<(usize, usize)> {
        self.answers.first().and_then(|answer| self.place(answer))
    }

    /// Where an answer stands, if it stands where it says.
    pub(crate) fn place(&self, answer: &Answer) -> Option<(usize, usize)> {
        let (from, _) = self.context.char_indices().nth(answer.start)?;
        let fits = !answer.text.is_empty() && self.context[from..].starts_with(&answer.text);
        fits.then(|| (answer.start, answer.start + answer.text.chars().count()))
    }
}

/// The layout of a SQuAD file.
#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    #[serde(default)]
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    id: String,
    question: String,
    #[serde(default)]
    answers: Vec<Answer>,
    #[serde(default)]
    is_impossible: bool,
}

/// Questions of one file, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionSet {
    location: String,
    questions: Vec<Question>,
}

impl QuestionSet {
    /// Reads a SQuAD file; one that begins as gzip does is unpacked.
    ///
    /// # Errors
    /// The file cannot be read or unpacked, is no such JSON, or holds no question.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_json(&path.display().to_string(), &files::read(path)?)
    }

    /// The same from memory; `location` is for messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_json(location: &str, bytes: &[u8]) -> Result<Self> {
        let expected =
            "a SQuAD file: {\"data\": [{\"title\", \"paragraphs\": [{\"context\", \"qas\"}]}]}";
        let bytes = files::unpack(location, bytes)?;
        let file: File = serde_json::from_slice(files::without_bom(&bytes))
            .map_err(|e| Error::input(location, e.to_string(), expected))?;
        let mut questions = Vec::new();
        for article in file.data {
            let title: Arc<str> = article.title.into();
            for paragraph in article.paragraphs {
                let context: Arc<str> = paragraph.context.into();
                questions.extend(paragraph.qas.into_iter().map(|asked| Question {
                    id: asked.id,
                    title: title.clone(),
                    context: context.clone(),
                    question: asked.question,
                    answers: asked.answers,
                    is_impossible: asked.is_impossible,
                }));
            }
        }
        if questions.is_empty() {
            return Err(Error::input(location, "no question", expected));
        }
        Ok(Self {
            location: location.into(),
            questions,
        })
    }

    /// Where it was read from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The questions, in the order of the file.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// Number of questions.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// What to call a question in messages.
    pub fn name(&self, row: usize) -> String {
        format!("{}, question {}", self.location, self.questions[row].id)
    }

    /// Titles of the articles, in the order of their characters.
    pub fn titles(&self) -> BTreeSet<&str> {
        self.questions.iter().map(|q| &*q.title).collect()
    }

    /// Whether some question has no answer, as in SQuAD 2.0.
    pub fn has_impossible(&self) -> bool {
        self.questions.iter().any(|q| q.is_impossible)
    }

    /// SHA-256 over all of it, in hexadecimal: which data a model has seen.
    pub fn digest(&self) -> String {
        let mut sum = Sha256::new();
        // Each text with its length before it: no two sets give the same stream.
        let mut add = |text: &str| {
            sum.update((text.len() as u64).to_le_bytes());
            sum.update(text);
        };
        for question in &self.questions {
            add(&question.context);
            add(&question.question);
            for answer in &question.answers {
                add(&answer.text);
                add(&answer.start.to_string());
            }
        }
        hex(&sum.finalize())
    }

    /// Without some questions.
    #[must_use]
    pub fn without(&self, rows: &[usize]) -> Self {
        let dropped: BTreeSet<&usize> = rows.iter().collect();
        self.select(|row, _| !dropped.contains(&row))
    }

    fn select(&self, wanted: impl Fn(usize, &Question) -> bool) -> Self {
        let rows = self.questions.iter().enumerate();
        let kept = rows.filter(|(row, question)| wanted(*row, question));
        Self {
            location: self.location.clone(),
            questions: kept.map(|(_, question)| question.clone()).collect(),
        }
    }

    /// Holds out whole articles, so that no paragraph is on both sides: of the titles in the order of
    /// their characters the last `fraction`, rounded up. No seed is involved: everybody gets the same
    /// articles.
    ///
    /// # Errors
    /// `fraction` outside (0, 1), or fewer than two articles.
    pub fn holdout(&self, fraction: f64) -> Result<(Self, Self)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            let expected = "a fraction between 0 and 1, both excluded";
            return Err(Error::input("holdout", fraction.to_string(), expected));
        }
        let titles = self.titles();
        if titles.len() < 2 {
            let what = format!("{} article(s), by title", titles.len());
            let expected = "at least two, or a file for validation";
            return Err(Error::input(&self.location, what, expected));
        }
        let held = ((titles.len() as f64 * fraction).ceil() as usize).min(titles.len() - 1);
        let held: BTreeSet<&str> = titles.into_iter().rev().take(held).collect();
        let is_held = |question: &Question| held.contains(&*question.title);
        Ok((
            self.select(|_, question| !is_held(question)),
            self.select(|_, question| is_held(question)),
        ))
    }
}

/// Extensions of SQuAD files, without `.gz`.
const EXTENSIONS: [&str; 1] = ["json"];

/// Opens a training file, or a folder with a file for each split (`train-v1.1.json`,
/// `dev-v1.1.json.gz`, `test.json`: one of the parts of its name is a name of a split). Without a
/// validation file `holdout` of the training articles are held out ([`QuestionSet::holdout`]).
///
/// # Errors
/// No training file, two files of one split, or a file that cannot be read.
pub fn open_question_splits(path: &Path, holdout: f64) -> Result<Splits<QuestionSet>> {
    let held = |train: QuestionSet| train.holdout(holdout);
    files::open_splits(path, &EXTENSIONS, |_| false, QuestionSet::open, held)
}

/// Opens a file, or of a folder the test file, else the validation file, else the training file.
///
/// # Errors
/// As [`open_question_splits`].
pub fn open_questions_for_eval(path: &Path) -> Result<QuestionSet> {
    QuestionSet::open(&files::for_eval(path, &EXTENSIONS, |_| false)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn article(title: &str, answers: &Value) -> Value {
        json!({"title": title, "paragraphs": [{
            "context": format!("Ünïcode 🦀 in {title}."),
            "qas": [{"id": format!("{title}-1"), "question": "What?", "answers": answers}],
        }]})
    }

    fn file(articles: &[Value]) -> String {
        json!({"version": "1.1", "data": articles}).to_string()
    }

    #[test]
    fn offsets_count_characters() {
        let answers =
            json!([{"text": "🦀 in", "answer_start": 8}, {"text": "in", "answer_start": 9}]);
        let set =
            QuestionSet::from_json("here", file(&[article("A", &answers)]).as_bytes()).unwrap();
        let question = &set.questions()[0];
        assert_eq!(question.span(), Some((8, 12)));
        assert_eq!(question.place(&question.answers[1]), None);
        let beyond = Answer {
            text: "x".into(),
            start: usize::MAX,
        };
        assert_eq!(question.place(&beyond), None);
        assert_eq!(set.name(0), "here, question A-1");
    }

    #[test]
    fn articles_are_held_out_whole_by_title() {
        let articles: Vec<Value> = ["C", "A", "D", "B"]
            .iter()
            .map(|t| article(t, &json!([])))
            .collect();
        let set = QuestionSet::from_json("here", file(&articles).as_bytes()).unwrap();
        let (train, valid) = set.holdout(0.3).unwrap();
        assert_eq!(train.titles().into_iter().collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(valid.titles().into_iter().collect::<Vec<_>>(), ["C", "D"]);
        assert_eq!(set.holdout(0.99).unwrap().0.titles().len(), 1);
        assert_ne!(train.digest(), valid.digest());
        assert!(set.holdout(1.0).is_err());
        assert!(train.without(&[0]).holdout(0.5).is_err());
    }

    #[test]
    fn damage_is_an_error_with_its_place() {
        let refuse = |text: &str| {
            QuestionSet::from_json("here", text.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert!(refuse("{").contains("line 1"));
        assert!(refuse("{\"data\": []}").contains("no question"));
        assert!(refuse("{\"data\": [{\"paragraphs\": [{\"qas\": []}]}]}").contains("context"));
        let negative = json!([{"text": "a", "answer_start": -1}]);
        assert!(refuse(&file(&[article("A", &negative)])).contains("-1"));
        assert!(refuse("{\"data\": \"\\ud800\"}").contains("here"));
    }

    #[test]
    fn a_folder_holds_splits() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, titles: &[&str]| {
            let articles: Vec<Value> = titles.iter().map(|t| article(t, &json!([]))).collect();
            std::fs::write(dir.path().join(name), file(&articles)).unwrap();
        };
        write("train-v1.1.json", &["A", "B"]);
        let splits = open_question_splits(dir.path(), 0.1).unwrap();
        assert_eq!((splits.train.len(), splits.valid.len()), (1, 1));
        write("dev-v1.1.json", &["C"]);
        let splits = open_question_splits(dir.path(), 0.1).unwrap();
        assert_eq!((splits.train.len(), splits.valid.len()), (2, 1));
        assert!(splits.test.is_none());
        assert!(
            open_questions_for_eval(dir.path())
                .unwrap()
                .titles()
                .contains("C")
        );
        assert!(!splits.train.has_impossible());
    }
}
