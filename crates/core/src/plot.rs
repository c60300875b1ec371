//! Line charts, bar charts and confusion matrices as SVG text.
//!
//! The pictures need no font, no script and no other file, and follow the reader's light or dark
//! scheme.

mod canvas;
mod matrix;

use crate::Result;
pub use canvas::escape;
use canvas::{
    AXIS, Canvas, Font, GRID, INK, MUTED, PALETTE, SCALE, canvas, internal, line, rect, shorten,
    text, text_width,
};
pub(crate) use canvas::{grouped, number};
pub use matrix::confusion_matrix;
use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};
use std::ops::Range;

/// Series beyond this many points are thinned to the extremes of each bucket.
const MAX_POINTS: usize = 1_200;
/// Charts mark single points up to this many.
const MAX_MARKERS: usize = 30;
/// One line of a chart. Points that are not finite leave a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Shown in the legend.
    pub name: String,
    /// `(x, y)`, in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A named line through `points`.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
        }
    }
}

/// Series over linear axes, 720 × 360 pixels.
///
/// No series, empty series and single points are drawn as such; gaps stay gaps.
pub fn line_chart(title: &str, x_label: &str, y_label: &str, series: &[Series]) -> Result<String> {
    let drawn = Drawn::new(series, f64::is_finite);
    let (x, y) = (drawn.x_range(), linear_range(drawn.y));
    canvas(720, 360, title, |root| {
        draw_lines(root, [title, x_label, y_label], &drawn, x, y)
    })
}

/// [`line_chart`] with a logarithmic y axis; zero and negative values leave a gap.
pub fn log_line_chart(
    title: &str,
    x_label: &str,
    y_label: &str,
    series: &[Series],
) -> Result<String> {
    // Below 1e-30 plotters' tick arithmetic underflows.
    let drawn = Drawn::new(series, |y| (1e-30..=1e30).contains(&y));
    let (x, y) = (drawn.x_range(), log_range(drawn.y));
    canvas(720, 360, title, |root| {
        draw_lines(root, [title, x_label, y_label], &drawn, x, y.log_scale())
    })
}

/// Horizontal bars, one a row in the order given; negative values grow to the left.
pub fn bars(title: &str, values: &[(String, f64)]) -> Result<String> {
    let (row, top) = (24, 44);
    let names: Vec<String> = values.iter().map(|(name, _)| shorten(name, 36)).collect();
    let gutter = 24 + names.iter().map(|n| text_width(n, 12)).max().unwrap_or(0);
    let (width, room) = (720, 720 - gutter - 80);
    let height = top + row * values.len().max(1) as i32 + 16;
    let finite = || values.iter().map(|v| v.1).filter(|v| is_drawable(*v));
    let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    let span = if high - low > 0.0 { high - low } else { 1.0 };
    let x_of = |value: f64| gutter + ((value - low) / span * f64::from(room)).round() as i32;

    canvas(width, height, title, |root| {
        text(root, title, (16, 22), Font::title())?;
        if values.is_empty() {
            text(
                root,
                "no data",
                (width / 2, top + row / 2),
                Font::label(MUTED).centre(),
            )?;
        }
        for (index, ((_, value), name)) in values.iter().zip(&names).enumerate() {
            let middle = top + row * index as i32 + row / 2;
            text(root, name, (gutter - 8, middle), Font::label(INK).right())?;
            if !is_drawable(*value) {
                text(root, "n/a", (x_of(0.0) + 6, middle), Font::label(MUTED))?;
                continue;
            }
            let (a, b) = (x_of(value.min(0.0)), x_of(value.max(0.0)));
            let colour = if *value < 0.0 { PALETTE[1] } else { PALETTE[0] };
            rect(
                root,
                (a, middle - 8),
                (b.max(a + 1), middle + 8),
                colour.to_rgba(),
            )?;
            text(root, &number(*value), (b + 6, middle), Font::label(MUTED))?;
        }
        line(root, (x_of(0.0), top), (x_of(0.0), height - 12), AXIS)
    })
}

/// What is drawn of a chart's series: runs of neighbouring finite points, and their extent.
struct Drawn<'s> {
    series: &'s [Series],
    runs: Vec<Vec<Vec<(f64, f64)>>>,
    x: Option<(f64, f64)>,
    y: Option<(f64, f64)>,
}

impl<'s> Drawn<'s> {
    fn new(series: &'s [Series], accepts: impl Fn(f64) -> bool) -> Self {
        let is_point = |p: &(f64, f64)| is_drawable(p.0) && is_drawable(p.1) && accepts(p.1);
        let runs: Vec<Vec<Vec<_>>> = series
            .iter()
            .map(|s| {
                let runs = s
                    .points
                    .split(|p| !is_point(p))
                    .filter(|run| !run.is_empty());
                runs.map(thin).collect()
            })
            .collect();
        let all = || runs.iter().flatten().flatten();
        let (x, y) = (extent(all().map(|p| p.0)), extent(all().map(|p| p.1)));
        Self { series, runs, x, y }
    }

    fn x_range(&self) -> Range<f64> {
        let (low, high) = self.x.unwrap_or((0.0, 1.0));
        let pad = if is_flat(low, high) {
            0.5_f64.max(low.abs() * 1e-3)
        } else {
            0.0
        };
        low - pad..high + pad
    }
}

/// Larger magnitudes would overflow the arithmetic of an axis.
fn is_drawable(value: f64) -> bool {
    value.is_finite() && value.abs() < 1e100
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |seen, v| {
        Some(seen.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v))))
    })
}

