//! The grammar, and the way from an error to an exit code.

use crate::{model, verbs};
use clap::{Args, Parser, Subcommand, error::ErrorKind};
use panoply_core::{
    Error, Result, RunContext, Task, device, guard, progress::Interrupt, recipe::apply_sets,
};
use serde_json::Value;
use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// One neural engine, six domains: run, train, evaluate and explain published models.
#[derive(Parser, Debug)]
#[command(name = "panoply", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List pipelines and tasks.
    List {
        /// One JSON line a task.
        #[arg(long)]
        json: bool,
    },
    /// Say what a pipeline or task offers: recipes, models, parameter count, size class.
    Info {
        /// Pipeline.
        pipeline: String,
        /// Task; all of the pipeline's if left out.
        task: Option<String>,
    },
    /// Predict on files, folders, globs, standard input, or the bundled examples.
    Run(RunArgs),
    /// Train by a recipe.
    Train(TrainArgs),
    /// Score a model on labelled data.
    Eval(EvalArgs),
    /// Draw why a model answered as it did.
    Explain(ExplainArgs),
    /// Bundled data, and the data gate.
    #[command(subcommand)]
    Data(DataVerb),
    /// Import, export, fetch and describe models.
    #[command(subcommand)]
    Model(ModelVerb),
}

/// Which task.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Pipeline (see `list`).
    pub(crate) pipeline: String,
    /// Task (see `list`).
    pub(crate) task: String,
}

/// Where to compute.
#[derive(Args, Debug)]
pub(crate) struct Where {
    /// auto, cpu, cuda[:n] or wgpu.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Never open a network connection.
    #[arg(long)]
    offline: bool,
}

impl Where {
    pub(crate) fn context(&self, settings: Value) -> Result<RunContext> {
        Ok(RunContext {
            device: device::select(&self.device)?,
            interrupt: Interrupt::on_ctrl_c()?,
            offline: self.offline,
            settings,
        })
    }
}

