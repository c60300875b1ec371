//! What every training takes and leaves behind.

use crate::{
    Artefact, Error, Result,
    fit::{History, Metrics, Run},
    model_folder::{write_atomic, write_json},
    report::Report,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::Instant,
};

/// `train …`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainRequest {
    /// Recipe name.
    pub recipe: String,
    /// `a.b=v` edits of the recipe.
    pub sets: Vec<String>,
    /// Data set, if the recipe needs or allows another than its own.
    pub data: Option<PathBuf>,
    /// Model folder to start from.
    pub model: Option<String>,
    /// Run folder to make.
    #[serde(skip)]
    pub out: PathBuf,
    /// Run folder to go on with.
    #[serde(skip)]
    pub resume: bool,
    /// Train although the data gate found errors.
    pub accept_data_issues: bool,
}

impl TrainRequest {
    /// In the run folder: what was asked for, so that the run can go on without being told again.
    pub const FILE: &str = "request.json";

    /// The run that this request asks for, before any work is done: looks at the run folder as
    /// [`Run::check`] does and, if it is new, leaves [`FILE`](Self::FILE) in it. `recipe` is the
    /// whole config after `--set`.
    ///
    /// # Errors
    /// A folder that holds a run already, or none to resume; one that cannot be written.
    pub fn begin(&self, recipe: &impl Serialize) -> Result<Run> {
        let recipe = serde_json::to_value(recipe).unwrap_or(Value::Null);
        let run = Run {
            dir: self.out.clone(),
            resume: self.resume,
            recipe,
        };
        run.check()?;
        if !self.resume {
            write_json(&self.out.join(Self::FILE), &self.with_absolute_paths())?;
        }
        Ok(run)
    }

    /// With paths that mean the same from any working directory.
    fn with_absolute_paths(&self) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        let model = self.model.as_ref().map(|model| {
            if Path::new(model).exists() {
                absolute(Path::new(model)).display().to_string()
            } else {
                model.clone()
            }
        });
        Self {
            data: self.data.as_deref().map(absolute),
            model,
            ..self.clone()
        }
    }

    /// The request that made the run in `dir`, to go on with it; `None` where it left none.
    ///
    /// # Errors
    /// A request that cannot be read.
    pub fn of_run(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(Self::FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let request: Self = serde_json::from_str(&text).map_err(|e| {
            let expected = "the request.json of a training";
            Error::input(path.display().to_string(), e.to_string(), expected)
        })?;
        Ok(Some(Self {
            out: dir.into(),
            resume: true,
            ..request
        }))
    }
}

/// What a training run left behind.
#[derive(Clone, Debug)]
pub struct TrainOutcome {
    /// The model folder with the best weights.
    pub model: PathBuf,
    /// The HTML report.
    pub report: PathBuf,
    /// Final metrics on what the model was scored on, in the order of the report.
    pub metrics: Vec<(String, f64)>,
    /// Training loss of each optimiser step.
    pub losses: Vec<f64>,
}

/// Metrics under the name of the part that they were measured on: `test_accuracy`.
pub fn measured_on(split: impl Display, metrics: Metrics) -> Metrics {
    let named = |(name, value)| (format!("{split}_{name}"), value);
    metrics.into_iter().map(named).collect()
}

/// What is known when a run ends, beside the stages of its report.
#[derive(Clone, Debug)]
pub struct Conclusion<'a> {
    /// When the training began.
    pub started: Instant,
    /// Seconds that reading and checking the data took.
    pub gate_secs: f64,
    /// Final metrics; see [`measured_on`].
    pub metrics: Metrics,
    /// Pictures (SVG) for the report and the run folder.
    pub pictures: Vec<Artefact>,
    /// The model folder.
    pub model: &'a Path,
    /// The run.
    pub history: &'a History,
}

impl Conclusion<'_> {
    /// Writes pictures and report into the run folder `out`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(self, mut page: Report, out: &Path) -> Result<TrainOutcome> {
        page.metrics.clone_from(&self.metrics);
        for picture in &self.pictures {
            write_atomic(&out.join(&picture.file_name), &picture.bytes)?;
            let svg = String::from_utf8_lossy(&picture.bytes);
            page.figures.push(svg.into_owned());
        }
        let parts = &mut page.timing.part_secs;
        parts.push(("data gate".into(), self.gate_secs));
        page.timing.total_secs = self.started.elapsed().as_secs_f64();
        Ok(TrainOutcome {
            model: self.model.into(),
            report: page.write(out)?,
            metrics: self.metrics,
            losses: self.history.losses.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_can_go_on_without_being_told_again() {
        let dir = tempfile::tempdir().unwrap();
        let request = TrainRequest {
            recipe: "base".into(),
            sets: vec!["fit.epochs=2".into()],
            data: Some("some/where".into()),
            model: Some("owner/name".into()),
            out: dir.path().join("run"),
            resume: false,
            accept_data_issues: true,
        };
        assert_eq!(TrainRequest::of_run(&request.out).unwrap(), None);
        request.begin(&1).unwrap();

        let again = TrainRequest::of_run(&request.out).unwrap().unwrap();
        assert!(again.resume && again.data.as_ref().unwrap().is_absolute());
        let expected = TrainRequest {
            resume: true,
            data: again.data.clone(),
            ..request.clone()
        };
        assert_eq!(again, expected);

        // Nothing to go on with yet: an error, and the request stays as it is.
        assert!(again.begin(&1).is_err());
        std::fs::write(request.out.join(TrainRequest::FILE), "{").unwrap();
        assert!(TrainRequest::of_run(&request.out).is_err());
    }
}
