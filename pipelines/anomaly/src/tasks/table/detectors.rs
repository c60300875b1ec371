//! The detectors by name.

use crate::models::{
    Detector, Fit, NormalOnly,
    auto_encoder::AutoEncoderConfig,
    deep_svdd::DeepSvddConfig,
    ecod::Ecod,
    hbos::{Hbos, HbosConfig},
    iforest::{IForest, IForestConfig},
    knn::{Knn, KnnConfig},
    lof::{Lof, LofConfig},
    network::NetworkDetector,
    pca::{Pca, PcaConfig},
    vae::VaeConfig,
};
use burn::tensor::Device;
use panoply_core::{Error, Result, weights::Arrays};
use panoply_datasets::frame::Matrix;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Which detector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectorName {
    /// Isolation forest.
    #[default]
    Iforest,
    /// Local outlier factor.
    Lof,
    /// Nearest neighbours.
    Knn,
    /// Tail probabilities.
    Ecod,
    /// Histograms.
    Hbos,
    /// Principal components.
    Pca,
    /// Autoencoder.
    AutoEncoder,
    /// Variational autoencoder.
    Vae,
    /// Deep support vector data description.
    DeepSvdd,
}

impl DetectorName {
    /// Every detector.
    pub const ALL: [Self; 9] = [
        Self::Iforest,
        Self::Lof,
        Self::Knn,
        Self::Ecod,
        Self::Hbos,
        Self::Pca,
        Self::AutoEncoder,
        Self::Vae,
        Self::DeepSvdd,
    ];

    /// The word that configs and cards have for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Iforest => "iforest",
            Self::Lof => "lof",
            Self::Knn => "knn",
            Self::Ecod => "ecod",
            Self::Hbos => "hbos",
            Self::Pca => "pca",
            Self::AutoEncoder => "auto-encoder",
            Self::Vae => "vae",
            Self::DeepSvdd => "deep-svdd",
        }
    }

    /// How a score comes about, and how the detector is fitted.
    pub(super) fn formula(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Iforest => (
                "isolation",
                "2^(-mean path length / c(psi))",
                "random isolation trees",
            ),
            Self::Lof => (
                "local outlier factor",
                "mean density of the k neighbours / own density",
                "exact nearest neighbours",
            ),
            Self::Knn => (
                "neighbour distance",
                "distance to the k-th neighbour",
                "exact nearest neighbours",
            ),
            Self::Ecod => (
                "tail probability",
                "sum over columns of max(-ln left, -ln right, -ln skewed tail)",
                "sorted columns",
            ),
            Self::Hbos => (
                "histogram density",
                "-sum over columns of log2(density + alpha)",
                "histograms",
            ),
            Self::Pca => (
                "principal components",
                "sum over components of (z . v)^2 / variance, or PyOD's weighted distances",
                "symmetric eigendecomposition",
            ),
            Self::AutoEncoder | Self::Vae | Self::DeepSvdd => ("", "", "training loop"),
        }
    }
}

/// A detector with its settings; those of the others are not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorConfig {
    /// Which one.
    pub name: DetectorName,
    /// Isolation forest.
    pub iforest: IForestConfig,
    /// Local outlier factor.
    pub lof: LofConfig,
    /// Nearest neighbours.
    pub knn: KnnConfig,
    /// Histograms.
    pub hbos: HbosConfig,
    /// Principal components.
    pub pca: PcaConfig,
    /// Autoencoder.
    pub auto_encoder: AutoEncoderConfig,
    /// Variational autoencoder.
    pub vae: VaeConfig,
    /// Deep SVDD.
    pub deep_svdd: DeepSvddConfig,
}

/// Widest layer of a network.
const MAX_NEURONS: usize = 65_536;

