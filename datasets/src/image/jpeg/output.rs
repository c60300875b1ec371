//! From component planes to RGB: chroma upsampling and colour conversion.
//!
//! Upsampling is the triangle filter ("fancy upsampling") that libjpeg applies by default:
//! weights 3/4 and 1/4 in each halved direction, rounded up and down in turn.

use super::{Component, Frame};

/// How the components are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// Interleaved RGB of the whole picture.
pub(super) fn to_rgb(frame: &Frame, colour: Colour) -> Vec<u8> {
    let (width, height) = (frame.width, frame.height);
    let mut rgb = vec![0; width * height * 3];
    let mut rows: Vec<Upsampler<'_>> = frame
        .components
        .iter()
        .map(|c| Upsampler::new(c, frame.h_max, frame.v_max))
        .collect();
    let mut planes = [vec![0; width], vec![0; width], vec![0; width]];
    for (y, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        for row in &mut rows {
            row.seek(y);
        }
        let row = |i: usize| &rows[i].row()[..width];
        match colour {
            Colour::Grey => {
                for (out, &value) in out.chunks_exact_mut(3).zip(row(0)) {
                    out.fill(value);
                }
                continue;
            }
            Colour::Rgb => {
                interleave(out, [row(0), row(1), row(2)]);
                continue;
            }
            Colour::YCbCr | Colour::Ycck => ycbcr_row([row(0), row(1), row(2)], &mut planes),
            Colour::Cmyk => {
                for (i, plane) in planes.iter_mut().enumerate() {
                    plane.copy_from_slice(row(i));
                }
            }
        }
        if colour == Colour::Ycck {
            // YCCK holds the complement of CMY.
            for value in planes.iter_mut().flatten() {
                *value = 255 - *value;
            }
        }
        if colour != Colour::YCbCr {
            for plane in &mut planes {
                ink_row(plane, row(3));
            }
        }
        interleave(out, planes.each_ref().map(Vec::as_slice));
    }
    rgb
}

fn interleave(out: &mut [u8], [r, g, b]: [&[u8]; 3]) {
    for (((out, r), g), b) in out.chunks_exact_mut(3).zip(r).zip(g).zip(b) {
        out.copy_from_slice(&[*r, *g, *b]);
    }
}

/// JFIF's YCbCr to RGB, sixteen fractional bits, rounded half up.
///
/// Each factor is split into a whole number and a remainder below one half, so that the
/// remainder's product fits the 16-bit multiplications of a vector unit; the sum is the same.
fn ycbcr_row([y, cb, cr]: [&[u8]; 3], [r, g, b]: &mut [Vec<u8>; 3]) {
    const HALF: i32 = 1 << 15;
    let samples = y.iter().zip(cb).zip(cr);
    for (((((&y, &cb), &cr), r), g), b) in samples.zip(r).zip(g).zip(b) {
        let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
        let red = y + cr + ((26345 * cr + HALF) >> 16); // 1.402
        let green = y - cr + ((18734 * cr - 22554 * cb + HALF) >> 16); // 0.71414, 0.34414
        let blue = y + 2 * cb + ((-14942 * cb + HALF) >> 16); // 1.772
        *r = red.clamp(0, 255) as u8;
        *g = green.clamp(0, 255) as u8;
        *b = blue.clamp(0, 255) as u8;
    }
}

/// Ink to light as Pillow's `convert("RGB")`, for CMYK stored inverted (as Adobe and Pillow do).
fn ink_row(plane: &mut [u8], black: &[u8]) {
    for (value, &black) in plane.iter_mut().zip(black) {
        let product = u32::from(255 - *value) * u32::from(black) + 128;
        *value = black - ((product + (product >> 8)) >> 8) as u8;
    }
}

/// The rows of one component at the size of the picture.
struct Upsampler<'a> {
    component: &'a Component,
    filter: Filter,
    /// Where `seek` stopped.
    y: usize,
    /// Weighted sum of two rows, before the horizontal filter.
    sums: Vec<u16>,
    out: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filter {
    /// Full size: rows are used where they lie.
    None,
    /// Triangle, width halved.
    Horizontal,
    /// Triangle, height halved.
    Vertical,
    /// Triangle, both halved.
    Both,
    /// Each sample repeated.
    Repeat { h: usize, v: usize },
}

impl<'a> Upsampler<'a> {
    fn new(component: &'a Component, h_max: usize, v_max: usize) -> Self {
        let (h, v) = (h_max / component.h, v_max / component.v);
        let filter = match (h, v) {
            (1, 1) => Filter::None,
            // libjpeg repeats instead where a row has no inner sample.
            (2, 1) if component.width > 2 => Filter::Horizontal,
            (1, 2) => Filter::Vertical,
            (2, 2) if component.width > 2 => Filter::Both,
            _ => Filter::Repeat { h, v },
        };
        let sums = if filter == Filter::Both {
            vec![0; component.width]
        } else {
            Vec::new()
        };
        let out = if filter == Filter::None {
            Vec::new()
        } else {
            vec![0; component.width * h]
        };
        Self {
            component,
            filter,
            y: 0,
            sums,
            out,
        }
    }

