//! The confusion matrix as a picture.

use super::canvas::{
    Canvas, Font, GRID, INK, MUTED, ON_CELL, PALETTE, canvas, compact, grouped, line, rect,
    shorten, text, text_width,
};
use crate::{Error, Result};
use plotters::prelude::*;

/// Largest confusion matrix that shows its counts, and the largest that names its classes.
const MAX_COUNTED: i32 = 20;
const MAX_NAMED: i32 = 100;

/// Rows are true classes, columns predictions, the colour is the share of the row.
///
/// Counts stand in the cells up to 20 classes, class names beside them up to 100.
///
/// # Errors
/// `counts` is not square, or `labels` has another length.
pub fn confusion_matrix(counts: &[Vec<u64>], labels: &[String]) -> Result<String> {
    let n = counts.len();
    if labels.len() != n || counts.iter().any(|row| row.len() != n) {
        let found = format!("{n} rows, {} labels, rows of other lengths", labels.len());
        return Err(Error::input(
            "confusion matrix",
            found,
            "as many columns and labels as rows",
        ));
    }
    let layout = MatrixLayout::new(labels);
    let total: u64 = counts.iter().flatten().sum();
    let right: u64 = (0..n).map(|i| counts[i][i]).sum();
    let title = if total == 0 {
        "Confusion matrix: no samples".to_string()
    } else {
        let percent = 100.0 * right as f64 / total as f64;
        // Rounding may not turn a miss into perfection.
        let shown = if right < total {
            percent.min(99.99)
        } else {
            percent
        };
        format!(
            "Accuracy {shown:.2} % ({} of {})",
            grouped(right),
            grouped(total)
        )
    };
    canvas(layout.width(), layout.height(), &title, |root| {
        text(root, &title, (16, 24), Font::title())?;
        layout.draw_axes(root)?;
        for (i, row) in counts.iter().enumerate() {
            let sum: u64 = row.iter().sum();
            for (j, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                layout.draw_cell(root, i, j, count, count as f64 / sum as f64)?;
            }
        }
        layout.draw_scale(root)
    })
}

/// Where the parts of a confusion matrix lie, in shown pixels.
struct MatrixLayout {
    n: i32,
    names: Vec<String>,
    cell: i32,
    left: i32,
    top: i32,
    foot: i32,
    font: i32,
}

impl MatrixLayout {
    fn new(labels: &[String]) -> Self {
        let n = labels.len().max(1) as i32;
        let cell = match n {
            0..=10 => 44,
            11..=MAX_COUNTED => 34,
            21..=50 => 14,
            51..=MAX_NAMED => 10,
            _ => (1_000 / n).max(1),
        };
        let font = (cell - 2).clamp(8, 12);
        let names: Vec<String> = match n {
            0..=MAX_NAMED => labels.iter().map(|l| shorten(l, 20)).collect(),
            _ => Vec::new(),
        };
        let longest = names
            .iter()
            .map(|name| text_width(name, font))
            .max()
            .unwrap_or(0);
        Self {
            n,
            names,
            cell,
            left: 48 + longest,
            top: 68,
            foot: longest + 40,
            font,
        }
    }

    fn side(&self) -> i32 {
        self.cell * self.n
    }

    fn width(&self) -> i32 {
        (self.left + self.side() + 24).max(360)
    }

    fn height(&self) -> i32 {
        self.top + self.side() + self.foot
    }

    fn draw_axes(&self, root: &Canvas<'_>) -> Result<()> {
        let (end_x, end_y) = (self.left + self.side(), self.top + self.side());
        if self.cell >= 8 {
            for k in 0..=self.n {
                let at = k * self.cell;
                line(
                    root,
                    (self.left + at, self.top),
                    (self.left + at, end_y),
                    GRID,
                )?;
                line(
                    root,
                    (self.left, self.top + at),
                    (end_x, self.top + at),
                    GRID,
                )?;
            }
        }
        for (index, name) in self.names.iter().enumerate() {
            let at = index as i32 * self.cell + self.cell / 2;
            let font = Font::label(INK).size(self.font).right();
            text(root, name, (self.left - 6, self.top + at), font.clone())?;
            text(root, name, (self.left + at, end_y + 6), font.upwards())?;
        }
        let (centre_x, centre_y) = (self.left + self.side() / 2, self.top + self.side() / 2);
        let font = Font::label(MUTED).centre();
        text(
            root,
            "predicted class",
            (centre_x, self.height() - 12),
            font.clone(),
        )?;
        text(root, "true class", (16, centre_y), font.upwards())
    }

    fn draw_cell(
        &self,
        root: &Canvas<'_>,
        i: usize,
        j: usize,
        count: u64,
        share: f64,
    ) -> Result<()> {
        let (x, y) = (
            self.left + j as i32 * self.cell,
            self.top + i as i32 * self.cell,
        );
        let inset = i32::from(self.cell >= 8);
        // Off the diagonal another hue, so that errors stand out as errors.
        let hue = if i == j { PALETTE[0] } else { PALETTE[1] };
        let shade = hue.mix(0.06 + 0.94 * share.sqrt());
        rect(
            root,
            (x + inset, y + inset),
            (x + self.cell, y + self.cell),
            shade,
        )?;
        if self.n > MAX_COUNTED {
            return Ok(());
        }
        let colour = if share > 0.3 { ON_CELL } else { INK };
        let middle = (x + self.cell / 2, y + self.cell / 2);
        text(
            root,
            &compact(count),
            middle,
            Font::label(colour).size(11).centre(),
        )
    }

    /// The key to the colours, between title and matrix.
    fn draw_scale(&self, root: &Canvas<'_>) -> Result<()> {
        let y = self.top - 18;
        let font = Font::label(MUTED).size(11);
        text(root, "share of the true class", (16, y), font.clone())?;
        let mut x = 16 + text_width("share of the true class", 11) + 6;
        for (name, hue) in [("right", PALETTE[0]), ("wrong", PALETTE[1])] {
            for step in 1..=5 {
                let shade = hue.mix(0.06 + 0.94 * (f64::from(step) / 5.0).sqrt());
                rect(root, (x, y - 5), (x + 9, y + 5), shade)?;
                x += 10;
            }
            text(root, name, (x + 3, y), font.clone())?;
            x += text_width(name, 11) + 12;
        }
        Ok(())
    }
}
