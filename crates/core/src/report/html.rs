//! The report as one page: no script, no font, no other file.
//!
//! `let _ = writeln!(…)`: writing to a `String` cannot fail.

use super::{Curves, DataStage, EpochRow, NetworkStage, OptimiserStage, Report};
use crate::{
    Result,
    plot::{Series, bars, escape, grouped, line_chart, number},
};
use serde_json::Value;
use std::fmt::Write;

/// Rows of a table that are shown unfolded.
const UNFOLDED: usize = 24;
/// Classes that get a bar each; more are only counted.
const MAX_BARS: usize = 100;
/// Steps from which on the loss is also drawn as a running mean.
const SMOOTHED_FROM: usize = 100;

/// The whole page.
pub(super) fn page(report: &Report) -> Result<String> {
    let title = title(report);
    let sections = [
        section(1, "Data", data(&report.data)?),
        section(2, "Network", network(&report.network)),
        section(3, "Forward pass", forward(report)),
        section(4, "Activations", activations(report)),
        section(5, "Loss", loss(report)),
        section(6, "Optimiser", optimiser(&report.optimiser)),
        section(7, "Training and validation", training(report)?),
    ]
    .concat();
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{} · Panoply</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}{sections}{}</main>\n</body>\n</html>\n",
        escape(&title),
        include_str!("style.css"),
        head(report, &title),
        how(report),
    ))
}

fn title(report: &Report) -> String {
    match (report.run.pipeline.as_str(), report.run.task.as_str()) {
        ("", "") => "Training report".into(),
        (pipeline, task) => format!("{pipeline} / {task}"),
    }
}

fn head(report: &Report, title: &str) -> String {
    let run = &report.run;
    let mut words = vec![report.network.arch.clone()];
    if !run.recipe.is_empty() {
        words.push(format!("recipe {}", run.recipe));
    }
    words.extend([format!("seed {}", run.seed), run.device.clone()]);
    words.retain(|word| !word.is_empty());
    let mut tiles = String::new();
    for (name, value) in report.metrics.iter().take(4) {
        tiles += &tile(name, &number(*value));
    }
    if report.network.num_params > 0 {
        tiles += &tile("parameters", &grouped(report.network.num_params as u64));
    }
    if let Some(class) = report.network.size_class {
        tiles += &tile("size class", &class.to_string());
    }
    tiles += &tile("time", &duration(report.timing.total_secs));
    if let Some(bytes) = report.timing.peak_memory_bytes {
        tiles += &tile(
            "peak memory",
            &format!("{:.0} MiB", bytes as f64 / 1_048_576.0),
        );
    }
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"muted\">{}</p>\n</header>\n<div class=\"tiles\">{tiles}</div>\n",
        escape(title),
        escape(&words.join(" · "))
    )
}

fn data(data: &DataStage) -> Result<String> {
    let mut html = facts(&[("source", &data.source), ("sha256", &data.sha256)]);
    if !data.splits.is_empty() {
        let rows = data.splits.iter().map(|split| {
            let classes = match split.classes.len() {
                0 => "–".to_string(),
                n => grouped(n as u64),
            };
            vec![
                split.name.clone(),
                grouped(split.num_samples as u64),
                classes,
            ]
        });
        html += &table(&["split", "# samples", "# classes"], rows);
    }
    let gate = &data.gate;
    if gate.num_errors + gate.num_warnings == 0 {
        html += "<p>The data gate found nothing wrong.</p>\n";
    } else {
        let class = if gate.num_errors > 0 { "bad" } else { "muted" };
        let (errors, warnings) = (gate.num_errors, gate.num_warnings);
        let _ = writeln!(
            html,
            "<p class=\"{class}\">Data gate: {errors} error(s), {warnings} warning(s).</p>"
        );
    }
    if !gate.findings.is_empty() {
        let items = gate
            .findings
            .iter()
            .map(|line| format!("<li>{}</li>", escape(line)));
        let _ = writeln!(html, "<ul>{}</ul>", items.collect::<String>());
    }
    if let Some(split) = data
        .splits
        .first()
        .filter(|s| (1..=MAX_BARS).contains(&s.classes.len()))
    {
        let counts: Vec<_> = split
            .classes
            .iter()
            .map(|(c, n)| (c.clone(), *n as f64))
            .collect();
        let picture = figure(&bars(
            &format!("Samples per class ({})", split.name),
            &counts,
        )?);
        html += &folded("classes", counts.len(), &picture);
    }
    Ok(html)
}

fn network(network: &NetworkStage) -> String {
    let size = network
        .size_class
        .map(|class| class.to_string())
        .unwrap_or_default();
    let mut html = facts(&[
        ("architecture", &network.arch),
        ("parameters", &grouped(network.num_params as u64)),
        ("trainable", &grouped(network.num_trainable as u64)),
        ("size class", &size),
    ]);
    let rows = network.layers.iter().map(|row| {
        let count = grouped(row.num_params as u64);
        vec![
            row.path.clone(),
            row.kind.clone(),
            row.shapes.join(", "),
            count,
        ]
    });
    let layers = table(&["layer", "type", "parameters", "# count"], rows);
    html += &folded("layers", network.layers.len(), &layers);
    html
}

