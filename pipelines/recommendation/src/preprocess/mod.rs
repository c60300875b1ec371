//! Interactions as training samples: a user, an item that the user has, and one that the user has not.

pub mod sequences;

use burn::tensor::{Device, Int, Tensor, TensorData};
use panoply_core::{
    Error, Result,
    fit::{Collate, Samples},
    seed,
};
use panoply_datasets::{Interactions, interactions::Csr};

/// The `draw`-th item, in order, that is not among `seen` (ascending, distinct).
///
/// Items before `seen[i]` that are not seen number `seen[i] - i`, which never falls: one binary search.
pub fn unseen(seen: &[u32], draw: u32) -> u32 {
    let (mut low, mut high) = (0, seen.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if seen[middle] - middle as u32 <= draw {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    draw + low as u32
}

/// An item uniformly from those that are not among `seen` (ascending, distinct), as `seed` has it.
///
/// # Panics
/// If all `num_items` items are seen.
pub fn draw_unseen(seen: &[u32], num_items: usize, seed: u64) -> u32 {
    let left = num_items - seen.len();
    assert!(left > 0, "all {num_items} items are seen");
    // The high half of the product is uniform in 0..left.
    unseen(seen, ((u128::from(seed) * left as u128) >> 64) as u32)
}

/// A user with an item of the training part and one drawn from the items that the user has not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// User.
    pub user: u32,
    /// An item that the user has.
    pub positive: u32,
    /// An item that the user has not.
    pub negative: u32,
}

/// Every interaction of the training part, each with one negative, a function of the seed, the epoch and
/// the place: RecBole's uniform sampling with `sample_num: 1`.
#[derive(Clone, Debug)]
pub struct Pairs {
    users: Vec<u32>,
    items: Vec<u32>,
    seen: Csr,
    num_items: usize,
}

impl Pairs {
    /// The pairs of `train`.
    ///
    /// # Errors
    /// A user who has every item.
    pub fn new(train: &Interactions) -> Result<Self> {
        let (seen, num_items) = (train.by_user(), train.num_items());
        if let Some(user) = seen.rows().position(|row| row.len() == num_items) {
            let name = train.ids().users.name(user as u32);
            let what = format!("user '{name}' has all {num_items} items");
            let expected = "an item to draw as a negative";
            return Err(Error::input(train.location(), what, expected));
        }
        Ok(Self {
            users: train.users().to_vec(),
            items: train.items().to_vec(),
            seen,
            num_items,
        })
    }

    /// The first pairs as a batch.
    pub fn first(&self, count: usize, device: &Device) -> PairBatch {
        let count = count.min(self.users.len());
        let pairs: Vec<Pair> = (0..count).map(|at| self.pair(at, at as u64)).collect();
        PairBatch::new(&pairs, device)
    }

    fn pair(&self, index: usize, seed: u64) -> Pair {
        let user = self.users[index];
        let seed = seed::derive(&[seed]);
        Pair {
            user,
            positive: self.items[index],
            negative: draw_unseen(self.seen.row(user as usize), self.num_items, seed),
        }
    }
}

impl Samples for Pairs {
    type Sample = Pair;

    fn len(&self) -> usize {
        self.users.len()
    }

    fn load(&self, index: usize, seed: u64) -> Result<Pair> {
        Ok(self.pair(index, seed))
    }
}

/// Pairs as indices, `[batch]` each.
#[derive(Clone, Debug)]
pub struct PairBatch {
    /// Users.
    pub users: Tensor<1, Int>,
    /// Items that the users have.
    pub positives: Tensor<1, Int>,
    /// Items that they have not.
    pub negatives: Tensor<1, Int>,
}

impl PairBatch {
    /// Pairs on `device`.
    pub fn new(pairs: &[Pair], device: &Device) -> Self {
        Self {
            users: indices(pairs.iter().map(|pair| pair.user), device),
            positives: indices(pairs.iter().map(|pair| pair.positive), device),
            negatives: indices(pairs.iter().map(|pair| pair.negative), device),
        }
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.users.dims()[0]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Indices as a tensor, `[count]`.
pub fn indices(values: impl Iterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.map(i64::from).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Makes batches of [`Pair`]s.
#[derive(Clone, Copy, Debug)]
pub struct CollatePairs;

impl Collate<Pair> for CollatePairs {
    type Batch = PairBatch;

    fn collate(&self, samples: Vec<Pair>, _seed: u64, device: &Device) -> Result<PairBatch> {
        Ok(PairBatch::new(&samples, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panoply_datasets::InteractionOptions;

    #[test]
    fn unseen_items_are_counted_in_order() {
        let seen = [0, 3, 4, 8];
        let found: Vec<u32> = (0..5).map(|draw| unseen(&seen, draw)).collect();
        assert_eq!(found, [1, 2, 5, 6, 7]);
        assert_eq!(unseen(&seen, 5), 9);
        assert_eq!(unseen(&[], 3), 3);
    }

    #[test]
    fn negatives_are_uniform_over_unseen_items() {
        let mut counts = [0_u32; 6];
        for at in 0..30_000_u64 {
            counts[draw_unseen(&[1, 4], 6, seed::derive(&[at])) as usize] += 1;
        }
        assert_eq!((counts[1], counts[4]), (0, 0));
        for item in [0, 2, 3, 5] {
            assert!(counts[item].abs_diff(7500) < 300, "{counts:?}");
        }
    }

    #[test]
    fn a_user_with_every_item_is_refused() {
        let read = |text: &str| {
            let options = InteractionOptions::default();
            Interactions::from_bytes("x.csv", text.as_bytes(), &options).unwrap()
        };
        let pairs = Pairs::new(&read("user,item\na,x\nb,y\nb,z\n")).unwrap();
        let pair = pairs.load(1, 7).unwrap();
        assert_eq!((pair.user, pair.positive, pair.negative), (1, 1, 0));
        assert_eq!(pair, pairs.load(1, 7).unwrap());
        let error = Pairs::new(&read("user,item\na,x\na,y\nb,y\n")).unwrap_err();
        assert!(
            error.to_string().contains("user 'a' has all 2 items"),
            "{error}"
        );
    }
}
