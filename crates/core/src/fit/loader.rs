//! Samples to batches: seeded order, parallel decoding, prefetch, all independent of threads.

use super::stream;
use crate::{Error, Result, guard, seed::derive};
use burn::tensor::Device;
use rayon::prelude::*;
use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

/// Batches that wait ready while the model computes.
const PREFETCH: usize = 2;

/// A data set that can decode and augment one sample at a time, from any thread.
pub trait Samples: Sync {
    /// A decoded sample, still on the host.
    type Sample: Send;

    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes sample `index`; every random choice (augmentation) comes from `seed`, which is a
    /// function of the run's seed, the epoch and the index. An error names the file.
    fn load(&self, index: usize, seed: u64) -> Result<Self::Sample>;
}

/// Turns decoded samples into one batch; mixing (MixUp, CutMix) happens here.
pub trait Collate<S>: Sync {
    /// Tensors.
    type Batch: Send;

    /// One batch on `device`. Random choices come from `seed`, never from the device's generator,
    /// which belongs to the model: this runs on another thread, ahead of it.
    fn collate(&self, samples: Vec<S>, seed: u64, device: &Device) -> Result<Self::Batch>;
}

/// Batches of a data set, in an order that is a pure function of the seed and the epoch.
pub struct Loader<'a, S: ?Sized, C: ?Sized> {
    samples: &'a S,
    collate: &'a C,
    batch_size: usize,
    seed: u64,
    shuffle: bool,
    drop_last: bool,
}

impl<S: ?Sized, C: ?Sized> Clone for Loader<'_, S, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized, C: ?Sized> Copy for Loader<'_, S, C> {}

impl<'a, S, C> Loader<'a, S, C>
where
    S: Samples + ?Sized,
    C: Collate<S::Sample> + ?Sized,
{
    /// The samples as they lie, for validation and evaluation.
    pub fn ordered(samples: &'a S, collate: &'a C, batch_size: usize) -> Self {
        let batch_size = batch_size.max(1);
        Self {
            samples,
            collate,
            batch_size,
            seed: 0,
            shuffle: false,
            drop_last: false,
        }
    }

    /// The samples in a new order each epoch, for training.
    pub fn shuffled(samples: &'a S, collate: &'a C, batch_size: usize, seed: u64) -> Self {
        Self {
            seed,
            shuffle: true,
            ..Self::ordered(samples, collate, batch_size)
        }
    }

    /// Whether to leave out a smaller last batch.
    #[must_use]
    pub fn with_drop_last(self, drop_last: bool) -> Self {
        Self { drop_last, ..self }
    }

    /// Samples of the data set.
    pub fn num_samples(&self) -> usize {
        self.samples.len()
    }

    /// Batches of an epoch.
    pub fn num_batches(&self) -> usize {
        if self.drop_last {
            self.samples.len() / self.batch_size
        } else {
            self.samples.len().div_ceil(self.batch_size)
        }
    }

    /// Sample indices in the order of `epoch` (Fisher-Yates).
    pub fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        if self.shuffle {
            let seed = derive(&[self.seed, stream::ORDER, epoch as u64]);
            for i in (1..order.len()).rev() {
                // The high half of the product is uniform in 0..=i.
                let draw = u128::from(derive(&[seed, i as u64])) * (i as u128 + 1);
                order.swap(i, (draw >> 64) as usize);
            }
        }
        order
    }

    /// Batch `index` of `epoch`, now and on this thread.
    pub fn batch(&self, epoch: usize, index: usize, device: &Device) -> Result<C::Batch> {
        self.assemble(&self.order(epoch), epoch, index, device)
    }

    /// Calls `consume` with the batches of `epoch`, the first `skip` left out (going on in the
    /// middle of an epoch). A background thread prepares the next batches meanwhile. The first
    /// sample that cannot be loaded ends them with its error.
    pub fn pass<R>(
        &self,
        epoch: usize,
        skip: usize,
        device: &Device,
        consume: impl FnOnce(&mut Batches<C::Batch>) -> Result<R>,
    ) -> Result<R> {
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel(PREFETCH);
            let producer = move || {
                let order = self.order(epoch);
                for index in skip..self.num_batches() {
                    let batch = guard("loading a batch", || {
                        self.assemble(&order, epoch, index, device)
                    });
                    let failed = batch.is_err();
                    // A closed channel means that nobody wants more.
                    if sender.send(batch).is_err() || failed {
                        break;
                    }
                }
            };
            thread::Builder::new()
                .name("prefetch".into())
                .spawn_scoped(scope, producer)
                .map_err(|e| Error::io("start", "the prefetch thread", e))?;
            // Dropped before the scope joins the thread, also on an error or a panic.
            let mut batches = Batches {
                receiver,
                failed: false,
            };
            consume(&mut batches)
        })
    }

    fn assemble(
        &self,
        order: &[usize],
        epoch: usize,
        index: usize,
        device: &Device,
    ) -> Result<C::Batch> {
        let start = index * self.batch_size;
        let end = (start + self.batch_size).min(order.len());
        let seed = |kind, position| derive(&[self.seed, kind, epoch as u64, position as u64]);
        let loaded: Vec<Result<S::Sample>> = order[start..end]
            .par_iter()
            .map(|&sample| self.samples.load(sample, seed(stream::SAMPLE, sample)))
            .collect();
        // In order, so that of two bad samples always the same one is reported.
        let samples = loaded.into_iter().collect::<Result<Vec<_>>>()?;
        self.collate
            .collate(samples, seed(stream::COLLATE, index), device)
    }
}

