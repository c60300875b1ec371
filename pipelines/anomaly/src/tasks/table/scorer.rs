//! A loaded model: encoder, detector, calibration.

use super::{
    detectors::{DetectorConfig, DetectorName},
    recipe::Recipe,
};
use crate::{
    models::{Detector, NormalOnly},
    threshold::{Calibration, ProbabilityMethod},
};
use panoply_core::{
    Error, ModelCard, ModelFolder, Predictor, Result, RunContext, hub, seed, weights::Arrays,
};
use panoply_datasets::{
    bundled,
    frame::{Encoder, Frame, Matrix, TableOptions},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Name of the model that is fitted when it is opened: ECOD over the bundled cell samples.
pub const BUNDLED: &str = "breastw-ecod";

/// Name of the file beside the weights with threshold, calibration scores and known rows.
const CALIBRATION: &str = "calibration.safetensors";

/// Rows that stand for what is usual in explanations.
const NUM_BACKGROUND: usize = 32;

/// What `--set` of `run`, `eval` and `explain` can change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Say what each column adds to a score.
    pub contributions: bool,
    /// Another threshold than the model's.
    pub threshold: Option<f64>,
    /// How scores become numbers from 0 to 1; `null` for the model's way.
    pub probability: Option<ProbabilityMethod>,
    /// `explain`: sets of columns that kernel SHAP looks at where there are more than ten columns.
    pub num_sets: usize,
    /// `eval --metrics-only`: how the table of labels is read.
    pub table: TableOptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            contributions: true,
            threshold: None,
            probability: None,
            num_sets: 2048,
            table: TableOptions::default(),
        }
    }
}

/// `config.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ScorerConfig {
    /// The detector's name, as `architecture` of other models.
    pub(super) architecture: DetectorName,
    pub(super) detector: DetectorConfig,
    pub(super) probability: ProbabilityMethod,
    /// How the table was read.
    pub(super) table: TableOptions,
}

/// What stands for the usual in explanations.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Background {
    /// Encoded normal rows.
    pub(super) rows: Matrix,
    /// The median of each number of the encoded normal rows.
    pub(super) middle: Vec<f64>,
}

impl Background {
    pub(super) fn of(normal: &NormalOnly<Matrix>, seed: u64) -> Self {
        /// Keeps these draws apart from other uses of the seed.
        const STREAM: u64 = 0xB4C6;
        let normal = normal.get();
        let mut order: Vec<usize> = (0..normal.len()).collect();
        order.sort_by_key(|&row| seed::derive(&[seed, STREAM, row as u64]));
        order.truncate(NUM_BACKGROUND);
        let middle = |column: usize| {
            let mut values: Vec<f64> = normal.column(column).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            rows: normal.select(&order),
            middle: (0..normal.width()).map(middle).collect(),
        }
    }
}

/// Scores rows of a table.
pub struct Scorer {
    pub(super) config: ScorerConfig,
    pub(super) encoder: Encoder,
    pub(super) detector: Box<dyn Detector>,
    pub(super) calibration: Calibration,
    pub(super) background: Background,
    pub(super) card: ModelCard,
    pub(super) settings: Settings,
}

/// What a scorer says of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Higher is more abnormal; the scale is the detector's.
    pub score: f64,
    /// A score above it is an anomaly.
    pub threshold: f64,
    /// Whether it is.
    pub is_anomaly: bool,
    /// The score from 0 to 1.
    pub probability: f64,
    /// The conformal p-value.
    pub p_value: f64,
    /// What each column adds, in the order of the table; empty where the settings say so.
    pub contributions: Vec<(String, f64)>,
}

/// The card of a model of `config` with `num_params` numbers.
pub(super) fn card(config: &DetectorConfig, num_params: usize, origin: &str) -> ModelCard {
    let labels = ["normal", "anomaly"].map(String::from).to_vec();
    let names = ["anomaly", "table", config.name.word()];
    ModelCard {
        labels,
        ..ModelCard::new(names, num_params, "unknown", origin)
    }
}