/// Whether an axis from `low` to `high` would have no room for ticks.
fn is_flat(low: f64, high: f64) -> bool {
    high - low <= 1e-6 * low.abs().max(high.abs()) || high - low < 1e-12
}

fn linear_range(extent: Option<(f64, f64)>) -> Range<f64> {
    let (low, high) = extent.unwrap_or((0.0, 1.0));
    if is_flat(low, high) {
        let pad = if low == 0.0 {
            1.0
        } else {
            low.abs().max(1e-9) * 0.1
        };
        return low - pad..high + pad;
    }
    let pad = (high - low) * 0.05;
    // A quantity that comes near zero is shown from zero.
    let floor = if low >= 0.0 && low < 0.5 * high {
        0.0
    } else {
        low - pad
    };
    floor..high + pad
}

fn log_range(extent: Option<(f64, f64)>) -> Range<f64> {
    let (low, high) = extent.unwrap_or((0.1, 1.0));
    if high / low > 100.0 {
        return low / 1.3..high * 1.3;
    }
    // Whole decades, so that at least two ticks have a number.
    let (floor, ceiling) = (low.log10().floor(), high.log10().ceil());
    10f64.powf(floor)..10f64.powf(ceiling.max(floor + 1.0))
}

/// Whether a line goes up and down so much that a mean drawn over it would be lost in it.
fn is_noisy(run: &[(f64, f64)]) -> bool {
    let travelled: f64 = run
        .windows(2)
        .map(|pair| (pair[1].1 - pair[0].1).abs())
        .sum();
    extent(run.iter().map(|p| p.1)).is_some_and(|(low, high)| travelled > 10.0 * (high - low))
}

/// At most about [`MAX_POINTS`] points: the lowest and highest of each bucket, in order.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let bucket = points.len().div_ceil(MAX_POINTS / 2);
    let by_y = |a: &usize, b: &usize, chunk: &[(f64, f64)]| chunk[*a].1.total_cmp(&chunk[*b].1);
    let mut kept = Vec::with_capacity(MAX_POINTS);
    for chunk in points.chunks(bucket) {
        let low = (0..chunk.len())
            .min_by(|a, b| by_y(a, b, chunk))
            .unwrap_or(0);
        let high = (0..chunk.len())
            .max_by(|a, b| by_y(a, b, chunk))
            .unwrap_or(0);
        kept.push(chunk[low.min(high)]);
        if low != high {
            kept.push(chunk[low.max(high)]);
        }
    }
    kept
}

fn draw_lines<Y>(
    root: &Canvas<'_>,
    [title, x_label, y_label]: [&str; 3],
    drawn: &Drawn<'_>,
    x: Range<f64>,
    y: Y,
) -> Result<()>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    text(root, title, (16, 22), Font::title())?;
    let top = draw_legend(root, drawn.series)?;
    // No more ticks than whole steps: epochs 1 to 3 get three.
    let x_ticks = ((x.end - x.start).floor().clamp(1.0, 8.0) as usize) + 1;
    let mut chart = ChartBuilder::on(root)
        .margin_top(top * SCALE)
        .margin_right(28 * SCALE)
        .margin_left(6 * SCALE)
        .margin_bottom(4 * SCALE)
        .x_label_area_size(42 * SCALE)
        .y_label_area_size(62 * SCALE)
        .build_cartesian_2d(x, y)
        .map_err(internal)?;
    chart
        .configure_mesh()
        .x_labels(x_ticks)
        .y_labels(7)
        .max_light_lines(0)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(SCALE as u32))
        .axis_style(AXIS.stroke_width(SCALE as u32))
        .set_all_tick_mark_size(4 * SCALE)
        .label_style(Font::label(MUTED).size(11).style())
        .axis_desc_style(Font::label(MUTED).style())
        .x_label_formatter(&|v| number(*v))
        .y_label_formatter(&|v| number(*v))
        .x_desc(canvas::printable(x_label))
        .y_desc(canvas::printable(y_label))
        .draw()
        .map_err(internal)?;
    let is_sparse = |run: &[(f64, f64)]| run.len() <= MAX_MARKERS;
    for (index, runs) in drawn.runs.iter().enumerate() {
        let colour = PALETTE[index % PALETTE.len()];
        for run in runs {
            let stroke = if is_noisy(run) {
                colour.mix(0.45).stroke_width(4)
            } else {
                colour.stroke_width(7)
            };
            chart
                .draw_series(LineSeries::new(run.iter().copied(), stroke))
                .map_err(internal)?;
            let marks = run.iter().filter(|_| is_sparse(run));
            let marks = marks.map(|&p| Circle::new(p, 11, colour.filled()));
            chart.draw_series(marks).map_err(internal)?;
        }
    }
    if drawn.y.is_none() {
        text(root, "no data", (392, 170), Font::label(MUTED).centre())?;
    }
    Ok(())
}

/// Draws the names below the title and gives the height at which the chart may begin.
fn draw_legend(root: &Canvas<'_>, series: &[Series]) -> Result<i32> {
    let (mut x, mut y) = (16, 46);
    for (index, one) in series.iter().enumerate() {
        let name = shorten(&one.name, 40);
        let width = 20 + text_width(&name, 12) + 18;
        if x > 16 && x + width > 704 {
            (x, y) = (16, y + 18);
        }
        let colour = PALETTE[index % PALETTE.len()];
        rect(root, (x, y - 2), (x + 14, y + 1), colour.to_rgba())?;
        text(root, &name, (x + 20, y), Font::label(INK))?;
        x += width;
    }
    Ok(if series.is_empty() { 44 } else { y + 18 })
}

#[cfg(test)]
mod tests;
