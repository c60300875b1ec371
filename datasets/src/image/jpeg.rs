//! JPEG (ITU-T T.81) through libjpeg-turbo, as the crate `mozjpeg` carries it, to Pillow's bytes.
//!
//! Pillow and torchvision decode through libjpeg-turbo with its default settings. A decoder that
//! rounds elsewhere differs from them by a few levels (zune-jpeg 0.5.15 by 0.08 on average and 9 at
//! most over 229 photographs), and that alone moves the logits of an EfficientNet-Lite0 by 0.05 on
//! average and by up to 0.2. So that a published checkpoint gives its published numbers from the
//! raw file, the same code decodes here, with the same settings.
//!
//! It differs from Pillow where a file is damaged. libjpeg warns and fills the rest with grey, or
//! with what it makes of the bits; here a warning about the data is an error, and so is a progressive
//! or arithmetic-coded file without its end, whose loss the data itself does not show. Bytes that
//! belong to no segment are passed over in a file of one scan, as cameras leave them, and are an error
//! between the scans of others. What is damaged and yet decodes without a warning is shown, as by
//! Pillow; out of range by far, it may differ from Pillow's where mozjpeg was built without `nasm`.
//!
//! libjpeg's C code comes back through the callbacks below by unwinding, with `resume_unwind`, which
//! calls no panic hook. They tell fatal errors from warnings but not what is wrong: its words for
//! that come out of mozjpeg's own handler, on a second reading of the headers ([`complaint`]).

use mozjpeg::{ColorSpace, Decompress, Marker};
use mozjpeg_sys::{jpeg_common_struct, jpeg_error_mgr, msg_parm_union};
use std::{
    any::Any,
    cell::Cell,
    ffi::c_int,
    io::{self, BufRead, Read},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
};

/// Encoders write about ten; each costs a pass over the picture, however little data it holds.
const MAX_SCANS: usize = 500;

const COMPLETE: &str = "a complete JPEG file";
const UNDAMAGED: &str =
    "an undamaged JPEG file, baseline, progressive or arithmetic, of 8 bits a sample";

/// Why a file cannot be decoded.
#[derive(Debug)]
pub(super) struct Fault {
    /// What is wrong with it.
    pub(super) what: String,
    /// What would have been right.
    pub(super) expected: String,
}

impl Fault {
    fn new(what: impl Into<String>, expected: &str) -> Self {
        Self {
            what: what.into(),
            expected: expected.into(),
        }
    }
}

/// Whether a picture of some size may be decoded; if not, what is wrong and what was expected.
type Admission = Result<(), (String, String)>;

/// A decoded file.
pub(super) struct Jpeg {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Interleaved, row by row.
    pub(super) rgb: Vec<u8>,
    /// Payload of the first Exif segment, from the TIFF header on.
    pub(super) exif: Option<Vec<u8>>,
    /// Payload of the first XMP segment.
    pub(super) xmp: Option<Vec<u8>>,
}

/// Decodes a whole file. `admit` sees width and height before anything of that size is allocated.
pub(super) fn decode(data: &[u8], admit: impl Fn(u64, u64) -> Admission) -> Result<Jpeg, Fault> {
    let outline = Outline::of(data);
    if outline.num_scans > MAX_SCANS {
        let what = format!("more than {MAX_SCANS} scans in a JPEG file");
        return Err(Fault::new(what, UNDAMAGED));
    }
    let ran_out = Cell::new(false);
    let source = Source {
        rest: data,
        ran_out: &ran_out,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| read(source, &outline, &admit)));
    WARNINGS_STOP.set(false);
    let cut_off = || Fault::new("the JPEG file is cut off", COMPLETE);
    match outcome {
        // Sequential Huffman data shows by itself whether it is all there, and need not have an end.
        Ok(Ok(_)) if ran_out.get() && !outline.sequential_huffman => Err(cut_off()),
        Ok(Ok(jpeg)) => match outline.component_without_scan() {
            Some(id) => {
                let what = format!("no data for JPEG component {id}");
                Err(Fault::new(what, UNDAMAGED))
            }
            None => Ok(jpeg),
        },
        Ok(Err(Stop::Refused(fault))) => Err(fault),
        Err(payload) if !payload.is::<Unwound>() => resume_unwind(payload),
        _ if ran_out.get() => Err(cut_off()),
        _ => Err(Fault::new(complaint(data, &outline), UNDAMAGED)),
    }
}

