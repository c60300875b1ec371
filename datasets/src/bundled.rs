//! The small data that is compiled into the program, so that it works wherever the binary lies.
//!
//! `datasets/data/make.py` makes it out of published packages; `manifest.json` says where each file
//! comes from and under which licence.

use crate::{
    Columns, Corpus, Error, Frame, ImageSet, InteractionOptions, Interactions, LabelledTexts,
    QuestionSet, Result, SegmentedText, Split, TableOptions, TagColumns, TaggedText, TimeSeries,
    files, images, series::SeriesOptions,
};
use serde::{Deserialize, Serialize};

/// What the manifest says about one bundled file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Path below `datasets/data/`.
    pub file: String,
    /// The package, with its version, that it was taken from.
    pub origin: String,
    /// SPDX name, or `public domain`; the text lies beside the file.
    pub licence: String,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
    /// What it shows and what was done to it.
    pub note: String,
}

macro_rules! data {
    ($file:literal) => {
        include_bytes!(concat!("../data/", $file)).as_slice()
    };
}

static PHOTOS: [(&str, &[u8]); 4] = [
    ("chelsea.jpg", data!("photos/chelsea.jpg")),
    ("coffee.jpg", data!("photos/coffee.jpg")),
    ("rocket.jpg", data!("photos/rocket.jpg")),
    ("astronaut.jpg", data!("photos/astronaut.jpg")),
];

static FILES: [(&str, &[u8]); 31] = [
    ("breastw/LICENSE.txt", data!("breastw/LICENSE.txt")),
    ("breastw/breastw.csv", BREASTW),
    (
        "fashion-mnist-slice/LICENSE.txt",
        data!("fashion-mnist-slice/LICENSE.txt"),
    ),
    (
        "fashion-mnist-slice/classes.txt",
        data!("fashion-mnist-slice/classes.txt"),
    ),
    (
        "fashion-mnist-slice/t10k-images-idx3-ubyte.gz",
        data!("fashion-mnist-slice/t10k-images-idx3-ubyte.gz"),
    ),
    (
        "fashion-mnist-slice/t10k-labels-idx1-ubyte.gz",
        data!("fashion-mnist-slice/t10k-labels-idx1-ubyte.gz"),
    ),
    (
        "fashion-mnist-slice/train-images-idx3-ubyte.gz",
        data!("fashion-mnist-slice/train-images-idx3-ubyte.gz"),
    ),
    (
        "fashion-mnist-slice/train-labels-idx1-ubyte.gz",
        data!("fashion-mnist-slice/train-labels-idx1-ubyte.gz"),
    ),
    (
        "generated-interactions/LICENSE.txt",
        data!("generated-interactions/LICENSE.txt"),
    ),
    ("generated-interactions/interactions.csv.gz", INTERACTIONS),
    ("languages/LICENSE.txt", data!("languages/LICENSE.txt")),
    ("languages/test.csv", data!("languages/test.csv")),
    ("languages/train.csv", data!("languages/train.csv")),
    ("nab-slice/LICENSE.txt", data!("nab-slice/LICENSE.txt")),
    ("nab-slice/ec2_cpu_utilization_24ae8d.csv.gz", NAB),
    ("photos/LICENSE.txt", data!("photos/LICENSE.txt")),
    ("photos/astronaut.jpg", PHOTOS[3].1),
    ("photos/chelsea.jpg", PHOTOS[0].1),
    ("photos/coffee.jpg", PHOTOS[1].1),
    ("photos/rocket.jpg", PHOTOS[2].1),
    ("squad-slice/LICENSE.txt", data!("squad-slice/LICENSE.txt")),
    ("squad-slice/test.json.gz", SQUAD[1]),
    ("squad-slice/train.json.gz", SQUAD[0]),
    (
        "tiny-shakespeare-slice/LICENSE.txt",
        data!("tiny-shakespeare-slice/LICENSE.txt"),
    ),
    (
        "tiny-shakespeare-slice/input.txt.gz",
        data!("tiny-shakespeare-slice/input.txt.gz"),
    ),
    (
        "ud-chinese-slice/LICENSE.txt",
        data!("ud-chinese-slice/LICENSE.txt"),
    ),
    ("ud-chinese-slice/test.txt.gz", UD_CHINESE[1]),
    ("ud-chinese-slice/train.txt.gz", UD_CHINESE[0]),
    (
        "wnut17-slice/LICENSE.txt",
        data!("wnut17-slice/LICENSE.txt"),
    ),
    ("wnut17-slice/test.conll.gz", WNUT17[1]),
    ("wnut17-slice/train.conll.gz", WNUT17[0]),
];

static BREASTW: &[u8] = data!("breastw/breastw.csv");

static NAB: &[u8] = data!("nab-slice/ec2_cpu_utilization_24ae8d.csv.gz");

static INTERACTIONS: &[u8] = data!("generated-interactions/interactions.csv.gz");

static SQUAD: [&[u8]; 2] = [
    data!("squad-slice/train.json.gz"),
    data!("squad-slice/test.json.gz"),
];

static WNUT17: [&[u8]; 2] = [
    data!("wnut17-slice/train.conll.gz"),
    data!("wnut17-slice/test.conll.gz"),
];

static UD_CHINESE: [&[u8]; 2] = [
    data!("ud-chinese-slice/train.txt.gz"),
    data!("ud-chinese-slice/test.txt.gz"),
];

/// Origin, licence and sum of every bundled file.
pub fn manifest() -> Result<Vec<Entry>> {
    serde_json::from_str(include_str!("../data/manifest.json")).map_err(|e| Error::Internal {
        context: "bundled manifest.json".into(),
        message: e.to_string(),
    })
}