/// What a task can be told beside its model.
#[derive(Args, Debug)]
pub(crate) struct Settings {
    /// Change one of the task's settings (see `info`): KEY.KEY=VALUE; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl Settings {
    /// The task's settings after the edits; `null` without any.
    pub(crate) fn of(&self, task: &dyn Task) -> Result<Value> {
        if self.sets.is_empty() {
            return Ok(Value::Null);
        }
        apply_sets(task.settings(), &self.sets)
    }
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Files, folders, globs, or `-` for standard input; the bundled examples if left out.
    pub(crate) inputs: Vec<String>,
    /// Text to predict on, for text tasks; may be repeated.
    #[arg(long)]
    pub(crate) text: Vec<String>,
    /// Model folder, bundled name, or Hub name (owner/name[@revision]).
    #[arg(long)]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) place: Where,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Inputs a forward pass takes together.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: u32,
    /// One JSON line an input.
    #[arg(long)]
    pub(crate) json: bool,
    /// With --json: the model's outputs in full precision.
    #[arg(long, requires = "json")]
    pub(crate) raw: bool,
    /// Folder for pictures and files.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Recipe (see `info`); the first one if left out.
    #[arg(long)]
    pub(crate) recipe: Option<String>,
    /// Data set, if the recipe takes one.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Model to start from.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Run folder to make; runs/<pipeline>-<task>-<recipe> if left out.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) out: Option<PathBuf>,
    /// Run folder to go on with.
    #[arg(long)]
    pub(crate) resume: Option<PathBuf>,
    /// Edit the recipe: KEY.KEY=VALUE; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Train although the data gate found errors.
    #[arg(long)]
    pub(crate) accept_data_issues: bool,
    #[command(flatten)]
    pub(crate) place: Where,
    /// Print the outcome as one JSON line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Model folder, bundled name, or Hub name.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Labelled data.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Score the predictions in this file (what `run --json` prints) instead of a model's.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "batch"])]
    pub(crate) metrics_only: Option<PathBuf>,
    /// Inputs a forward pass takes together.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: u32,
    #[command(flatten)]
    pub(crate) place: Where,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for pictures; runs/<pipeline>-<task>-eval if left out.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Files, folders or globs; the bundled examples if left out.
    pub(crate) inputs: Vec<String>,
    /// Method (see `info`); every one if left out.
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Class index to explain; the predicted one if left out.
    #[arg(long)]
    pub(crate) target: Option<usize>,
    /// Model folder, bundled name, or Hub name.
    #[arg(long)]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) place: Where,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// One JSON line a picture.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the pictures; runs/<pipeline>-<task>-explain if left out.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum DataVerb {
    /// List the bundled data: origin, licence, size.
    List {
        /// One JSON line a file.
        #[arg(long)]
        json: bool,
    },
    /// Run the data gate on a data set.
    Check {
        #[command(flatten)]
        which: Which,
        /// The data set.
        data: PathBuf,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum ModelVerb {
    /// Make a model folder out of a published checkpoint file.
    Import {
        /// The checkpoint (.safetensors, .pt, .pth, .bin, a sharded index, or a format of the architecture's own).
        file: PathBuf,
        /// Architecture (see `info`).
        #[arg(long)]
        arch: String,
        /// Folder to make.
        #[arg(long)]
        out: PathBuf,
    },
    /// Write a model folder's weights in a published layout.
    Export {
        /// Model folder.
        model: PathBuf,
        /// Layout: torchvision, or the one the architecture was published in.
        #[arg(long)]
        format: String,
        /// File to write; <format>.safetensors in the folder if left out.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Fetch a Hub model into the cache and print its folder.
    Pull {
        /// owner/name[@revision].
        name: String,
        /// Never open a network connection.
        #[arg(long)]
        offline: bool,
    },
    /// Learn tokenizers.
    #[cfg(feature = "nlp")]
    #[command(subcommand)]
    Tokenizer(crate::tokenizer::TokenizerVerb),
    /// Describe a model.
    Info {
        /// Model folder, bundled name, or name of a fetched Hub model.
        model: String,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Parses `args`, runs the verb and returns the process's exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PANOPLY_LOG")
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("error,panoply=warn"));
    // A second call in one process (tests) finds a subscriber in place: that one serves.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log file wants no colours.
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    // A panic is an error like others: `guard` makes it one line; its backtrace is for a developer.
    std::panic::set_hook(Box::new(|info| {
        tracing::debug!("{info}\n{}", std::backtrace::Backtrace::capture());
    }));
    match guard("panoply", || dispatch(cli.verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    match verb {
        Verb::List { json } => verbs::list(json),
        Verb::Info { pipeline, task } => verbs::info(&pipeline, task.as_deref()),
        Verb::Run(args) => verbs::run(&args),
        Verb::Train(args) => verbs::train(&args),
        Verb::Eval(args) => verbs::eval(&args),
        Verb::Explain(args) => verbs::explain(&args),
        Verb::Data(DataVerb::List { json }) => verbs::data_list(json),
        Verb::Data(DataVerb::Check { which, data, json }) => verbs::data_check(&which, &data, json),
        Verb::Model(ModelVerb::Import { file, arch, out }) => model::import(&file, &arch, &out),
        Verb::Model(ModelVerb::Export { model, format, out }) => {
            model::export(&model, &format, out.as_deref())
        }
        Verb::Model(ModelVerb::Pull { name, offline }) => model::pull(&name, offline),
        #[cfg(feature = "nlp")]
        Verb::Model(ModelVerb::Tokenizer(crate::tokenizer::TokenizerVerb::Train(args))) => {
            crate::tokenizer::train(&args)
        }
        Verb::Model(ModelVerb::Info { model, json }) => model::info(&model, json),
    }
}

/// Help goes out as it is; a usage error as one line.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.render().to_string();
            let parts: Vec<&str> = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect();
            say(&parts.join("; "));
            ExitCode::from(2)
        }
    }
}

fn fail(error: &Error) -> ExitCode {
    if let Error::Io { source, .. } = error
        && source.kind() == std::io::ErrorKind::BrokenPipe
    {
        return ExitCode::SUCCESS; // `panoply … | head`
    }
    say(&format!("error: {error}").replace('\n', "; "));
    ExitCode::from(error.exit_code())
}

/// One line on stderr; a closed stderr changes nothing.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