/// Why [`read`] returns without a picture, if it returns at all.
enum Stop {
    Refused(Fault),
    Failed,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Failed
    }
}

fn read(
    source: Source<'_>,
    outline: &Outline,
    admit: &impl Fn(u64, u64) -> Admission,
) -> Result<Jpeg, Stop> {
    let file = Decompress::builder()
        .with_err(unwinding_errors())
        .with_markers(&[Marker::APP(1)])
        .from_reader(source)?;
    let (width, height) = file.size();
    admit(width as u64, height as u64)
        .map_err(|(what, expected)| Stop::Refused(Fault { what, expected }))?;
    let metadata = |prefix: &[u8]| {
        file.markers()
            .find_map(|marker| marker.data.strip_prefix(prefix).map(<[u8]>::to_vec))
    };
    let exif = metadata(b"Exif\0\0");
    let xmp = metadata(b"http://ns.adobe.com/xap/1.0/\0");
    let ink = file.components().len() == 4;
    // Where there are several scans, this line decodes them all; where there is one, all that can be
    // wrong yet are oddities of its header.
    WARNINGS_STOP.set(!outline.is_single_scan());
    let mut started = if ink {
        file.to_colorspace(ColorSpace::JCS_CMYK)?
    } else {
        file.rgb()?
    };
    WARNINGS_STOP.set(true);
    let samples = started.read_scanlines::<u8>()?;
    let rgb = if ink { light(&samples) } else { samples };
    Ok(Jpeg {
        width,
        height,
        rgb,
        exif,
        xmp,
    })
}

/// CMYK to RGB as Pillow's `convert("RGB")`, for ink stored inverted (as Adobe and Pillow do).
fn light(cmyk: &[u8]) -> Vec<u8> {
    let channel = |ink: u8, black: u8| {
        let product = u32::from(255 - ink) * u32::from(black) + 128;
        black - ((product + (product >> 8)) >> 8) as u8
    };
    cmyk.chunks_exact(4)
        .flat_map(|pixel| [0, 1, 2].map(|i| channel(pixel[i], pixel[3])))
        .collect()
}

/// The file, and behind it the marker of the end, so that libjpeg finishes with what it has.
struct Source<'a> {
    rest: &'a [u8],
    /// Set once more than the file holds was asked for.
    ran_out: &'a Cell<bool>,
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.ran_out.set(true);
            return Ok(&[0xFF, 0xD9]);
        }
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

thread_local! {
    /// Whether a warning ends the decoding that this thread is in; an error does in any case.
    static WARNINGS_STOP: Cell<bool> = const { Cell::new(false) };
}

/// What the callbacks throw.
struct Unwound;

fn unwinding_errors() -> jpeg_error_mgr {
    extern "C-unwind" fn fail(_: &mut jpeg_common_struct) {
        resume_unwind(Box::new(Unwound));
    }
    extern "C-unwind" fn hear(_: &mut jpeg_common_struct, level: c_int) {
        // -1 is a warning; the others trace what is read.
        if level < 0 && WARNINGS_STOP.get() {
            resume_unwind(Box::new(Unwound));
        }
    }
    extern "C-unwind" fn ignore(_: &mut jpeg_common_struct) {}
    jpeg_error_mgr {
        error_exit: Some(fail),
        emit_message: Some(hear),
        output_message: Some(ignore),
        format_message: None,
        reset_error_mgr: Some(ignore),
        msg_code: 0,
        msg_parm: msg_parm_union::default(),
        trace_level: 0,
        num_warnings: 0,
        jpeg_message_table: ptr::null(),
        last_jpeg_message: 0,
        addon_message_table: ptr::null(),
        first_addon_message: 0,
        last_addon_message: 0,
    }
}

/// libjpeg's words for what it refuses in the headers; short if they are not to blame.
fn complaint(data: &[u8], outline: &Outline) -> String {
    let words = |payload: Box<dyn Any + Send>| payload.downcast_ref::<String>().cloned();
    let headers = || {
        let file = Decompress::new_mem(data)?;
        // With several scans this would decode them.
        if outline.is_single_scan() {
            file.rgb()?;
        }
        Ok::<_, io::Error>(())
    };
    match catch_unwind(AssertUnwindSafe(headers)) {
        Err(payload) => words(payload).map(|text| text.replace("libjpeg fatal error", "libjpeg")),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(())) => None,
    }
    .unwrap_or_else(|| "damaged JPEG data".into())
}

