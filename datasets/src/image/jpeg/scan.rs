//! Entropy-coded scans, sequential (T.81, annex F) and progressive (annex G).

use super::{
    Fault, Frame,
    huffman::{Bits, Table},
    idct,
};

/// Natural (row-major) position of each zigzag index.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// One component of a scan.
pub(super) struct ScanComponent<'t> {
    /// Index into the frame's components.
    pub(super) index: usize,
    pub(super) dc: Option<&'t Table>,
    pub(super) ac: Option<&'t Table>,
}

/// Header of a scan.
pub(super) struct Scan<'t> {
    pub(super) components: Vec<ScanComponent<'t>>,
    /// First and last coefficient, in zigzag order.
    pub(super) band: (usize, usize),
    /// Successive approximation: bit position before and in this scan.
    pub(super) high: u32,
    pub(super) low: u32,
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: usize,
}

/// What the decoding of a scan carries from block to block.
struct State<'a> {
    bits: Bits<'a>,
    /// DC prediction of each component of the frame.
    prediction: [i32; 4],
    /// Blocks left in a run of end-of-band.
    end_of_band_run: u32,
}

impl Scan<'_> {
    /// Decodes the scan that starts at `pos`; returns where to look for the next marker.
    pub(super) fn decode(
        &self,
        frame: &mut Frame,
        data: &[u8],
        pos: usize,
    ) -> Result<usize, Fault> {
        let mut state = State {
            bits: Bits::new(data, pos),
            prediction: [0; 4],
            end_of_band_run: 0,
        };
        let (mcus_w, mcus_h) = match self.components[..] {
            // A scan of one component goes block by block over its real extent (A.2.2).
            [ref only] => {
                let component = &frame.components[only.index];
                (component.width.div_ceil(8), component.height.div_ceil(8))
            }
            _ => (frame.mcus_w, frame.mcus_h),
        };
        let (mut until_restart, mut restarts) = (self.restart_interval, 0_u8);
        for y in 0..mcus_h {
            for x in 0..mcus_w {
                if self.restart_interval > 0 {
                    if until_restart == 0 {
                        state.bits.restart(restarts % 8)?;
                        state.prediction = [0; 4];
                        state.end_of_band_run = 0;
                        restarts = restarts.wrapping_add(1);
                        until_restart = self.restart_interval;
                    }
                    until_restart -= 1;
                }
                self.decode_mcu(frame, &mut state, x, y)?;
            }
            state.bits.check()?;
        }
        Ok(state.bits.position())
    }

    fn decode_mcu(
        &self,
        frame: &mut Frame,
        state: &mut State<'_>,
        x: usize,
        y: usize,
    ) -> Result<(), Fault> {
        for part in &self.components {
            let single = self.components.len() == 1;
            let component = &frame.components[part.index];
            let (h, v) = if single {
                (1, 1)
            } else {
                (component.h, component.v)
            };
            for block_y in y * v..y * v + v {
                for block_x in x * h..x * h + h {
                    if frame.progressive {
                        self.progressive_block(frame, part, state, block_x, block_y)?;
                    } else {
                        sequential_block(frame, part, state, block_x, block_y)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn progressive_block(
        &self,
        frame: &mut Frame,
        part: &ScanComponent<'_>,
        state: &mut State<'_>,
        x: usize,
        y: usize,
    ) -> Result<(), Fault> {
        let component = &mut frame.components[part.index];
        let start = (y * component.blocks_w + x) * 64;
        let Some(Ok(block)) = component
            .coefficients
            .get_mut(start..start + 64)
            .map(<&mut [i16; 64]>::try_from)
        else {
            return Err(Fault::corrupt("a JPEG scan leaves its frame"));
        };
        match (self.band.0, self.high) {
            (0, 0) => {
                let dc = part.dc.ok_or_else(missing_table)?;
                let prediction = &mut state.prediction[part.index];
                *prediction = prediction.wrapping_add(dc_difference(dc, &mut state.bits));
                block[0] = prediction.wrapping_shl(self.low) as i16;
            }
            (0, _) => block[0] |= (state.bits.take(1) << self.low) as i16,
            (_, 0) => self.ac_first(part.ac.ok_or_else(missing_table)?, state, block),
            _ => self.ac_refine(part.ac.ok_or_else(missing_table)?, state, block),
        }
        Ok(())
    }

    /// First scan of a band (G.1.2.2).
    fn ac_first(&self, table: &Table, state: &mut State<'_>, block: &mut [i16; 64]) {
        if state.end_of_band_run > 0 {
            state.end_of_band_run -= 1;
            return;
        }
        let mut k = self.band.0;
        while k <= self.band.1 {
            let symbol = table.decode(&mut state.bits);
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run < 15 {
                    state.end_of_band_run = (1 << run) - 1 + state.bits.take(run) as u32;
                    return;
                }
                k += 16;
                continue;
            }
            k += run as usize;
            state.bits.refill();
            let value = state.bits.take_signed(size);
            match ZIGZAG.get(k) {
                Some(&at) => block[usize::from(at)] = (value << self.low) as i16,
                None => state.bits.corrupt = true,
            }
            k += 1;
        }
    }

    /// A later scan of a band, one bit more of each coefficient (G.1.2.3).
    fn ac_refine(&self, table: &Table, state: &mut State<'_>, block: &mut [i16; 64]) {
        let (start, end) = self.band;
        let bit = 1_i16 << self.low;
        let mut k = start;
        if state.end_of_band_run == 0 {
            while k <= end {
                let symbol = table.decode(&mut state.bits);
                let (run, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut value = 0;
                if size != 0 {
                    value = if state.bits.take(1) == 1 { bit } else { -bit };
                } else if run < 15 {
                    state.end_of_band_run = (1 << run) + state.bits.take(run) as u32;
                    break;
                }
                k = refine(&mut state.bits, block, k..end + 1, Some(run), bit);
                if value != 0 {
                    match ZIGZAG.get(k) {
                        Some(&at) => block[usize::from(at)] = value,
                        None => state.bits.corrupt = true,
                    }
                }
                k += 1;
            }
        }
        if state.end_of_band_run > 0 {
            refine(&mut state.bits, block, k..end + 1, None, bit);
            state.end_of_band_run -= 1;
        }
    }
}

/// Reads a correction bit for each non-zero coefficient of `band`, up to the zero that follows
/// `zeros` others; returns the zigzag index where it stopped.
fn refine(
    bits: &mut Bits<'_>,
    block: &mut [i16; 64],
    band: std::ops::Range<usize>,
    mut zeros: Option<u32>,
    bit: i16,
) -> usize {
    let end = band.end;
    for k in band {
        let coefficient = &mut block[usize::from(ZIGZAG[k])];
        if *coefficient != 0 {
            if bits.take(1) == 1 && *coefficient & bit == 0 {
                let step = if *coefficient >= 0 { bit } else { -bit };
                *coefficient = coefficient.wrapping_add(step);
            }
        } else if let Some(left) = &mut zeros {
            if *left == 0 {
                return k;
            }
            *left -= 1;
        }
    }
    end
}

fn missing_table() -> Fault {
    Fault::corrupt("a JPEG scan names a Huffman table that the file does not define")
}

#[inline]
fn dc_difference(table: &Table, bits: &mut Bits<'_>) -> i32 {
    match u32::from(table.decode(bits)) {
        0 => 0,
        size @ 1..=15 => bits.take_signed(size),
        _ => {
            bits.corrupt = true;
            0
        }
    }
}

/// Decodes one block of a sequential scan and transforms it into samples at once (F.2.2).
fn sequential_block(
    frame: &mut Frame,
    part: &ScanComponent<'_>,
    state: &mut State<'_>,
    x: usize,
    y: usize,
) -> Result<(), Fault> {
    let component = &mut frame.components[part.index];
    let (Some(dc), Some(ac)) = (part.dc, part.ac) else {
        return Err(missing_table());
    };
    let prediction = &mut state.prediction[part.index];
    *prediction = prediction.wrapping_add(dc_difference(dc, &mut state.bits));
    let mut block = [0_i32; 64];
    block[0] = prediction.wrapping_mul(i32::from(component.quantisation[0]));
    let (mut k, mut last) = (1, 0);
    while k < 64 {
        let symbol = ac.decode(&mut state.bits);
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        // A code takes at most 16 of the 32 bits that `decode` made sure of.
        let value = state.bits.take_signed(size);
        let Some(&at) = ZIGZAG.get(k) else {
            state.bits.corrupt = true;
            break;
        };
        block[usize::from(at)] = value.wrapping_mul(i32::from(component.quantisation[k]));
        last = k;
        k += 1;
    }
    let stride = component.blocks_w * 8;
    let start = y * 8 * stride + x * 8;
    match component.samples.get_mut(start..) {
        Some(out) => idct::inverse(&block, last, out, stride),
        None => return Err(Fault::corrupt("a JPEG scan leaves its frame")),
    }
    Ok(())
}

/// Transforms the coefficients that the progressive scans gathered into samples.
pub(super) fn finish_progressive(frame: &mut Frame) {
    for component in &mut frame.components {
        let stride = component.blocks_w * 8;
        for (i, coefficients) in component.coefficients.chunks_exact(64).enumerate() {
            let mut block = [0_i32; 64];
            let mut last = 0;
            for (k, (&at, &step)) in ZIGZAG.iter().zip(&component.quantisation).enumerate() {
                let value = i32::from(coefficients[usize::from(at)]);
                block[usize::from(at)] = value.wrapping_mul(i32::from(step));
                if value != 0 {
                    last = k;
                }
            }
            let start = (i / component.blocks_w) * 8 * stride + (i % component.blocks_w) * 8;
            idct::inverse(&block, last, &mut component.samples[start..], stride);
        }
        component.coefficients = Vec::new();
    }
}