fn forward(report: &Report) -> String {
    let rows = report
        .forward
        .iter()
        .map(|row| vec![row.stage.clone(), format!("{:?}", row.shape)]);
    folded(
        "stages",
        report.forward.len(),
        &table(&["stage", "output shape"], rows),
    )
}

fn activations(report: &Report) -> String {
    let rows = report.activations.iter().map(|row| {
        let mut cells = vec![row.stage.clone()];
        cells.extend([row.mean, row.std, row.min, row.max].map(number));
        cells.push(format!("{:.1} %", 100.0 * row.zeros));
        cells.push(grouped(row.non_finite as u64));
        cells
    });
    let headers = [
        "stage",
        "# mean",
        "# std",
        "# min",
        "# max",
        "# zeros",
        "# not finite",
    ];
    folded("stages", report.activations.len(), &table(&headers, rows))
}

fn loss(report: &Report) -> String {
    let loss = &report.loss;
    let has_steps = !report.training.train_loss.is_empty();
    let step = |value: f64| {
        if has_steps {
            number(value)
        } else {
            String::new()
        }
    };
    let facts = facts(&[
        ("loss", &loss.name),
        ("first step", &step(loss.first)),
        ("last step", &step(loss.last)),
    ]);
    match loss.formula.as_str() {
        "" => facts,
        formula => format!("{facts}<pre>{}</pre>\n", escape(formula)),
    }
}

fn optimiser(stage: &OptimiserStage) -> String {
    let mut html = facts(&[("optimiser", &stage.name)]);
    html += &settings("settings", &stage.config);
    html += &settings("schedule", &stage.schedule);
    if !stage.groups.is_empty() {
        let rows = stage.groups.iter().map(|group| {
            vec![
                group.name.clone(),
                grouped(group.num_tensors as u64),
                grouped(group.num_params as u64),
                number(group.weight_decay),
                number(group.lr_factor),
            ]
        });
        html += "<h3>parameter groups</h3>\n";
        let head = [
            "group",
            "# tensors",
            "# parameters",
            "# weight decay",
            "# learning rate factor",
        ];
        html += &table(&head, rows);
    }
    html
}

fn training(report: &Report) -> Result<String> {
    let curves = &report.training;
    let mut html = String::new();
    if !curves.train_loss.is_empty() {
        html += &figure(&loss_chart(curves)?);
    }
    for (title, unit, points) in [
        ("Learning rate", "lr", &curves.learning_rate),
        ("Gradient norm before clipping", "norm", &curves.grad_norm),
    ] {
        if !points.is_empty() {
            let series = [Series::new(title.to_lowercase(), points.clone())];
            html += &figure(&line_chart(title, "optimiser step", unit, &series)?);
        }
    }
    for name in metric_names(&curves.epochs) {
        html += &figure(&epoch_chart(&name, &curves.epochs)?);
    }
    for svg in &report.figures {
        html += &figure(svg);
    }
    html += &folded("epochs", curves.epochs.len(), &epoch_table(report));
    if !report.metrics.is_empty() {
        let rows = report
            .metrics
            .iter()
            .map(|(name, value)| vec![name.clone(), number(*value)]);
        html += "<h3>final metrics</h3>\n";
        html += &table(&["metric", "# value"], rows);
    }
    Ok(html)
}

fn loss_chart(curves: &Curves) -> Result<String> {
    let mut series = vec![Series::new("each step", curves.train_loss.clone())];
    if curves.train_loss.len() >= SMOOTHED_FROM {
        let window = curves.train_loss.len() / 50;
        series.push(Series::new(
            format!("mean of {window} steps"),
            running_mean(&curves.train_loss, window),
        ));
    }
    line_chart("Training loss", "optimiser step", "loss", &series)
}

/// Mean of each point and the `window - 1` before it.
fn running_mean(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let mean = |part: &[(f64, f64)]| part.iter().map(|p| p.1).sum::<f64>() / part.len() as f64;
    points
        .windows(window)
        .map(|part| (part[part.len() - 1].0, mean(part)))
        .collect()
}