impl Scorer {
    /// Opens a model folder, the bundled model, or a Hub name.
    ///
    /// # Errors
    /// A name that is nothing of that, files that do not fit each other.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let settings: Settings = context.settings()?;
        if settings
            .threshold
            .is_some_and(|threshold| !threshold.is_finite())
        {
            return Err(Error::input("--set threshold", "not finite", "a number"));
        }
        let files = [ModelFolder::PREPROCESSOR, ModelFolder::CARD, CALIBRATION];
        let mut scorer = match hub::find(model, BUNDLED, &files, context.offline)? {
            None => Self::bundled()?,
            Some(folder) => Self::from_folder(&folder, context)?,
        };
        if let Some(threshold) = settings.threshold {
            scorer.calibration.threshold = threshold;
        }
        scorer.settings = settings;
        Ok(scorer)
    }

    /// ECOD over the bundled table, fitted here and now: sorting nine columns is faster than reading a file.
    fn bundled() -> Result<Self> {
        let recipe = Recipe::debug();
        let frame = bundled::breastw()?;
        let encoder = Encoder::fit(&frame, &recipe.encode)?;
        let labels = frame.is_anomaly().unwrap_or_default();
        let normal = NormalOnly::of_labelled(&encoder.encode(&frame)?, &labels)?;
        let detector = DetectorConfig {
            name: DetectorName::Ecod,
            ..DetectorConfig::default()
        };
        let fit = detector.fit(&normal, recipe.fit.seed)?;
        let threshold = recipe.threshold.find(&fit.scores, None)?;
        let origin = "fitted to the bundled cell samples (Breast Cancer Wisconsin, UCI)";
        let card = ModelCard {
            licence: "CC-BY-4.0".into(),
            data_sha256: Some(frame.digest()),
            ..card(&detector, fit.detector.num_params(), origin)
        };
        Ok(Self {
            background: Background::of(&normal, recipe.fit.seed),
            config: ScorerConfig {
                architecture: detector.name,
                detector,
                probability: recipe.probability,
                table: recipe.data.table,
            },
            encoder,
            calibration: Calibration::new(threshold, &fit.scores)?,
            detector: fit.detector,
            card,
            settings: Settings::default(),
        })
    }

    /// Reads a model folder.
    ///
    /// # Errors
    /// Missing files, files that do not fit each other.
    pub fn from_folder(folder: &ModelFolder, context: &RunContext) -> Result<Self> {
        let location = folder.path().display().to_string();
        let missing = |name: &str| {
            let what = format!("no {name} in it");
            Error::input(&location, what, "a model folder of `anomaly table`")
        };
        let config = folder.read_json::<ScorerConfig>(ModelFolder::CONFIG)?;
        let config = config.ok_or_else(|| missing(ModelFolder::CONFIG))?;
        let encoder = folder.read_json::<Encoder>(ModelFolder::PREPROCESSOR)?;
        let encoder = encoder.ok_or_else(|| missing(ModelFolder::PREPROCESSOR))?;
        let width = encoder.width();
        let detector = config
            .detector
            .load(&folder.weights()?, width, &context.device)?;
        if detector.width() != width {
            let what = format!("a detector of {} numbers a row", detector.width());
            return Err(Error::input(
                &location,
                what,
                format!("{width}, as the encoder makes"),
            ));
        }
        let mut arrays = Arrays::load(&folder.file(CALIBRATION))?;
        let calibration = Calibration::take(&mut arrays)?;
        let ([_, _], rows) = arrays.take::<f64, 2>("background.rows")?;
        let middle = arrays.take_shaped("background.middle", [width])?;
        arrays.finish()?;
        let fallback = || card(&config.detector, detector.num_params(), "unknown");
        Ok(Self {
            card: folder.card()?.unwrap_or_else(fallback),
            background: Background {
                rows: Matrix::new(rows, width)?,
                middle,
            },
            config,
            encoder,
            detector,
            calibration,
            settings: Settings::default(),
        })
    }

    /// Writes a model folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: &Path) -> Result<ModelFolder> {
        let folder = ModelFolder::create(path)?;
        self.detector.save(&folder.file(ModelFolder::WEIGHTS))?;
        let mut arrays = Arrays::default();
        self.calibration.put(&mut arrays);
        let Background { rows, middle } = &self.background;
        arrays.put(
            "background.rows",
            [rows.len(), rows.width()],
            rows.values().to_vec(),
        );
        arrays.put("background.middle", [middle.len()], middle.clone());
        arrays.save(&folder.file(CALIBRATION))?;
        folder.write_json(ModelFolder::PREPROCESSOR, &self.encoder)?;
        folder.write_json(ModelFolder::CARD, &self.card)?;
        folder.write_json(ModelFolder::CONFIG, &self.config)?;
        Ok(folder)
    }

    /// What the model says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Names of the columns.
    pub fn columns(&self) -> Vec<String> {
        self.encoder.columns()
    }

    /// Scores of encoded rows.
    pub(super) fn score(&self, rows: &Matrix) -> Result<Vec<f64>> {
        let scores = self.detector.score(rows)?;
        if scores.iter().all(|score| score.is_finite()) {
            return Ok(scores);
        }
        let expected = "values of the size of those that the detector was fitted to";
        Err(Error::input("scores", "not finite", expected))
    }

    /// Scores of the rows of a table.
    ///
    /// # Errors
    /// A table with other columns than the model's.
    pub fn score_frame(&self, frame: &Frame) -> Result<Vec<f64>> {
        self.score(&self.encoder.encode(frame)?)
    }

    /// What each column adds to the score of an encoded row: the detector's own sum where it has one, else how much the
    /// score falls if the column's numbers become those in the middle of the normal rows.
    pub(super) fn contributions(&self, row: &[f64], score: f64) -> Result<Vec<f64>> {
        let owners = self.encoder.owners();
        let count = self.encoder.columns().len();
        if let Some(parts) = self.detector.contributions(row)? {
            let mut sums = vec![0.0; count];
            for (part, &owner) in parts.iter().zip(&owners) {
                sums[owner] += part;
            }
            return Ok(sums);
        }
        let without = |column: usize| {
            let each = row.iter().zip(&self.background.middle).zip(&owners);
            let number = |((&own, &middle), &owner)| if owner == column { middle } else { own };
            each.map(number).collect::<Vec<f64>>()
        };
        let rows: Vec<Vec<f64>> = (0..count).map(without).collect();
        let scores = self.score(&Matrix::from_rows(&rows)?)?;
        Ok(scores.into_iter().map(|other| score - other).collect())
    }

    pub(super) fn say(&self, row: &[f64], score: f64) -> Result<Scored> {
        let method = self.settings.probability.unwrap_or(self.config.probability);
        let contributions = if self.settings.contributions {
            let values = self.contributions(row, score)?;
            self.encoder.columns().into_iter().zip(values).collect()
        } else {
            Vec::new()
        };
        Ok(Scored {
            score,
            threshold: self.calibration.threshold,
            is_anomaly: self.calibration.is_anomaly(score),
            probability: self.calibration.probability(score, method),
            p_value: self.calibration.p_value(score),
            contributions,
        })
    }
}