/// Every bundled file: path below `datasets/data/` and content.
pub fn files() -> &'static [(&'static str, &'static [u8])] {
    &FILES
}

/// A cat, a cup of coffee, a rocket launch, a portrait: file name and JPEG bytes.
pub fn photos() -> &'static [(&'static str, &'static [u8])] {
    &PHOTOS
}

/// Messages of a web framework in eight languages, labelled with their language: 1,203 for training,
/// 311 for test. A message is in the same split in every language.
///
/// # Errors
/// There is no validation split; hold one out of the training texts ([`LabelledTexts::holdout`]).
pub fn languages(split: Split) -> Result<LabelledTexts> {
    const LOCATION: &str = "bundled:languages";
    let bytes = match split {
        Split::Train => data!("languages/train.csv"),
        Split::Test => data!("languages/test.csv"),
        Split::Valid => {
            let expected = "train or test; hold a part of train out";
            return Err(Error::input(LOCATION, "no valid split", expected));
        }
    };
    LabelledTexts::from_csv(LOCATION, bytes, &Columns::default())
}

/// The load of a server, two weeks every five minutes (4,032 rows, two labelled windows of anomalies, both in the second
/// half): a series of the Numenta Anomaly Benchmark (Ahmad et al. 2017).
///
/// # Errors
/// None for the data as it is bundled.
pub fn nab_slice() -> Result<TimeSeries> {
    const LOCATION: &str = "bundled:nab-slice";
    let text = files::unpack(LOCATION, NAB)?;
    TimeSeries::from_csv(LOCATION, &text, &SeriesOptions::default())
}

/// 683 cell samples with nine features from 1 to 10, 239 of them malignant, the anomalies (Breast Cancer Wisconsin).
///
/// # Errors
/// None with the file as it is.
pub fn breastw() -> Result<Frame> {
    Frame::from_csv("bundled:breastw", BREASTW, &TableOptions::default())
}

/// The class names of Fashion-MNIST, in label order.
pub fn fashion_mnist_classes() -> Vec<String> {
    include_str!("../data/fashion-mnist-slice/classes.txt")
        .lines()
        .map(String::from)
        .collect()
}

/// A slice of Fashion-MNIST (Xiao et al. 2017), 28×28 grey: 200 training or 50 test images of each
/// of the ten classes.
///
/// # Errors
/// There is no validation split; hold one out of the training images ([`ImageSet::holdout`]).
pub fn fashion_mnist_slice(split: Split) -> Result<ImageSet> {
    const LOCATION: &str = "bundled:fashion-mnist-slice";
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
        Split::Valid => {
            let expected = "train or test; hold a part of train out";
            return Err(Error::input(LOCATION, "no valid split", expected));
        }
    };
    let part = |kind: &str| {
        let file = format!("{prefix}-{kind}-ubyte.gz");
        let path = format!("fashion-mnist-slice/{file}");
        let content = FILES
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, content)| *content);
        (content.unwrap_or_default(), file)
    };
    images::idx_from_parts(
        LOCATION,
        part("images-idx3"),
        part("labels-idx1"),
        fashion_mnist_classes(),
    )
}

/// A slice of UD Chinese GSD, segmented: 1,000 training and 200 test sentences.
///
/// # Errors
/// None with the files as they are.
pub fn ud_chinese_slice() -> Result<(SegmentedText, SegmentedText)> {
    let open = |split: &str, bytes| {
        SegmentedText::from_bytes(&format!("bundled:ud-chinese-slice/{split}"), bytes)
    };
    Ok((open("train", UD_CHINESE[0])?, open("test", UD_CHINESE[1])?))
}

/// The first 100,000 characters of tiny Shakespeare (Karpathy, 2015): scenes of Coriolanus.
///
/// # Errors
/// None with the file as it is.
pub fn tiny_shakespeare_slice() -> Result<Corpus> {
    let bytes = data!("tiny-shakespeare-slice/input.txt.gz");
    Corpus::from_bytes("bundled:tiny-shakespeare-slice", bytes)
}

/// A slice of WNUT-17 (Derczynski et al., 2017), tagged with six types of entities: 600 training and 200
/// test sentences, each with an entity.
///
/// # Errors
/// None with the files as they are.
pub fn wnut17_slice() -> Result<(TaggedText, TaggedText)> {
    let columns = TagColumns::default();
    let open = |split: &str, bytes| {
        TaggedText::from_conll(&format!("bundled:wnut17-slice/{split}"), bytes, &columns)
    };
    Ok((open("train", WNUT17[0])?, open("test", WNUT17[1])?))
}

/// A slice of SQuAD 1.1 (Rajpurkar et al., 2016): 335 training questions about five articles and 55
/// test questions about a sixth.
///
/// # Errors
/// None with the files as they are.
pub fn squad_slice() -> Result<(QuestionSet, QuestionSet)> {
    let open =
        |split: &str, bytes| QuestionSet::from_json(&format!("bundled:squad-slice/{split}"), bytes);
    Ok((open("train", SQUAD[0])?, open("test", SQUAD[1])?))
}

/// Generated ratings with times, 3,848 of 200 users for 120 items of five kinds: users mostly have items of
/// one or two kinds.
///
/// # Errors
/// None with the file as it is.
pub fn generated_interactions() -> Result<Interactions> {
    let location = "bundled:generated-interactions.csv";
    Interactions::from_bytes(location, INTERACTIONS, &InteractionOptions::default())
}
