//! The inverse DCT in 32-bit integers (Loeffler, Ligtenberg and Moschytz 1989, figure 1).
//!
//! Thirteen fractional bits in the constants and two more between the passes, rounded once a
//! pass: the accurate integer method ("islow") of the IJG software, so its results bit for bit.

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// Removes `BITS` fractional bits, rounding half up.
#[inline]
fn descale<const BITS: u32>(value: i32) -> i32 {
    value.wrapping_add(1 << (BITS - 1)) >> BITS
}

/// One 8-point inverse DCT, scaled by sqrt(8) and by 2^13.
#[inline]
fn transform(input: [i32; 8]) -> [i32; 8] {
    let [x0, x1, x2, x3, x4, x5, x6, x7] = input;
    let mul = i32::wrapping_mul;
    let add = i32::wrapping_add;
    let sub = i32::wrapping_sub;

    let common = mul(add(x2, x6), 4433); // sqrt(2) c6
    let even2 = add(common, mul(x6, -15137)); // -sqrt(2) (c2 + c6)
    let even3 = add(common, mul(x2, 6270)); // sqrt(2) (c2 - c6)
    let even0 = add(x0, x4).wrapping_shl(CONST_BITS);
    let even1 = sub(x0, x4).wrapping_shl(CONST_BITS);
    let sums = [
        add(even0, even3),
        add(even1, even2),
        sub(even1, even2),
        sub(even0, even3),
    ];

    let common = mul(add(add(x7, x3), add(x5, x1)), 9633); // sqrt(2) c3
    let z1 = mul(add(x7, x1), -7373); // sqrt(2) (c7 - c3)
    let z2 = mul(add(x5, x3), -20995); // -sqrt(2) (c1 + c3)
    let z3 = add(mul(add(x7, x3), -16069), common); // -sqrt(2) (c3 + c5)
    let z4 = add(mul(add(x5, x1), -3196), common); // sqrt(2) (c5 - c3)
    let odd = [
        add(mul(x1, 12299), add(z1, z4)), // sqrt(2) (c1 + c3 - c5 - c7)
        add(mul(x3, 25172), add(z2, z3)), // sqrt(2) (c1 + c3 + c5 - c7)
        add(mul(x5, 16819), add(z2, z4)), // sqrt(2) (c1 + c3 - c5 + c7)
        add(mul(x7, 2446), add(z1, z3)),  // sqrt(2) (-c1 + c3 + c5 - c7)
    ];
    [
        add(sums[0], odd[0]),
        add(sums[1], odd[1]),
        add(sums[2], odd[2]),
        add(sums[3], odd[3]),
        sub(sums[3], odd[3]),
        sub(sums[2], odd[2]),
        sub(sums[1], odd[1]),
        sub(sums[0], odd[0]),
    ]
}

/// Transforms one dequantised block into samples; row `r` goes to `out[r * stride..][..8]`.
///
/// `last` is the greatest zigzag index with a non-zero coefficient.
pub(super) fn inverse(block: &[i32; 64], last: usize, out: &mut [u8], stride: usize) {
    if last == 0 {
        let value = sample(descale::<{ PASS1_BITS + 3 }>(
            block[0].wrapping_shl(PASS1_BITS),
        ));
        for row in out.chunks_mut(stride).take(8) {
            row[..8].fill(value);
        }
        return;
    }
    // Zigzag indices below 10 lie in the upper left 4x4 quarter.
    let columns = if last < 10 { 4 } else { 8 };
    let mut work = [[0_i32; 8]; 8];
    for c in 0..columns {
        let column = std::array::from_fn(|r| block[r * 8 + c]);
        for (row, value) in work.iter_mut().zip(transform(column)) {
            row[c] = descale::<{ CONST_BITS - PASS1_BITS }>(value);
        }
    }
    for (row, out) in work.iter().zip(out.chunks_mut(stride)) {
        let values = transform(*row);
        for (out, value) in out[..8].iter_mut().zip(values) {
            *out = sample(descale::<{ CONST_BITS + PASS1_BITS + 3 }>(value));
        }
    }
}

/// Undoes the level shift and clamps.
#[inline]
fn sample(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition (T.81, A.3.3) in f64.
    fn definition(block: &[i32; 64]) -> [f64; 64] {
        let scale = |u: usize| if u == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let cosine = |x: usize, u: usize| {
            ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos()
        };
        std::array::from_fn(|i| {
            let (y, x) = (i / 8, i % 8);
            let sum: f64 = (0..64)
                .map(|j| {
                    let (v, u) = (j / 8, j % 8);
                    scale(u) * scale(v) * f64::from(block[j]) * cosine(x, u) * cosine(y, v)
                })
                .sum();
            (sum / 4.0 + 128.0).clamp(0.0, 255.0)
        })
    }

    #[test]
    fn agrees_with_the_definition_to_one_level() {
        let mut state = 1_u64;
        for _ in 0..200 {
            let block: [i32; 64] = std::array::from_fn(|i| {
                state = panoply_core::seed::derive(&[state]);
                let size = if i == 0 {
                    1000
                } else {
                    120 / (1 + i as i32 / 8 + i as i32 % 8)
                };
                (state % (2 * size as u64 + 1)) as i32 - size
            });
            let mut out = [0_u8; 64];
            inverse(&block, 63, &mut out, 8);
            for (ours, exact) in out.iter().zip(definition(&block)) {
                assert!((f64::from(*ours) - exact).abs() < 0.6, "{ours} {exact}");
            }
        }
    }

    #[test]
    fn the_short_cuts_change_nothing() {
        for (last, filled) in [(0, vec![0]), (9, vec![0, 1, 2, 3, 8, 9, 10, 16, 17, 24])] {
            let mut block = [0; 64];
            for (i, at) in filled.into_iter().enumerate() {
                block[at] = 37 * (i as i32 + 1) - 160;
            }
            let (mut short, mut full) = ([0; 64], [0; 64]);
            inverse(&block, last, &mut short, 8);
            inverse(&block, 63, &mut full, 8);
            assert_eq!(short, full);
        }
    }
}
