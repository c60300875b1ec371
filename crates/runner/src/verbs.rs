//! What each verb does.

use crate::{
    PIPELINES,
    cli::{EvalArgs, ExplainArgs, RunArgs, TrainArgs, Which, say},
    inputs::{self, Source, Sources},
    pipeline, print,
};
use panoply_core::{
    Error, ExplainRequest, InputKind, Output, Pieces, PredictOptions, Result, RunContext, Session,
    Task, TrainRequest, guard, hub::Hub, progress::Progress,
};
use serde_json::{Map, Value, json};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

/// Pictures of the bundled examples land here when no `--out` is given.
fn default_out(which: &Which, suffix: &str) -> PathBuf {
    Path::new("runs").join(format!("{}-{}{suffix}", which.pipeline, which.task))
}

fn find(which: &Which) -> Result<&'static dyn Task> {
    pipeline(&which.pipeline)?.task(&which.task)
}

pub(crate) fn list(json: bool) -> Result<()> {
    let mut rows = vec![vec![
        "pipeline".to_string(),
        "task".into(),
        "what it does".into(),
    ]];
    for pipeline in PIPELINES {
        for task in pipeline.tasks {
            if json {
                let line = json!({ "pipeline": pipeline.name, "task": task.name(), "about": task.about() });
                print::line(&line.to_string())?;
            }
            rows.push(vec![
                pipeline.name.into(),
                task.name().into(),
                task.about().into(),
            ]);
        }
    }
    if json { Ok(()) } else { print::table(&rows) }
}

pub(crate) fn info(name: &str, task: Option<&str>) -> Result<()> {
    let pipeline = pipeline(name)?;
    let tasks = match task {
        Some(task) => vec![pipeline.task(task)?],
        None => pipeline.tasks.to_vec(),
    };
    print::line(&format!("{}: {}", pipeline.name, pipeline.about))?;
    for task in tasks {
        info_of_task(task)?;
    }
    Ok(())
}

fn info_of_task(task: &dyn Task) -> Result<()> {
    print::line(&format!("\n{}: {}", task.name(), task.about()))?;
    print::line(&format!("  default model: {}", default_model(task)?))?;
    if !task.recipes().is_empty() {
        print::line("  recipes (train --recipe):")?;
    }
    for recipe in task.recipes() {
        print::line(&format!("    {:<14} {}", recipe.name, recipe.about))?;
    }
    if let Some(settings) = task.settings().as_object().filter(|s| !s.is_empty()) {
        print::line("  settings (run, eval and explain --set):")?;
        for (key, default) in settings {
            print::line(&format!("    {key}={default}"))?;
        }
    }
    if !task.explain_methods().is_empty() {
        print::line(&format!(
            "  explain --method: {}",
            task.explain_methods().join(", ")
        ))?;
    }
    if task.architectures().is_empty() {
        return Ok(());
    }
    print::line("  architectures (model import --arch):")?;
    let mut rows = vec![vec![
        String::new(),
        "arch".into(),
        "parameters".into(),
        "size class".into(),
    ]];
    for (arch, params) in task.architectures() {
        let class = panoply_core::SizeClass::of(params);
        rows.push(vec![
            String::new(),
            arch,
            params.to_string(),
            class.to_string(),
        ]);
    }
    print::table(&rows)
}

/// The default model with what its card says, if it is on this machine: `info` fetches nothing.
fn default_model(task: &dyn Task) -> Result<String> {
    let name = task.default_model();
    let opened = guard("opening the default model", || {
        task.open(name, &RunContext::cpu())
    });
    match opened {
        Ok(session) => {
            let card = session.card();
            Ok(format!(
                "{name} ({}, {} parameters, size class {}, licence {})",
                card.arch, card.num_params, card.size_class, card.licence
            ))
        }
        Err(e) if e.exit_code() == 2 && Hub::is_name(name) => Ok(format!(
            "{name} (not on this machine; fetched when first used)"
        )),
        Err(e) => Err(e),
    }
}

/// Answers that are kept for the table over all of them; beyond these nobody reads it.
const OVERVIEW: usize = 64;

pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let task = find(&args.which)?;
    let examples = args.inputs.is_empty() && args.text.is_empty();
    let mut sources = if examples {
        Sources::ready(task.input_kind(), task.examples())
    } else {
        inputs::expand(task.input_kind(), &args.inputs, &args.text)?
    };
    // The first command of the README shows a picture; a folder of photos draws only when asked to.
    let out = args
        .out
        .clone()
        .or_else(|| (examples && !args.json).then(|| default_out(&args.which, "")));
    out.as_deref().map_or(Ok(()), print::check_folder)?;
    let context = args.place.context(args.settings.of(task)?)?;
    let model = args.model.as_deref().unwrap_or(task.default_model());
    let mut session = guard("opening the model", || task.open(model, &context))?;
    let options = PredictOptions {
        batch: args.batch as usize,
        raw: args.raw,
        artefacts: out.is_some(),
        pieces: None,
    };
    if session.streams() && !args.json && std::io::stdout().is_terminal() {
        return stream(session.as_mut(), sources, options, &context);
    }

    let mut failures = Failures::default();
    let mut taken = Vec::new();
    // Texts and rows are small: a session that sees many can put those of one length together.
    let many = match task.input_kind() {
        _ if session.is_sequential() => 1,
        InputKind::Text | InputKind::Row => 16 * options.batch,
        InputKind::Image | InputKind::Audio | InputKind::Table => options.batch,
    };
    let mut progress = match sources.known_len() {
        Some(len) if len <= many => Progress::hidden(),
        Some(len) => Progress::new("predict", len as u64),
        None => Progress::counting("predict"),
    };
    let mut answered = Vec::new();
    loop {
        let chunk: Vec<_> = sources.by_ref().take(many).collect();
        if chunk.is_empty() {
            break;
        }
        let len = chunk.len() as u64;
        if context.interrupt.is_raised() {
            progress.finish();
            return Err(Error::Interrupted {
                resume: "run again with the inputs that are left".into(),
            });
        }
        let (names, ready) = read(chunk, &mut failures);
        for (name, answer) in names.iter().zip(session.predict(&ready, &options)) {
            match answer {
                Ok(output) => {
                    show(name, &output, args.json, out.as_deref(), &mut taken)?;
                    if !args.json && answered.len() < OVERVIEW {
                        answered.push((name.clone(), output));
                    }
                }
                Err(e) => failures.add(e),
            }
        }
        progress.advance(len, "");
    }
    progress.finish();
    print::table(&task.overview(&answered))?;
    failures.into_result()
}

/// Answers one input after the other, each shown while it is being made: for a person who watches.
fn stream(
    session: &mut dyn Session,
    sources: Sources,
    mut options: PredictOptions,
    context: &RunContext,
) -> Result<()> {
    options.pieces = Some(Pieces::new(print::piece));
    let mut failures = Failures::default();
    for source in sources {
        let (names, ready) = read(vec![source], &mut failures);
        for name in &names {
            print::line(name)?;
        }
        for answer in session.predict(&ready, &options) {
            print::line("")?;
            match answer {
                Err(e @ Error::Interrupted { .. }) => return Err(e),
                Err(e) => failures.add(e),
                Ok(output) => output
                    .raw
                    .map_or(Ok(()), |raw| print::line(&raw.to_string()))?,
            }
        }
        if context.interrupt.is_raised() {
            break;
        }
    }
    failures.into_result()
}

/// Reads a chunk; what cannot be read is reported and left out.
fn read(
    chunk: Vec<Result<Source>>,
    failures: &mut Failures,
) -> (Vec<String>, Vec<panoply_core::Input>) {
    let mut names = Vec::new();
    let mut ready = Vec::new();
    for source in chunk {
        let named = source.and_then(|source| Ok((source.name(), source.read()?)));
        match named {
            Ok((name, input)) => {
                names.push(name);
                ready.push(input);
            }
            Err(e) => failures.add(e),
        }
    }
    (names, ready)
}

fn show(
    name: &str,
    output: &Output,
    json: bool,
    out: Option<&Path>,
    taken: &mut Vec<PathBuf>,
) -> Result<()> {
    let written = match out {
        Some(folder) => print::artefacts(folder, &output.artefacts, taken)?,
        None => Vec::new(),
    };
    if json {
        return print::line(&output.to_line(name).to_string());
    }
    print::line(name)?;
    print::shades(&output.shades)?;
    print::table(&output.table)?;
    for path in written {
        print::line(&format!("  wrote {}", path.display()))?;
    }
    Ok(())
}

/// Errors of single inputs: each is one line; the worst decides the exit code, the others go on.
#[derive(Default)]
struct Failures(Vec<Error>);

impl Failures {
    fn add(&mut self, error: Error) {
        if let Some(earlier) = self.0.last() {
            say(&format!("error: {earlier}").replace('\n', "; "));
        }
        self.0.push(error);
    }

    /// The last error goes up and is printed there, unless an earlier one weighs more.
    fn into_result(mut self) -> Result<()> {
        let Some(last) = self.0.pop() else {
            return Ok(());
        };
        let ours = self.0.iter().any(|e| e.exit_code() == 1);
        if ours && last.exit_code() != 1 {
            return Err(Error::Internal {
                context: "an earlier input".into(),
                message: last.to_string(),
            });
        }
        Err(last)
    }
}

pub(crate) fn train(args: &TrainArgs) -> Result<()> {
    let task = find(&args.which)?;
    let request = train_request(args, task)?;
    let context = args.place.context(Value::Null)?;
    let outcome = guard("training", || task.train(&request, &context))?;
    let metrics: Map<String, Value> = outcome
        .metrics
        .iter()
        .map(|(k, v)| (k.clone(), json!(v)))
        .collect();
    if args.json {
        let line = json!({ "model": outcome.model, "report": outcome.report, "metrics": metrics });
        return print::line(&line.to_string());
    }
    for (name, value) in &outcome.metrics {
        print::line(&format!("  {name:<20} {value:.4}"))?;
    }
    print::line(&format!("  model   {}", outcome.model.display()))?;
    print::line(&format!("  report  {}", outcome.report.display()))
}