/// What the markers tell of a file before it is decoded.
#[derive(Default)]
struct Outline {
    /// Baseline or extended: not progressive, not arithmetic-coded.
    sequential_huffman: bool,
    components: Vec<u8>,
    /// Components of the scans, in order.
    scanned: Vec<u8>,
    num_scans: usize,
}

impl Outline {
    /// Reads the headers up to the end, or to a scan that is sure to be the only one.
    fn of(data: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut rest = data.get(2..).unwrap_or_default();
        while let Some((marker, after)) = next_marker(rest) {
            rest = match marker {
                0x01 | 0xD0..=0xD8 => after, // no segment behind them
                0xD9 => break,
                _ => {
                    let Some((segment, after)) = split_segment(after) else {
                        break;
                    };
                    outline.note(marker, segment);
                    after
                }
            };
            if outline.is_single_scan() || outline.num_scans > MAX_SCANS {
                break;
            }
        }
        outline
    }

    fn note(&mut self, marker: u8, segment: &[u8]) {
        match (marker, segment) {
            (0xC4 | 0xC8 | 0xCC, _) => {} // tables, among the numbers of frames
            (0xC0..=0xCF, [_, _, _, _, _, _, components @ ..]) => {
                self.sequential_huffman = marker <= 0xC1;
                self.components = components.chunks_exact(3).map(|part| part[0]).collect();
            }
            (0xDA, [count, components @ ..]) => {
                self.num_scans += 1;
                let parts = components.chunks_exact(2).take(usize::from(*count));
                self.scanned.extend(parts.map(|part| part[0]));
            }
            _ => {}
        }
    }

    fn is_single_scan(&self) -> bool {
        self.sequential_huffman
            && self.num_scans == 1
            && self.scanned.len() == self.components.len()
    }

    fn component_without_scan(&self) -> Option<u8> {
        let without = |id: &&u8| !self.scanned.contains(id);
        self.components.iter().find(without).copied()
    }
}

/// The first marker and what is behind it; stuffed and fill bytes skipped.
fn next_marker(mut data: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let at = data.iter().position(|&byte| byte == 0xFF)?;
        data = match data.get(at + 1..)? {
            [0x00, after @ ..] | after @ [0xFF, ..] => after,
            [marker, after @ ..] => return Some((*marker, after)),
            [] => return None,
        };
    }
}

/// The segment that begins with its length, and what is behind it.
fn split_segment(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let [high, low, after @ ..] = data else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    after.split_at_checked(length.checked_sub(2)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() + 2) as u16;
        [&[0xFF, marker], &length.to_be_bytes()[..], payload].concat()
    }

    #[test]
    fn the_outline_counts_scans_and_components() {
        let frame = segment(0xC2, &[8, 0, 1, 0, 1, 2, 1, 0x11, 0, 2, 0x11, 0]);
        let scan = segment(0xDA, &[1, 2, 0, 0, 0, 0]);
        let decoy = segment(0xE1, &scan);
        let data = [0x5A, 0xFF, 0x00, 0xFF, 0xD3, 0xFF, 0xFF];
        let file = [&[0xFF, 0xD8], &decoy[..], &frame, &scan, &data, &scan].concat();
        let outline = Outline::of(&file);
        assert_eq!(outline.num_scans, 2);
        assert_eq!(outline.component_without_scan(), Some(1));
        assert!(!outline.sequential_huffman && !outline.is_single_scan());
        // Cut in the middle of the second scan's header.
        assert_eq!(Outline::of(&file[..file.len() - 3]).num_scans, 1);
    }

    #[test]
    fn ink_becomes_light() {
        // Inverted: 255 is no ink. White, black, cyan, and half of black over half of magenta.
        let inks = [
            255, 255, 255, 255, 9, 9, 9, 0, 0, 255, 255, 255, 255, 128, 255, 128,
        ];
        assert_eq!(
            light(&inks),
            [255, 255, 255, 0, 0, 0, 0, 255, 255, 128, 64, 128]
        );
    }
}
