//! Texts, rectangles and lines on an SVG canvas, and how numbers are written on it.
//!
//! plotters places everything on whole pixels, so we draw [`SCALE`] times larger than shown.

use crate::{Error, Result};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontTransform,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::fmt::Display;

/// Canvas units in a shown pixel.
pub(super) const SCALE: i32 = 4;
pub(super) const FONT: &str = "system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif";
pub(super) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
pub(super) const INK: RGBColor = RGBColor(0x1F, 0x29, 0x33);
pub(super) const MUTED: RGBColor = RGBColor(0x5F, 0x6B, 0x7A);
pub(super) const GRID: RGBColor = RGBColor(0xE3, 0xE7, 0xEC);
pub(super) const AXIS: RGBColor = RGBColor(0xA9, 0xB3, 0xBF);
/// Text on a dark cell; differs from [`PAPER`] so that the dark scheme leaves it white.
pub(super) const ON_CELL: RGBColor = RGBColor(0xFE, 0xFE, 0xFE);

/// Distinguishable on white and on black, also with the common colour-vision deficiencies.
pub(super) const PALETTE: [RGBColor; 8] = [
    RGBColor(0x3B, 0x7D, 0xD8),
    RGBColor(0xE5, 0x7C, 0x23),
    RGBColor(0x2A, 0x9D, 0x6F),
    RGBColor(0xD1, 0x49, 0x5B),
    RGBColor(0x8A, 0x63, 0xD2),
    RGBColor(0x17, 0x9F, 0xB5),
    RGBColor(0xA0, 0x6B, 0x48),
    RGBColor(0x8A, 0x93, 0x9E),
];

/// The dark scheme replaces the colours above; a reader that ignores it shows the light one.
pub(super) const DARK: &str = "<style>@media (prefers-color-scheme:dark){\
svg [fill=\"#FFFFFF\"]{fill:#161B22}svg [fill=\"#1F2933\"]{fill:#E6EAEF}svg [fill=\"#5F6B7A\"]{fill:#9AA6B3}\
svg [fill=\"#E3E7EC\"]{fill:#2A323C}svg [stroke=\"#E3E7EC\"]{stroke:#2A323C}svg [stroke=\"#A9B3BF\"]{stroke:#56616E}}</style>";

pub(super) type Canvas<'c> = DrawingArea<SVGBackend<'c>, Shift>;

/// Makes an SVG of `width` × `height` shown pixels and lets `draw` fill it.
pub(super) fn canvas(
    width: i32,
    height: i32,
    title: &str,
    draw: impl FnOnce(&Canvas<'_>) -> Result<()>,
) -> Result<String> {
    let (w, h) = ((width * SCALE) as u32, (height * SCALE) as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (w, h)).into_drawing_area();
        root.fill(&PAPER).map_err(internal)?;
        draw(&root)?;
        root.present().map_err(internal)?;
    }
    let body = svg
        .split_once('\n')
        .map_or("", |(_plotters_header, body)| body);
    let header = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">",
        escape(&printable(title))
    );
    Ok(format!("{header}\n{DARK}\n{body}"))
}

pub(super) fn internal(error: impl Display) -> Error {
    Error::Internal {
        context: "drawing a chart".into(),
        message: error.to_string(),
    }
}

/// Size, colour and place of a text.
#[derive(Clone)]
pub(super) struct Font {
    size: i32,
    colour: RGBColor,
    bold: bool,
    anchor: HPos,
    upwards: bool,
}

impl Font {
    pub(super) fn title() -> Self {
        Self {
            size: 15,
            bold: true,
            ..Self::label(INK)
        }
    }

    pub(super) fn label(colour: RGBColor) -> Self {
        Self {
            size: 12,
            colour,
            bold: false,
            anchor: HPos::Left,
            upwards: false,
        }
    }

    pub(super) fn size(self, size: i32) -> Self {
        Self { size, ..self }
    }

    pub(super) fn right(self) -> Self {
        Self {
            anchor: HPos::Right,
            ..self
        }
    }

    pub(super) fn centre(self) -> Self {
        Self {
            anchor: HPos::Center,
            ..self
        }
    }