/// One encoded row; `location` is for messages.
pub(super) fn encode_row(encoder: &Encoder, row: &Value, location: &str) -> Result<Vec<f64>> {
    let Value::Object(row) = row else {
        let expected = "a JSON object by the names of the columns";
        return Err(Error::input(location, "no object", expected));
    };
    let encoded = encoder.encode_row(row, location)?;
    finite(&encoded, location)?;
    Ok(encoded)
}

/// Refuses numbers whose squares overflow.
fn finite(row: &[f64], location: &str) -> Result<()> {
    const LARGEST: f64 = 1e30;
    match row.iter().find(|value| value.abs() > LARGEST) {
        None => Ok(()),
        Some(value) => {
            let what = format!("a value that is scaled to {value:e}");
            let expected = "values of the size of those that the detector was fitted to";
            Err(Error::input(location, what, expected))
        }
    }
}

impl Predictor for Scorer {
    type Input = Map<String, Value>;
    type Batch = Matrix;
    type Raw = (Matrix, Vec<f64>);
    type Output = Scored;

    fn preprocess(&self, inputs: &[Self::Input]) -> Result<Matrix> {
        let encode = |(number, row): (usize, &Self::Input)| {
            encode_row(
                &self.encoder,
                &Value::Object(row.clone()),
                &format!("row {number}"),
            )
        };
        let rows: Vec<Vec<f64>> = inputs
            .iter()
            .enumerate()
            .map(encode)
            .collect::<Result<_>>()?;
        Matrix::from_rows(&rows)
    }

    fn forward(&self, batch: Matrix) -> Result<(Matrix, Vec<f64>)> {
        let scores = self.score(&batch)?;
        Ok((batch, scores))
    }

    fn postprocess(&self, (rows, scores): (Matrix, Vec<f64>)) -> Result<Vec<Scored>> {
        let each = rows.rows().zip(scores);
        each.map(|(row, score)| self.say(row, score)).collect()
    }

    fn batch_size(&self) -> usize {
        1024
    }
}
