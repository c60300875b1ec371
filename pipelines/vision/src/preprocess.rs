//! From pictures to tensors, in one place for training and prediction alike.
//!
//! The constants travel with the weights in `preprocessor_config.json`, in the fields that Hugging
//! Face's image processors use; timm's `pretrained_cfg` is read too. Geometry is Pillow's
//! (`panoply_datasets::image`), arithmetic is torchvision's `ToTensor` and `Normalize` in f32.

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use panoply_core::{Error, Result};
use panoply_datasets::image::{self as picture, CropRounding, Interpolation};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// Largest side that an input may have, in pixels: a config with a slip must not take all memory.
pub(crate) const MAX_SIDE: u32 = 4096;

/// How a picture is resized before the crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side becomes this many pixels (torchvision's `Resize(int)`).
    ShortSide(u32),
    /// Both sides, whatever the picture's shape.
    Exact {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// What happens to a picture before the network sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// First.
    pub resize: Resize,
    /// Then this `(width, height)` out of the middle.
    pub crop: (u32, u32),
    /// The filter of the resize, antialiased as Pillow does it.
    pub interpolation: Interpolation,
    /// How the crop rounds.
    pub rounding: CropRounding,
    /// Subtracted from each channel of the picture in `[0, 1]`; one value for grey, three for RGB.
    pub mean: Vec<f64>,
    /// What each channel is divided by afterwards.
    pub std: Vec<f64>,
}

impl Preprocessing {
    /// The whole picture on a square of `size` pixels, to mean 0.5 and deviation 0.5; for training
    /// from scratch on `channels` (1 or 3) channels.
    pub fn square(size: u32, channels: usize) -> Self {
        Self {
            resize: Resize::Exact {
                width: size,
                height: size,
            },
            crop: (size, size),
            interpolation: Interpolation::Bilinear,
            rounding: CropRounding::HalfEven,
            mean: vec![0.5; channels],
            std: vec![0.5; channels],
        }
    }

    /// The same for an input of `size` by `size` pixels: the resize keeps its proportion to the crop,
    /// filter and constants stay, for they belong to the weights.
    #[must_use]
    pub fn at_size(self, size: u32) -> Self {
        let scaled = |side: u32, crop: u32| {
            let side = f64::from(side) / f64::from(crop.max(1)) * f64::from(size);
            (side.round() as u32).clamp(size, MAX_SIDE)
        };
        let resize = match self.resize {
            Resize::ShortSide(side) => {
                Resize::ShortSide(scaled(side, self.crop.0.min(self.crop.1)))
            }
            Resize::Exact { width, height } => Resize::Exact {
                width: scaled(width, self.crop.0),
                height: scaled(height, self.crop.1),
            },
        };
        Self {
            resize,
            crop: (size, size),
            ..self
        }
    }

    /// Channels, height and width of the network's input.
    pub fn shape(&self) -> [usize; 3] {
        [self.mean.len(), self.crop.1 as usize, self.crop.0 as usize]
    }

    /// What the network sees, before normalisation.
    pub fn view(&self, photo: &RgbImage) -> RgbImage {
        match self.resize {
            Resize::ShortSide(size) => picture::resize_short_side_center_crop(
                photo,
                size,
                self.crop,
                self.interpolation,
                self.rounding,
            ),
            Resize::Exact { width, height } => picture::resize_center_crop(
                photo,
                (width, height),
                self.crop,
                self.interpolation,
                self.rounding,
            ),
        }
    }

    /// `view` as planes `[channels, height, width]`, normalised: `(pixel / 255 - mean) / std`.
    pub fn normalise(&self, view: &RgbImage) -> Vec<f32> {
        let table = |channel: usize| -> Vec<f32> {
            let (mean, std) = (self.mean[channel] as f32, self.std[channel] as f32);
            (0..=255_u8)
                .map(|v| (f32::from(v) / 255.0 - mean) / std)
                .collect()
        };
        if let [_] = self.mean[..] {
            let table = table(0);
            return view
                .pixels()
                .map(|p| table[usize::from(luma(p.0))])
                .collect();
        }
        let mut planes = Vec::with_capacity(view.len());
        for channel in 0..self.mean.len() {
            let table = table(channel);
            planes.extend(view.pixels().map(|p| table[usize::from(p.0[channel])]));
        }
        planes
    }