    pub(super) fn upwards(self) -> Self {
        Self {
            upwards: true,
            ..self
        }
    }

    pub(super) fn style(&self) -> TextStyle<'static> {
        let weight = if self.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        // plotters divides by 1.24 on its way to the SVG attribute.
        let font = FontDesc::new(
            FontFamily::Name(FONT),
            f64::from(self.size * SCALE) * 1.24,
            weight,
        );
        let turn = if self.upwards {
            FontTransform::Rotate270
        } else {
            FontTransform::None
        };
        TextStyle {
            font: font.transform(turn),
            color: self.colour.to_backend_color(),
            pos: Pos::new(self.anchor, VPos::Center),
        }
    }
}

pub(super) fn text(root: &Canvas<'_>, content: &str, at: (i32, i32), font: Font) -> Result<()> {
    let at = (at.0 * SCALE, at.1 * SCALE);
    root.draw(&Text::new(printable(content), at, font.style()))
        .map_err(internal)
}

pub(super) fn rect(
    root: &Canvas<'_>,
    from: (i32, i32),
    to: (i32, i32),
    colour: RGBAColor,
) -> Result<()> {
    let corners = [
        (from.0 * SCALE, from.1 * SCALE),
        (to.0 * SCALE, to.1 * SCALE),
    ];
    root.draw(&Rectangle::new(corners, colour.filled()))
        .map_err(internal)
}

pub(super) fn line(
    root: &Canvas<'_>,
    from: (i32, i32),
    to: (i32, i32),
    colour: RGBColor,
) -> Result<()> {
    let ends = vec![
        (from.0 * SCALE, from.1 * SCALE),
        (to.0 * SCALE, to.1 * SCALE),
    ];
    root.draw(&PathElement::new(ends, colour.stroke_width(SCALE as u32)))
        .map_err(internal)
}

/// A cautious estimate: SVG cannot ask for the width of a text.
pub(super) fn text_width(text: &str, size: i32) -> i32 {
    // East Asian characters are about twice as wide as Latin ones.
    let units: i32 = text
        .chars()
        .map(|c| if c as u32 >= 0x2E80 { 105 } else { 58 })
        .sum();
    (units * size + 99) / 100
}

/// At most `max` characters, the last of them an ellipsis if something was cut.
pub(super) fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.into();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

/// Control characters are not allowed in XML.
pub(super) fn printable(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !matches!(c, '\u{FFFE}' | '\u{FFFF}');
    text.chars()
        .map(|c| if allowed(c) { c } else { ' ' })
        .collect()
}

/// Escapes text for HTML and XML, element content and attributes alike.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A number for a person: four significant digits, `2.5e-5`, `12.5k`, `1.5M`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "n/a".into();
    }
    // Sums of tick steps miss zero by a rounding error.
    if size < 1e-15 {
        return "0".into();
    }
    let trim = |text: String| {
        if text.contains('.') {
            return text.trim_end_matches('0').trim_end_matches('.').to_string();
        }
        text
    };
    match size {
        s if !(1e-3..1e12).contains(&s) => {
            let text = format!("{value:.3e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{}e{exponent}", trim(mantissa.into()))
        }
        s if s < 10.0 => trim(format!("{value:.4}")),
        s if s < 1e4 => trim(format!("{value:.2}")),
        s if s < 1e6 => format!("{}k", trim(format!("{:.2}", value / 1e3))),
        s if s < 1e9 => format!("{}M", trim(format!("{:.2}", value / 1e6))),
        _ => format!("{}G", trim(format!("{:.2}", value / 1e9))),
    }
}

/// A count in at most five characters, to fit a cell: `1234`, `12.3k`, `123k`.
pub(super) fn compact(count: u64) -> String {
    let value = count as f64;
    match count {
        0..10_000 => count.to_string(),
        10_000..99_950 => format!("{:.1}k", value / 1e3),
        99_950..999_500 => format!("{:.0}k", value / 1e3),
        999_500..99_950_000 => format!("{:.1}M", value / 1e6),
        _ => format!("{:.0}M", value / 1e6),
    }
}

/// `12,345,678`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}
