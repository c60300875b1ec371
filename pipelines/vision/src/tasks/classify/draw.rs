//! Pictures of answers: the photo with its five labels (SVG), and heat maps over the photo (PNG).

use image::{ImageFormat, Rgb, RgbImage, imageops};
use panoply_core::{Artefact, Error, Result};
use std::{fmt::Write as _, io::Cursor};

/// Longest side of the photo inside an annotated picture, in pixels.
const PHOTO_SIDE: u32 = 640;

/// The photo with a panel of labels and score bars, as a self-contained SVG.
pub(super) fn annotated(
    photo: &RgbImage,
    labels: &[(String, f64)],
    stem: &str,
) -> Result<Artefact> {
    let photo = shrink(photo);
    let (width, height) = photo.dimensions();
    let panel = 40 * labels.len() as u32 + 20;
    let total = width.max(360);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"{h}\" viewBox=\"0 0 {total} {h}\" font-family=\"system-ui,Helvetica,Arial,sans-serif\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
         <image x=\"{x}\" width=\"{width}\" height=\"{height}\" href=\"data:image/jpeg;base64,{data}\"/>",
        h = height + panel,
        x = (total - width) / 2,
        data = base64(&encode(&photo, ImageFormat::Jpeg)?),
    );
    for (row, (label, score)) in labels.iter().enumerate() {
        let y = height + 20 + 40 * row as u32;
        let bar = (f64::from(total - 40) * score.clamp(0.0, 1.0)).max(1.0);
        let colour = if row == 0 { "#2563eb" } else { "#93c5fd" };
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<text x=\"20\" y=\"{text}\" font-size=\"15\" fill=\"#111\">{label}</text>\
             <text x=\"{right}\" y=\"{text}\" font-size=\"15\" fill=\"#111\" text-anchor=\"end\">{score:.1}%</text>\
             <rect x=\"20\" y=\"{bar_y}\" width=\"{full}\" height=\"8\" rx=\"4\" fill=\"#eef2f7\"/>\
             <rect x=\"20\" y=\"{bar_y}\" width=\"{bar:.1}\" height=\"8\" rx=\"4\" fill=\"{colour}\"/>",
            text = y + 14,
            right = total - 20,
            score = 100.0 * score,
            bar_y = y + 20,
            full = total - 40,
            label = escape(label),
        );
    }
    svg.push_str("</svg>\n");
    Ok(Artefact {
        file_name: format!("{stem}.svg"),
        bytes: svg.into_bytes(),
    })
}

/// The photo beside itself under a heat map, as a PNG. `heat` is `[height, width]` in `[0, 1]`,
/// row by row, and covers the whole of `photo`.
pub(super) fn heat_map(
    photo: &RgbImage,
    heat: &[f32],
    (width, height): (u32, u32),
    name: &str,
) -> Result<Artefact> {
    let map =
        image::ImageBuffer::<image::Luma<f32>, Vec<f32>>::from_raw(width, height, heat.to_vec())
            .ok_or_else(|| Error::Internal {
                context: "heat map".into(),
                message: format!("{} values for {width}x{height}", heat.len()),
            })?;
    let (w, h) = photo.dimensions();
    let map = imageops::resize(&map, w, h, imageops::FilterType::Triangle);
    let mut canvas = RgbImage::new(2 * w, h);
    imageops::replace(&mut canvas, photo, 0, 0);
    for (x, y, pixel) in photo.enumerate_pixels() {
        let value = map.get_pixel(x, y).0[0].clamp(0.0, 1.0);
        let colour = turbo(value);
        // Cold regions stay the photo, so that one sees what the model looked at.
        let alpha = 0.25 + 0.45 * value;
        let mixed = [0, 1, 2]
            .map(|c| (f32::from(pixel.0[c]) * (1.0 - alpha) + f32::from(colour[c]) * alpha) as u8);
        canvas.put_pixel(w + x, y, Rgb(mixed));
    }
    Ok(Artefact {
        file_name: format!("{name}.png"),
        bytes: encode(&canvas, ImageFormat::Png)?,
    })
}

/// Turbo colour map (Mikhailov 2019), its published polynomial approximation.
fn turbo(x: f32) -> [u8; 3] {
    let x = f64::from(x);
    let poly = |c: [f64; 6]| c.iter().rev().fold(0.0, |acc, k| acc * x + k);
    let r = poly([
        0.13572138,
        4.61539260,
        -42.66032258,
        132.13108234,
        -152.94239396,
        59.28637943,
    ]);
    let g = poly([
        0.09140261,
        2.19418839,
        4.84296658,
        -14.18503333,
        4.27729857,
        2.82956604,
    ]);
    let b = poly([
        0.10667330,
        12.64194608,
        -60.58204836,
        110.36276771,
        -89.90310912,
        27.34824973,
    ]);
    [r, g, b].map(|v| (v.clamp(0.0, 1.0) * 255.0) as u8)
}

fn shrink(photo: &RgbImage) -> RgbImage {
    let (w, h) = photo.dimensions();
    let long = w.max(h);
    if long <= PHOTO_SIDE {
        return photo.clone();
    }
    let scale =
        |side: u32| (u64::from(side) * u64::from(PHOTO_SIDE) / u64::from(long)).max(1) as u32;
    imageops::resize(photo, scale(w), scale(h), imageops::FilterType::Triangle)
}

fn encode(photo: &RgbImage, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    photo
        .write_to(&mut bytes, format)
        .map_err(|e| Error::Internal {
            context: "encoding a picture".into(),
            message: e.to_string(),
        })?;
    Ok(bytes.into_inner())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// RFC 4648 base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |acc, &b| acc << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (group >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() {
                char::from(ALPHABET[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_equals_the_rfc_vectors() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn an_annotated_picture_is_well_formed_and_escaped() {
        let photo = RgbImage::new(20_000, 2);
        let art = annotated(&photo, &[("<cat> & \"dog\"".into(), 0.5)], "x").unwrap();
        let text = String::from_utf8(art.bytes).unwrap();
        assert!(text.contains("&lt;cat&gt; &amp; &quot;dog&quot;") && text.ends_with("</svg>\n"));
        assert!(
            text.contains("width=\"640\" height=\"1\""),
            "a very flat photo keeps one row"
        );
    }

    #[test]
    fn a_heat_map_is_twice_as_wide_as_its_photo() {
        let art = heat_map(&RgbImage::new(8, 6), &[0.0, 1.0, 0.5, 0.25], (2, 2), "x").unwrap();
        let read = image::load_from_memory(&art.bytes).unwrap();
        assert_eq!((read.width(), read.height()), (16, 6));
        assert!(heat_map(&RgbImage::new(8, 6), &[0.0], (2, 2), "x").is_err());
    }
}