/// Names of the epochs' metrics, in the order in which they first appear.
fn metric_names(epochs: &[EpochRow]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in epochs
        .iter()
        .flat_map(|row| row.train.iter().chain(&row.valid))
    {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn epoch_chart(name: &str, epochs: &[EpochRow]) -> Result<String> {
    let series: Vec<Series> = [("training", false), ("validation", true)]
        .into_iter()
        .map(|(label, valid)| {
            let points = epochs.iter().filter_map(|row| {
                let pairs = if valid { &row.valid } else { &row.train };
                let found = pairs.iter().find(|(candidate, _)| candidate == name)?;
                Some((row.epoch as f64, found.1))
            });
            Series::new(label, points.collect())
        })
        .filter(|series| !series.points.is_empty())
        .collect();
    line_chart(&format!("Epochs: {name}"), "epoch", name, &series)
}

fn epoch_table(report: &Report) -> String {
    let epochs = &report.training.epochs;
    let names = metric_names(epochs);
    let mut headers = vec!["# epoch".to_string()];
    for name in &names {
        headers.extend([
            format!("# {name}, training"),
            format!("# {name}, validation"),
        ]);
    }
    headers.push("# seconds".into());
    let value = |pairs: &[(String, f64)], name: &str| {
        let found = pairs.iter().find(|(candidate, _)| candidate == name);
        found.map_or("–".to_string(), |(_, value)| number(*value))
    };
    let rows = epochs.iter().enumerate().map(|(index, row)| {
        let mut cells = vec![row.epoch.to_string()];
        for name in &names {
            cells.extend([value(&row.train, name), value(&row.valid, name)]);
        }
        let seconds = report.timing.epoch_secs.get(index);
        cells.push(seconds.map_or("–".into(), |secs| format!("{secs:.1}")));
        cells
    });
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    table(&headers, rows)
}

/// How to run it again, and what it ran on.
fn how(report: &Report) -> String {
    let run = &report.run;
    let mut html = String::from("<section>\n<h2>How it was run</h2>\n");
    if !run.command.is_empty() {
        let _ = writeln!(html, "<pre>{}</pre>", escape(&run.command.join(" ")));
    }
    let mut rows = vec![
        ("seed", run.seed.to_string()),
        ("device", run.device.clone()),
    ];
    rows.extend(
        run.versions
            .iter()
            .map(|(name, version)| (name.as_str(), version.clone())),
    );
    for (name, secs) in &report.timing.part_secs {
        rows.push((name, duration(*secs)));
    }
    if let Some(rate) = report.timing.samples_per_sec {
        rows.push(("speed", format!("{} samples/s", number(rate))));
    }
    let rows: Vec<(&str, &str)> = rows.iter().map(|(k, v)| (*k, v.as_str())).collect();
    html += &facts(&rows);
    html += &settings("recipe", &run.config);
    html + "</section>\n<footer>The same numbers are in report.json beside this page.</footer>\n"
}

fn section(number: usize, name: &str, body: String) -> String {
    let body = if body.is_empty() {
        "<p class=\"muted\">This run has none.</p>\n".into()
    } else {
        body
    };
    format!("<section>\n<h2><b>{number}</b>{name}</h2>\n{body}</section>\n")
}

fn tile(name: &str, value: &str) -> String {
    format!(
        "<div class=\"tile\"><span>{}</span><strong>{}</strong></div>",
        escape(name),
        escape(value)
    )
}

/// A definition list of what is not empty.
fn facts(rows: &[(&str, &str)]) -> String {
    let row = |(name, value): &(&str, &str)| {
        format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value))
    };
    let rows: String = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(row)
        .collect();
    if rows.is_empty() {
        rows
    } else {
        format!("<dl>{rows}</dl>\n")
    }
}

/// A table; a header that begins with `# ` makes a column of numbers.
fn table(headers: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let class = |index: usize| {
        if headers.get(index).is_some_and(|h| h.starts_with("# ")) {
            " class=\"n\""
        } else {
            ""
        }
    };
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = String>| -> String {
        let cell = |(index, text): (usize, String)| {
            format!("<{tag}{}>{}</{tag}>", class(index), escape(&text))
        };
        cells.enumerate().map(cell).collect()
    };
    let names = headers
        .iter()
        .map(|h| h.strip_prefix("# ").unwrap_or(h).to_string());
    let mut html = format!(
        "<div class=\"scroll\"><table><tr>{}</tr>\n",
        cells("th", &mut names.into_iter())
    );
    for row in rows {
        let _ = writeln!(html, "<tr>{}</tr>", cells("td", &mut row.into_iter()));
    }
    html + "</table></div>\n"
}

/// `body`, behind a click if it has many rows; nothing if it has none.
fn folded(what: &str, rows: usize, body: &str) -> String {
    match rows {
        0 => String::new(),
        1..=UNFOLDED => body.to_string(),
        _ => format!("<details><summary>{rows} {what}</summary>\n{body}</details>\n"),
    }
}

fn settings(name: &str, value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    // Pretty-printing a `Value` cannot fail; its compact form would do as well.
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    format!(
        "<details><summary>{name}</summary><pre>{}</pre></details>\n",
        escape(&text)
    )
}

fn figure(svg: &str) -> String {
    format!("<figure>{svg}</figure>\n")
}

/// `0.42 s`, `12.3 s`, `5 min 3 s`, `2 h 10 min`.
fn duration(secs: f64) -> String {
    let whole = secs.round() as u64;
    match secs {
        s if !s.is_finite() => "–".into(),
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