/// What the arguments ask for. A run that goes on needs to be told nothing again; what is said
/// anyway is added to what its folder remembers.
fn train_request(args: &TrainArgs, task: &dyn Task) -> Result<TrainRequest> {
    let before = match &args.resume {
        Some(dir) => TrainRequest::of_run(dir)?,
        None => None,
    };
    let first = task.recipes().first().map(|recipe| recipe.name.to_string());
    let remembered = before.as_ref().map(|request| request.recipe.clone());
    let recipe = args.recipe.clone().or(remembered).or(first);
    let recipe = recipe.unwrap_or_default();
    if !task.recipes().iter().any(|known| known.name == recipe) {
        let known = task.recipes().iter().map(|r| r.name);
        return Err(Error::unknown("recipe", &recipe, known));
    }
    let out = args.resume.clone().or_else(|| args.out.clone());
    let out = out.unwrap_or_else(|| default_out(&args.which, &format!("-{recipe}")));
    let before = before.unwrap_or(TrainRequest {
        recipe: recipe.clone(),
        sets: Vec::new(),
        data: None,
        model: None,
        out: out.clone(),
        resume: args.resume.is_some(),
        accept_data_issues: false,
    });
    Ok(TrainRequest {
        recipe,
        sets: [before.sets, args.sets.clone()].concat(),
        data: args.data.clone().or(before.data),
        model: args.model.clone().or(before.model),
        out,
        resume: before.resume,
        accept_data_issues: args.accept_data_issues || before.accept_data_issues,
    })
}

pub(crate) fn eval(args: &EvalArgs) -> Result<()> {
    let task = find(&args.which)?;
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| default_out(&args.which, "-eval"));
    print::check_folder(&folder)?;
    let context = args.place.context(args.settings.of(task)?)?;
    let model = args.model.as_deref().unwrap_or(task.default_model());
    let found = guard("evaluating", || match &args.metrics_only {
        Some(file) => task.score_predictions(file, &args.data, &context),
        None => task.eval(model, &args.data, args.batch as usize, &context),
    })?;
    let scored = match &args.metrics_only {
        Some(file) => file.display().to_string(),
        None => model.into(),
    };
    let written = print::artefacts(&folder, &found.artefacts, &mut Vec::new())?;
    if args.json {
        return print::line(&found.json.to_string());
    }
    print::line(&format!(
        "{scored} on {} ({} samples)",
        args.data.display(),
        found.num_samples
    ))?;
    for (name, value) in &found.metrics {
        print::line(&format!("  {name:<20} {value:.4}"))?;
    }
    print::table(&found.table)?;
    written
        .iter()
        .try_for_each(|path| print::line(&format!("  wrote {}", path.display())))
}

pub(crate) fn explain(args: &ExplainArgs) -> Result<()> {
    let task = find(&args.which)?;
    let known = task.explain_methods();
    let methods: Vec<&str> = match args.method.as_deref() {
        Some(method) if known.contains(&method) => vec![method],
        Some(method) => {
            return Err(Error::unknown(
                "explain method",
                method,
                known.iter().copied(),
            ));
        }
        None => known.to_vec(),
    };
    let sources = if args.inputs.is_empty() {
        Sources::ready(task.input_kind(), task.examples().into_iter().take(1))
    } else {
        inputs::expand(task.input_kind(), &args.inputs, &[])?
    };
    let context = args.place.context(args.settings.of(task)?)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| default_out(&args.which, "-explain"));
    print::check_folder(&out)?;
    let mut taken = Vec::new();
    for source in sources {
        let source = source?;
        for method in &methods {
            let request = ExplainRequest {
                model: args.model.clone(),
                method: (*method).into(),
                input: source.read()?,
                target: args.target,
            };
            let output = guard("explaining", || task.explain(&request, &context))?;
            show(&source.name(), &output, args.json, Some(&out), &mut taken)?;
        }
    }
    Ok(())
}

pub(crate) fn data_list(json: bool) -> Result<()> {
    let mut rows = vec![
        ["file", "bytes", "licence", "origin"]
            .map(String::from)
            .to_vec(),
    ];
    for entry in panoply_datasets::bundled::manifest()? {
        if json {
            print::line(&json!(entry).to_string())?;
        }
        rows.push(vec![
            entry.file,
            entry.bytes.to_string(),
            entry.licence,
            entry.origin,
        ]);
    }
    if json { Ok(()) } else { print::table(&rows) }
}

pub(crate) fn data_check(which: &Which, data: &Path, json: bool) -> Result<()> {
    let task = find(which)?;
    let found = guard("checking data", || {
        task.check_data(data, &RunContext::cpu())
    })?;
    if json {
        print::line(&found.output.json.to_string())?;
    } else {
        print::table(&found.output.table)?;
    }
    found.refusal.map_or(Ok(()), Err)
}
