//! `model import|export|pull|info`.

use crate::{PIPELINES, pipeline, print};
use panoply_core::{
    Error, ModelCard, ModelFolder, Result, RunContext, Task, guard,
    hub::{self, Hub},
};
use serde_json::json;
use std::path::Path;

/// The task that knows an architecture.
fn task_of_arch(arch: &str) -> Result<&'static dyn Task> {
    let tasks = || {
        PIPELINES
            .iter()
            .flat_map(|pipeline| pipeline.tasks.iter().copied())
    };
    let knows =
        |task: &&'static dyn Task| task.architectures().iter().any(|(name, _)| name == arch);
    tasks().find(knows).ok_or_else(|| {
        let known = tasks().flat_map(Task::architectures).map(|(name, _)| name);
        Error::unknown("architecture", arch, known)
    })
}

pub(crate) fn import(file: &Path, arch: &str, out: &Path) -> Result<()> {
    let task = task_of_arch(arch)?;
    print::check_folder(out)?;
    let files = [ModelFolder::CONFIG, ModelFolder::WEIGHTS, ModelFolder::CARD];
    if let Some(file) = files.iter().find(|file| out.join(file).exists()) {
        let what = format!("already holds a model ({file})");
        let location = format!("--out {}", out.display());
        return Err(Error::input(location, what, "a new folder"));
    }
    let card = guard("importing", || task.import(file, arch, out))?;
    print::line(&format!("wrote {}", out.display()))?;
    describe(&card)
}

pub(crate) fn export(model: &Path, format: &str, out: Option<&Path>) -> Result<()> {
    let folder = ModelFolder::open(model)?;
    let card = folder.card()?.ok_or_else(|| {
        Error::input(
            model.display().to_string(),
            format!("no {} in it", ModelFolder::CARD),
            "a folder that Panoply wrote",
        )
    })?;
    let task = pipeline(&card.pipeline)?.task(&card.task)?;
    let file = out.map_or_else(
        || folder.file(&format!("{format}.safetensors")),
        Path::to_path_buf,
    );
    let written = guard("exporting", || task.export(model, format, &file))?;
    print::line(&format!("wrote {}", written.display()))
}

pub(crate) fn pull(name: &str, offline: bool) -> Result<()> {
    let folder = Hub::from_env(offline)?.resolve(name, hub::COMPANIONS)?;
    print::line(&folder.display().to_string())
}

/// A folder, a bundled model, or a Hub model that has been fetched: `info` fetches nothing.
pub(crate) fn info(model: &str, json: bool) -> Result<()> {
    let tasks = || PIPELINES.iter().flat_map(|pipeline| pipeline.tasks.iter());
    let bundled = tasks().find(|task| task.default_model() == model);
    if bundled.is_none() && !model.contains('/') && !Path::new(model).exists() {
        let known = tasks().map(|task| task.default_model());
        return Err(Error::unknown("model", model, known.chain(["a folder"])));
    }
    let name = bundled.map_or("", |task| task.default_model());
    let folder = match (hub::find(model, name, hub::COMPANIONS, true)?, bundled) {
        (Some(folder), _) => folder,
        (None, None) => return Err(Error::input(model, "no model", "a folder or a name")),
        (None, Some(task)) => {
            let open = || task.open(model, &RunContext::cpu());
            let session = guard("opening the model", open)?;
            let card = session.card();
            return if json {
                print::line(&json!(card).to_string())
            } else {
                describe(card)
            };
        }
    };
    match folder.card()? {
        Some(card) if json => print::line(&json!(card).to_string()),
        Some(card) => describe(&card),
        None => print::line(&json!({ "config": folder.config()? }).to_string()),
    }
}

fn describe(card: &ModelCard) -> Result<()> {
    print::line(&format!("  task         {} / {}", card.pipeline, card.task))?;
    print::line(&format!("  architecture {}", card.arch))?;
    print::line(&format!(
        "  parameters   {} (size class {})",
        card.num_params, card.size_class
    ))?;
    print::line(&format!("  labels       {}", card.labels.len()))?;
    print::line(&format!("  licence      {}", card.licence))?;
    print::line(&format!("  origin       {}", card.origin))?;
    card.metrics
        .iter()
        .try_for_each(|(name, value)| print::line(&format!("  {name:<12} {value:.4}")))
}