/// The batches of one [`Loader::pass`].
pub struct Batches<B> {
    receiver: Receiver<Result<B>>,
    failed: bool,
}

impl<B> Iterator for Batches<B> {
    type Item = Result<B>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.receiver.recv().ok()?;
        self.failed = batch.is_err();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sample `i` is `(i, seed)`; `bad` cannot be read and `panics` panics.
    struct Numbers {
        len: usize,
        bad: Option<usize>,
        panics: Option<usize>,
    }

    impl Samples for Numbers {
        type Sample = (usize, u64);
        fn len(&self) -> usize {
            self.len
        }
        fn load(&self, index: usize, seed: u64) -> Result<Self::Sample> {
            assert_ne!(Some(index), self.panics, "dirty sample");
            if Some(index) == self.bad {
                return Err(Error::input(
                    format!("img/{index}.jpg"),
                    "truncated",
                    "a JPEG",
                ));
            }
            Ok((index, seed))
        }
    }

    struct Keep;

    impl<S: Send> Collate<S> for Keep {
        type Batch = (Vec<S>, u64);
        fn collate(&self, samples: Vec<S>, seed: u64, _device: &Device) -> Result<Self::Batch> {
            Ok((samples, seed))
        }
    }

    type Batch = (Vec<(usize, u64)>, u64);

    fn good(len: usize) -> Numbers {
        Numbers {
            len,
            bad: None,
            panics: None,
        }
    }

    fn all(loader: Loader<'_, Numbers, Keep>, epoch: usize, skip: usize) -> Vec<Batch> {
        let device = Device::flex();
        loader
            .pass(epoch, skip, &device, |batches| batches.collect())
            .unwrap()
    }

    #[test]
    fn the_order_is_a_permutation_that_depends_on_seed_and_epoch_alone() {
        let data = good(100);
        let loader = Loader::shuffled(&data, &Keep, 8, 7);
        let order = loader.order(3);
        assert_eq!(order, Loader::shuffled(&data, &Keep, 5, 7).order(3));
        assert_ne!(order, loader.order(4));
        assert_ne!(order, Loader::shuffled(&data, &Keep, 8, 8).order(3));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_shuffle_is_fair() {
        let data = good(4);
        let mut first = [0; 4];
        for epoch in 0..4000 {
            first[Loader::shuffled(&data, &Keep, 4, 1).order(epoch)[0]] += 1;
        }
        // Standard deviation of each count: 27.
        assert!(
            first.iter().all(|&n| (n - 1000_i32).abs() < 140),
            "{first:?}"
        );
    }

    #[test]
    fn batches_do_not_depend_on_the_number_of_threads() {
        let data = good(50);
        let loader = Loader::shuffled(&data, &Keep, 8, 7);
        let passed = all(loader, 2, 0);
        assert_eq!(passed.len(), 7);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let device = Device::flex();
            let one = |i| pool.install(|| loader.batch(2, i, &device)).unwrap();
            assert_eq!((0..7).map(one).collect::<Vec<Batch>>(), passed);
        }
    }

    #[test]
    fn skipping_gives_the_rest_of_the_same_epoch() {
        let data = good(50);
        let loader = Loader::shuffled(&data, &Keep, 8, 7);
        assert_eq!(all(loader, 1, 3), all(loader, 1, 0)[3..]);
        assert!(all(loader, 1, 7).is_empty());
    }

    #[test]
    fn drop_last_leaves_out_a_small_batch_and_ordered_keeps_the_order() {
        let data = good(10);
        let loader = Loader::ordered(&data, &Keep, 4);
        let sizes = |l| all(l, 0, 0).iter().map(|b| b.0.len()).collect::<Vec<_>>();
        assert_eq!(sizes(loader), [4, 4, 2]);
        assert_eq!(sizes(loader.with_drop_last(true)), [4, 4]);
        let indices = all(loader, 0, 0).into_iter().flat_map(|b| b.0).map(|s| s.0);
        assert_eq!(indices.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_sample_ends_the_pass_with_its_path() {
        let data = Numbers {
            len: 10,
            bad: Some(5),
            panics: None,
        };
        let loader = Loader::ordered(&data, &Keep, 2);
        let seen = loader.pass(0, 0, &Device::flex(), |batches| {
            Ok(batches.collect::<Vec<_>>())
        });
        let mut seen = seen.unwrap();
        assert_eq!(seen.len(), 3);
        let text = seen.pop().unwrap().unwrap_err().to_string();
        assert!(
            text.contains("img/5.jpg") && seen.iter().all(Result::is_ok),
            "{text}"
        );
    }

    #[test]
    fn a_panicking_sample_is_an_error_and_stopping_early_does_not_hang() {
        let data = Numbers {
            len: 10,
            bad: None,
            panics: Some(9),
        };
        let loader = Loader::ordered(&data, &Keep, 1);
        let device = Device::flex();
        let all = loader.pass(0, 0, &device, |batches| batches.collect::<Result<Vec<_>>>());
        let text = all.unwrap_err().to_string();
        assert!(text.contains("loading a batch"), "{text}");
        let first = loader.pass(0, 0, &device, |batches| Ok(batches.next().is_some()));
        assert!(first.unwrap());
        let error = loader.pass(0, 0, &device, |_| -> Result<()> {
            Err(Error::input("a", "b", "c"))
        });
        assert!(error.is_err());
    }
}