    /// The network's input for one picture, `[channels, height, width]`.
    pub fn pixels(&self, photo: &RgbImage) -> Vec<f32> {
        self.normalise(&self.view(photo))
    }

    /// The network's input for some pictures, `[batch, channels, height, width]`.
    pub fn batch(&self, photos: &[RgbImage], device: &Device) -> Result<Tensor<4>> {
        if photos.is_empty() {
            return Err(Error::input("batch", "no picture", "at least one"));
        }
        let planes: Vec<Vec<f32>> = photos.par_iter().map(|photo| self.pixels(photo)).collect();
        let [channels, height, width] = self.shape();
        let data = TensorData::new(planes.concat(), [photos.len(), channels, height, width]);
        Ok(Tensor::from_data(data, device))
    }

    /// Reads `preprocessor_config.json` or timm's `pretrained_cfg`; `file` names it in errors.
    pub fn from_json(value: &Value, file: &Path) -> Result<Self> {
        // timm's config.json holds it one level down.
        let value = value.get("pretrained_cfg").unwrap_or(value);
        let reader = Reader { value, file };
        let read = if value.get("input_size").is_some() {
            reader.timm()?
        } else {
            reader.hugging_face()?
        };
        read.check(file)?;
        Ok(read)
    }

    /// Sides that fit into memory, one deviation above zero a mean.
    fn check(&self, file: &Path) -> Result<()> {
        let wrong = |what: String, expected: &str| {
            Err(Error::input(file.display().to_string(), what, expected))
        };
        let sides = match self.resize {
            Resize::ShortSide(size) => [size, self.crop.0, self.crop.1, 1],
            Resize::Exact { width, height } => [width, height, self.crop.0, self.crop.1],
        };
        if sides.iter().any(|&side| side == 0 || side > MAX_SIDE) {
            return wrong(format!("sides {sides:?}"), "sides from 1 to 4096 pixels");
        }
        if !matches!(self.mean.len(), 1 | 3) || self.mean.len() != self.std.len() {
            return wrong(
                format!(
                    "{} means and {} deviations",
                    self.mean.len(),
                    self.std.len()
                ),
                "one of each a channel",
            );
        }
        if self.mean.iter().any(|m| !m.is_finite())
            || self.std.iter().any(|s| !s.is_finite() || *s <= 0.0)
        {
            return wrong(
                format!("mean {:?}, std {:?}", self.mean, self.std),
                "finite numbers, deviations above zero",
            );
        }
        Ok(())
    }
}

impl Serialize for Preprocessing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size = match self.resize {
            Resize::ShortSide(size) => json!({ "shortest_edge": size }),
            Resize::Exact { width, height } => json!({ "height": height, "width": width }),
        };
        json!({
            "do_resize": true,
            "size": size,
            "resample": self.interpolation.to_pil(),
            "do_center_crop": true,
            "crop_size": { "height": self.crop.1, "width": self.crop.0 },
            "crop_rounding": self.rounding,
            "do_rescale": true,
            "rescale_factor": 1.0 / 255.0,
            "do_normalize": true,
            "image_mean": self.mean,
            "image_std": self.std,
        })
        .serialize(serializer)
    }
}

/// Pillow's `convert("L")`: ITU-R 601-2 luma in 16-bit fixed point.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// Fields of a preprocessing file, with errors that name them.
struct Reader<'a> {
    value: &'a Value,
    file: &'a Path,
}