impl DetectorConfig {
    /// Checks the layers of the network that is asked for.
    pub(super) fn validate(&self) -> Result<()> {
        let layers: Vec<&[usize]> = match self.name {
            DetectorName::AutoEncoder => vec![&self.auto_encoder.hidden_neurons],
            DetectorName::Vae => vec![&self.vae.encoder_neurons, &self.vae.decoder_neurons],
            DetectorName::DeepSvdd => vec![&self.deep_svdd.hidden_neurons],
            _ => return Ok(()),
        };
        let dropouts = [
            self.auto_encoder.dropout_rate,
            self.vae.dropout_rate,
            self.deep_svdd.dropout_rate,
        ];
        for widths in layers {
            let fits = |&width: &usize| width > 0 && width <= MAX_NEURONS;
            if widths.is_empty() || !widths.iter().all(fits) {
                let expected = "one or more layers of 1 to 65,536 neurons";
                let what = format!("layers {widths:?}");
                return Err(Error::input(self.name.word(), what, expected));
            }
        }
        if !dropouts.iter().all(|dropout| (0.0..1.0).contains(dropout)) {
            let what = format!("{dropouts:?}");
            return Err(Error::input("dropout_rate", what, "from 0 to below 1"));
        }
        if self.name == DetectorName::Vae && self.vae.latent_dim == 0 {
            return Err(Error::input("vae.latent_dim", "0", "1 or more"));
        }
        Ok(())
    }

    /// Fits a detector that is no network.
    ///
    /// # Errors
    /// Settings or rows that do not fit the detector; a network, which is trained by the loop.
    pub fn fit(&self, rows: &NormalOnly<Matrix>, seed: u64) -> Result<Fit<Box<dyn Detector>>> {
        fn boxed<D: Detector + 'static>(fit: Fit<D>) -> Fit<Box<dyn Detector>> {
            Fit {
                detector: Box::new(fit.detector),
                scores: fit.scores,
            }
        }
        Ok(match self.name {
            DetectorName::Iforest => boxed(IForest::fit(rows, &self.iforest, seed)?),
            DetectorName::Lof => boxed(Lof::fit(rows, &self.lof)?),
            DetectorName::Knn => boxed(Knn::fit(rows, &self.knn)?),
            DetectorName::Ecod => boxed(Ecod::fit(rows)?),
            DetectorName::Hbos => boxed(Hbos::fit(rows, &self.hbos)?),
            DetectorName::Pca => boxed(Pca::fit(rows, &self.pca)?),
            DetectorName::AutoEncoder | DetectorName::Vae | DetectorName::DeepSvdd => {
                let expected = "a detector that is no network: those are trained by the loop";
                return Err(Error::input("detector.name", self.name.word(), expected));
            }
        })
    }

    /// Reads the detector that [`Detector::save`] wrote.
    pub(super) fn load(
        &self,
        path: &Path,
        width: usize,
        device: &Device,
    ) -> Result<Box<dyn Detector>> {
        self.validate()?;
        let network: Box<dyn Detector> = match self.name {
            DetectorName::AutoEncoder => {
                let network = self.auto_encoder.init(width, device);
                Box::new(NetworkDetector::load(network, width, path, device)?)
            }
            DetectorName::Vae => {
                let network = self.vae.init(width, device);
                Box::new(NetworkDetector::load(network, width, path, device)?)
            }
            DetectorName::DeepSvdd => {
                let network = self.deep_svdd.init(width, device)?;
                Box::new(NetworkDetector::load(network, width, path, device)?)
            }
            _ => return self.of_arrays(Arrays::load(path)?),
        };
        Ok(network)
    }

    fn of_arrays(&self, mut arrays: Arrays) -> Result<Box<dyn Detector>> {
        let taken = &mut arrays;
        let detector: Box<dyn Detector> = match self.name {
            DetectorName::Iforest => Box::new(IForest::from_arrays(taken)?),
            DetectorName::Lof => Box::new(Lof::from_arrays(&self.lof, taken)?),
            DetectorName::Knn => Box::new(Knn::from_arrays(&self.knn, taken)?),
            DetectorName::Ecod => Box::new(Ecod::from_arrays(taken)?),
            DetectorName::Hbos => Box::new(Hbos::from_arrays(&self.hbos, taken)?),
            _ => Box::new(Pca::from_arrays(&self.pca, taken)?),
        };
        arrays.finish()?;
        Ok(detector)
    }
}