    fn source(&self, y: usize) -> &'a [u8] {
        let stride = self.component.blocks_w * 8;
        &self.component.samples[y * stride..][..self.component.width]
    }

    /// Makes row `y` of the picture ready.
    fn seek(&mut self, y: usize) {
        self.y = y;
        match self.filter {
            Filter::None => {}
            Filter::Horizontal => double_row(self.source(y), &mut self.out),
            Filter::Vertical => {
                let (near, far) = (self.source(y / 2), self.source(self.neighbour(y)));
                let bias = 1 + (y % 2) as u16;
                for ((out, &near), &far) in self.out.iter_mut().zip(near).zip(far) {
                    *out = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
                }
            }
            Filter::Both => {
                let (near, far) = (self.source(y / 2), self.source(self.neighbour(y)));
                for ((sum, &near), &far) in self.sums.iter_mut().zip(near).zip(far) {
                    *sum = u16::from(near) * 3 + u16::from(far);
                }
                double_sums(&self.sums, &mut self.out);
            }
            Filter::Repeat { h, v } => {
                let row = self.source(y / v);
                for (out, &value) in self.out.chunks_exact_mut(h).zip(row) {
                    out.fill(value);
                }
            }
        }
    }

    /// The second nearest row of a component of half the height, inside the component.
    fn neighbour(&self, y: usize) -> usize {
        if y.is_multiple_of(2) {
            (y / 2).saturating_sub(1)
        } else {
            (y / 2 + 1).min(self.component.height - 1)
        }
    }

    fn row(&self) -> &[u8] {
        if self.filter == Filter::None {
            self.source(self.y)
        } else {
            &self.out
        }
    }
}

/// Doubles a row of at least three samples: 3/4 the nearer, 1/4 the farther.
fn double_row(row: &[u8], out: &mut [u8]) {
    let n = row.len();
    for (out, window) in out[2..].chunks_exact_mut(2).zip(row.windows(3)) {
        let middle = u16::from(window[1]) * 3;
        out[0] = ((middle + u16::from(window[0]) + 1) >> 2) as u8;
        out[1] = ((middle + u16::from(window[2]) + 2) >> 2) as u8;
    }
    out[0] = row[0];
    out[1] = ((u16::from(row[0]) * 3 + u16::from(row[1]) + 2) >> 2) as u8;
    out[2 * n - 2] = ((u16::from(row[n - 1]) * 3 + u16::from(row[n - 2]) + 1) >> 2) as u8;
    out[2 * n - 1] = row[n - 1];
}

/// The same over sums that carry two fractional bits of the vertical filter.
fn double_sums(sums: &[u16], out: &mut [u8]) {
    let n = sums.len();
    for (out, window) in out[2..].chunks_exact_mut(2).zip(sums.windows(3)) {
        let middle = window[1] * 3;
        out[0] = ((middle + window[0] + 8) >> 4) as u8;
        out[1] = ((middle + window[2] + 7) >> 4) as u8;
    }
    out[0] = ((sums[0] * 4 + 8) >> 4) as u8;
    out[1] = ((sums[0] * 3 + sums[1] + 7) >> 4) as u8;
    out[2 * n - 2] = ((sums[n - 1] * 3 + sums[n - 2] + 8) >> 4) as u8;
    out[2 * n - 1] = ((sums[n - 1] * 4 + 7) >> 4) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_triangle_filter_by_hand() {
        let mut out = [0; 6];
        double_row(&[0, 100, 50], &mut out);
        // (0*3+100+2)/4, (300+0+1)/4, (300+50+2)/4, (150+100+1)/4
        assert_eq!(out, [0, 25, 75, 88, 62, 50]);
        double_sums(&[0, 400, 200], &mut out);
        assert_eq!(out, [0, 25, 75, 87, 63, 50]);
    }

    #[test]
    fn primary_colours_convert() {
        let mut out = [vec![0; 4], vec![0; 4], vec![0; 4]];
        // JFIF: red, green, blue and white.
        ycbcr_row(
            [
                &[76, 150, 29, 255],
                &[85, 44, 255, 128],
                &[255, 21, 107, 128],
            ],
            &mut out,
        );
        assert_eq!(out[0], [254, 0, 0, 255]);
        assert_eq!(out[1], [0, 255, 0, 255]);
        assert_eq!(out[2], [0, 1, 254, 255]);
    }
}