impl Reader<'_> {
    fn wrong(&self, field: &str, expected: &str) -> Error {
        let found = self
            .value
            .get(field)
            .map_or_else(|| "missing".into(), ToString::to_string);
        Error::input(format!("{}: {field}", self.file.display()), found, expected)
    }

    fn switch(&self, field: &str) -> bool {
        self.value
            .get(field)
            .and_then(Value::as_bool)
            .unwrap_or(true)
    }

    fn numbers(&self, field: &str) -> Result<Vec<f64>> {
        let list = self.value.get(field).and_then(Value::as_array);
        let numbers = list.and_then(|list| list.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| self.wrong(field, "a list of numbers"))
    }

    fn number(&self, field: &str, default: f64, valid: fn(f64) -> bool) -> Result<f64> {
        let found = self.value.get(field).filter(|v| !v.is_null());
        let number = found.map_or(Some(default), Value::as_f64);
        number
            .filter(|n| valid(*n))
            .ok_or_else(|| self.wrong(field, "a number in its range"))
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.value.get(field).and_then(Value::as_str)
    }

    /// Whether a plain number as size means the short side, by the class of the processor.
    fn number_is_short_side(&self) -> bool {
        const CLASSES: [&str; 8] = [
            "CLIP",
            "ConvNe",
            "Levit",
            "MobileNet",
            "MobileViT",
            "PoolFormer",
            "EfficientFormer",
            "Bit",
        ];
        let class = self
            .text("image_processor_type")
            .or(self.text("feature_extractor_type"));
        class.is_none_or(|class| CLASSES.iter().any(|known| class.starts_with(known)))
    }

    /// `{"height": h, "width": w}`, `{"shortest_edge": s}` or a plain number.
    fn size(&self, field: &str) -> Result<Resize> {
        let side = |value: Option<&Value>| {
            value
                .and_then(Value::as_u64)
                .and_then(|v| u32::try_from(v).ok())
        };
        let value = self.value.get(field);
        let of = |key: &str| side(value.and_then(|v| v.get(key)));
        let found = match (side(value), of("shortest_edge"), of("height"), of("width")) {
            (Some(side), ..) if self.number_is_short_side() => Some(Resize::ShortSide(side)),
            (Some(side), ..) => Some(Resize::Exact {
                width: side,
                height: side,
            }),
            // With a bound on the long side (detection) the shape follows the picture.
            (None, Some(side), ..) if of("longest_edge").is_none() => Some(Resize::ShortSide(side)),
            (None, None, Some(height), Some(width)) => Some(Resize::Exact { width, height }),
            _ => None,
        };
        let expected = "{\"shortest_edge\": n} or {\"height\": n, \"width\": n}";
        found.ok_or_else(|| self.wrong(field, expected))
    }

    /// The fields of Hugging Face's image processors.
    fn hugging_face(&self) -> Result<Preprocessing> {
        if !self.switch("do_resize") {
            return Err(self.wrong("do_resize", "true"));
        }
        let (resize, crop) = self.geometry()?;
        let resample = self.value.get("resample").map_or(Ok(2), |v| {
            v.as_u64()
                .ok_or_else(|| self.wrong("resample", "Pillow's number"))
        })?;
        let rounding = match self.value.get("crop_rounding") {
            None => CropRounding::Floor,
            Some(v) => serde_json::from_value(v.clone())
                .map_err(|_e| self.wrong("crop_rounding", "half_even or floor"))?,
        };
        let (mean, std) = self.arithmetic()?;
        Ok(Preprocessing {
            resize,
            crop,
            interpolation: Interpolation::from_pil(resample)?,
            rounding,
            mean,
            std,
        })
    }

    /// Size and crop of Hugging Face's fields.
    fn geometry(&self) -> Result<(Resize, (u32, u32))> {
        let resize = self.size("size")?;
        let square = |size: Resize| match size {
            Resize::ShortSide(side) => (side, side),
            Resize::Exact { width, height } => (width, height),
        };
        // ConvNeXT's processor: below 384 pixels a resize to size / crop_pct and a centre crop.
        if let Resize::ShortSide(side) = resize
            && self.value.get("crop_pct").is_some()
        {
            let crop_pct = self.crop_pct(1.0)?;
            let resize = if side < 384 {
                Resize::ShortSide((f64::from(side) / crop_pct) as u32)
            } else {
                Resize::Exact {
                    width: side,
                    height: side,
                }
            };
            return Ok((resize, (side, side)));
        }
        let crops = self.switch("do_center_crop") && self.value.get("crop_size").is_some();
        let crop = if crops {
            square(self.size("crop_size")?)
        } else {
            square(resize)
        };
        Ok((resize, crop))
    }

    /// Rescaling and normalisation of Hugging Face's fields, as one mean and deviation of `v / 255`.
    fn arithmetic(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut mean, mut std) = if self.switch("do_normalize") {
            (self.numbers("image_mean")?, self.numbers("image_std")?)
        } else {
            (vec![0.0; 3], vec![1.0; 3])
        };
        let flag = |field: &str| self.value.get(field).and_then(Value::as_bool) == Some(true);
        if flag("rescale_offset") {
            for mean in &mut mean {
                *mean += 1.0;
            }
        }
        if flag("include_top") {
            // EfficientNet's processor divides by the deviation once more.
            for std in &mut std {
                *std *= *std;
            }
        }
        let factor = if self.switch("do_rescale") {
            self.number("rescale_factor", 1.0 / 255.0, |f| f.is_finite() && f > 0.0)?
        } else {
            1.0
        };
        let scale = factor * 255.0;
        // 1/255 is written with all digits or with a few; either way it means torchvision's division.
        if (scale - 1.0).abs() > 1e-6 {
            mean.iter_mut().chain(&mut std).for_each(|v| *v /= scale);
        }
        Ok((mean, std))
    }

    fn crop_pct(&self, default: f64) -> Result<f64> {
        self.number("crop_pct", default, |pct| (0.01..=1.0).contains(&pct))
    }

    /// timm's `pretrained_cfg`, with the defaults of its `resolve_data_config`.
    fn timm(&self) -> Result<Preprocessing> {
        let input = self.numbers("input_size")?;
        let [channels, height, width] = input[..] else {
            return Err(self.wrong("input_size", "[channels, height, width]"));
        };
        let crop_pct = self.crop_pct(0.875)?;
        let scaled = |side: f64| (side / crop_pct).floor() as u32;
        let resize = match self.text("crop_mode").unwrap_or("center") {
            "center" if height == width => Resize::ShortSide(scaled(height)),
            "squash" => Resize::Exact {
                width: scaled(width),
                height: scaled(height),
            },
            _ => return Err(self.wrong("crop_mode", "squash, or center with a square input")),
        };
        let constants = |field: &str, imagenet: [f64; 3]| {
            if self.value.get(field).is_none() && channels == 3.0 {
                return Ok(imagenet.to_vec());
            }
            self.numbers(field)
        };
        Ok(Preprocessing {
            resize,
            crop: (width as u32, height as u32),
            interpolation: Interpolation::from_name(
                self.text("interpolation").unwrap_or("bicubic"),
            )?,
            rounding: CropRounding::HalfEven,
            mean: constants("mean", [0.485, 0.456, 0.406])?,
            std: constants("std", [0.229, 0.224, 0.225])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<Preprocessing> {
        Preprocessing::from_json(value, Path::new("p.json"))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let ours = Preprocessing {
            resize: Resize::ShortSide(256),
            crop: (224, 200),
            ..Preprocessing::square(1, 3)
        };
        assert_eq!(read(&json!(ours)).unwrap(), ours);
        let grey = Preprocessing::square(28, 1);
        assert_eq!(read(&json!(grey)).unwrap(), grey);
    }

    #[test]
    fn another_size_keeps_proportion_and_constants() {
        let published = Preprocessing {
            resize: Resize::ShortSide(256),
            mean: vec![0.485, 0.456, 0.406],
            ..Preprocessing::square(224, 3)
        };
        let half = published.clone().at_size(112);
        let expected = Preprocessing {
            resize: Resize::ShortSide(128),
            crop: (112, 112),
            ..published
        };
        assert_eq!(half, expected);
        assert_eq!(
            Preprocessing::square(28, 1).at_size(32),
            Preprocessing::square(32, 1)
        );
    }

    #[test]
    fn a_timm_config_is_read_as_timm_reads_it() {
        let cfg = json!({"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]});
        let read = read(&cfg).unwrap();
        assert_eq!(
            (read.resize, read.crop),
            (Resize::ShortSide(235), (224, 224))
        );
    }

    #[test]
    fn a_squashed_timm_config_and_its_defaults() {
        let cfg = json!({"pretrained_cfg": {"input_size": [3, 90, 80], "crop_mode": "squash"}});
        let read = read(&cfg).unwrap();
        assert_eq!(
            (read.resize, read.crop, read.interpolation),
            (
                Resize::Exact {
                    width: 91,
                    height: 102
                },
                (80, 90),
                Interpolation::Bicubic
            )
        );
        assert_eq!(read.mean, [0.485, 0.456, 0.406]);
    }

    #[test]
    fn classes_of_hugging_face_have_their_habits() {
        let constants = json!({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]});
        let with = |fields: Value| {
            let mut config = constants.clone();
            let map = config.as_object_mut().unwrap();
            map.extend(fields.as_object().unwrap().clone());
            read(&config)
        };
        // microsoft/resnet-50: int(224 / 0.875) = 256, then the middle 224.
        let convnext = with(json!({"size": {"shortest_edge": 224}, "crop_pct": 0.875})).unwrap();
        assert_eq!(
            (convnext.resize, convnext.crop),
            (Resize::ShortSide(256), (224, 224))
        );
        assert_eq!(convnext.rounding, CropRounding::Floor);
        let large = with(json!({"size": {"shortest_edge": 384}, "crop_pct": 0.95})).unwrap();
        assert_eq!(
            large.resize,
            Resize::Exact {
                width: 384,
                height: 384
            }
        );

        let vit =
            with(json!({"size": 224, "feature_extractor_type": "ViTFeatureExtractor"})).unwrap();
        assert_eq!(
            vit.resize,
            Resize::Exact {
                width: 224,
                height: 224
            }
        );
        let clip =
            with(json!({"size": 224, "feature_extractor_type": "CLIPFeatureExtractor"})).unwrap();
        assert_eq!(clip.resize, Resize::ShortSide(224));
        assert!(with(json!({"size": {"shortest_edge": 800, "longest_edge": 1333}})).is_err());

        // v * f - 1, then (x - 0.5) / 0.5, then once more / 0.5: for v = 255 and f = 1/127.5, 2.
        let offset = with(
            json!({"size": {"height": 1, "width": 1}, "rescale_factor": 1.0 / 127.5,
            "rescale_offset": true, "include_top": true}),
        )
        .unwrap();
        let white = RgbImage::from_pixel(1, 1, image::Rgb([255; 3]));
        assert!(offset.pixels(&white).iter().all(|v| (v - 2.0).abs() < 1e-6));
        let raw = with(
            json!({"size": {"height": 1, "width": 1}, "do_rescale": false,
            "do_normalize": false}),
        )
        .unwrap();
        assert!(raw.pixels(&white).iter().all(|v| (v - 255.0).abs() < 1e-4));
    }

    #[test]
    fn wrong_fields_are_named() {
        let good = json!(Preprocessing::square(28, 1));
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            read(&changed).unwrap_err().to_string()
        };
        assert!(with("image_std", json!([0.0])).contains("above zero"));
        assert!(with("image_mean", json!("x")).contains("image_mean"));
        assert!(with("size", json!({"shortest_edge": 1_000_000})).contains("4096"));
        assert!(with("size", json!({})).contains("shortest_edge"));
        assert!(with("resample", json!(9)).contains("bicubic"));
        assert!(with("rescale_factor", json!(0.0)).contains("rescale_factor"));
    }

    #[test]
    fn normalisation_is_torchvisions() {
        let mut photo = RgbImage::new(1, 1);
        photo.put_pixel(0, 0, image::Rgb([255, 0, 127]));
        let three = Preprocessing {
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            ..Preprocessing::square(1, 3)
        };
        // torchvision 0.29.2: Normalize(..)(ToTensor()(pixel)).
        let expected = [2.248_908_3, -2.035_714_2, 0.409_063_25];
        for (ours, theirs) in three.pixels(&photo).iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        }
        // Pillow: Image.new("RGB", (1, 1), (255, 0, 127)).convert("L") is 91.
        assert_eq!(luma([255, 0, 127]), 91);
    }
}
