//! Histories as training samples: at every position of a sequence the item that came next, and one that the user has not.

use super::draw_unseen;
use burn::tensor::{Device, Int, Tensor};
use panoply_core::{
    Error, Result,
    fit::{Collate, Samples},
    seed,
};
use panoply_datasets::{Interactions, interactions::Csr};

/// The items of a user from the oldest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Items that a prediction is made of.
    pub items: Vec<u32>,
    /// The one that came next, of each.
    pub targets: Vec<u32>,
    /// One that the user has not, for each.
    pub negatives: Vec<u32>,
}

/// Every user with at least two items, each a sample: the last `max_seq_length` of the user's items that another item
/// follows. Negatives are functions of the seed, the epoch and the place.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// The items of each user that is a sample, the oldest first.
    histories: Csr,
    /// The same, ascending.
    seen: Csr,
    num_items: usize,
    max_seq_length: usize,
}

impl Sequences {
    /// The sequences of `train`.
    ///
    /// # Errors
    /// No user with two items; a user who has every item.
    pub fn new(train: &Interactions, max_seq_length: usize) -> Result<Self> {
        let num_items = train.num_items();
        let all = train.histories();
        let long = || all.rows().filter(|row| row.len() > 1);
        if long().next().is_none() {
            let what = "no user has two items";
            return Err(Error::input(train.location(), what, "sequences of items"));
        }
        let histories = Csr::from_rows(long());
        let seen = histories.sorted();
        if seen.rows().any(|row| row.len() == num_items) {
            let what = format!("a user has all {num_items} items");
            let expected = "an item to draw as a negative";
            return Err(Error::input(train.location(), what, expected));
        }
        Ok(Self {
            histories,
            seen,
            num_items,
            max_seq_length,
        })
    }

    /// The first sequences as a batch.
    pub fn first(&self, count: usize, device: &Device) -> SequenceBatch {
        let count = count.min(self.histories.num_rows());
        let sequences: Vec<Sequence> = (0..count).map(|at| self.sequence(at, at as u64)).collect();
        SequenceBatch::new(&sequences, device)
    }

    fn sequence(&self, index: usize, seed: u64) -> Sequence {
        let (history, seen) = (self.histories.row(index), self.seen.row(index));
        let (items, targets) = (&history[..history.len() - 1], &history[1..]);
        let start = items.len().saturating_sub(self.max_seq_length);
        let negative =
            |at: usize| draw_unseen(seen, self.num_items, seed::derive(&[seed, at as u64]));
        Sequence {
            items: items[start..].to_vec(),
            targets: targets[start..].to_vec(),
            negatives: (start..items.len()).map(negative).collect(),
        }
    }
}

impl Samples for Sequences {
    type Sample = Sequence;

    fn len(&self) -> usize {
        self.histories.num_rows()
    }

    fn load(&self, index: usize, seed: u64) -> Result<Sequence> {
        Ok(self.sequence(index, seed))
    }
}

/// Sequences as rows of a table whose row 0 is padding: item `i` is row `i + 1`.
#[derive(Clone, Debug)]
pub struct SequenceBatch {
    /// `[batch, seq]`, padding behind the items.
    pub rows: Tensor<2, Int>,
    /// Where `rows` holds an item, counted through the batch: `[positions]`.
    pub positions: Tensor<1, Int>,
    /// The row of the item that came next at each of them, `[positions]`.
    pub targets: Tensor<1, Int>,
    /// The row of the item that did not, `[positions]`.
    pub negatives: Tensor<1, Int>,
}

impl SequenceBatch {
    /// Sequences on `device`, padded to the longest.
    pub fn new(sequences: &[Sequence], device: &Device) -> Self {
        let seq = sequences.iter().map(|s| s.items.len()).max().unwrap_or(0);
        let mut rows = vec![0_i64; sequences.len() * seq];
        let (mut positions, mut targets, mut negatives) = (Vec::new(), Vec::new(), Vec::new());
        let row = |&item: &u32| i64::from(item) + 1;
        for (at, sequence) in sequences.iter().enumerate() {
            for (offset, item) in sequence.items.iter().enumerate() {
                rows[at * seq + offset] = row(item);
                positions.push((at * seq + offset) as i64);
            }
            targets.extend(sequence.targets.iter().map(row));
            negatives.extend(sequence.negatives.iter().map(row));
        }
        let ints = |values: Vec<i64>| Tensor::<1, Int>::from_data(values.as_slice(), device);
        Self {
            rows: ints(rows).reshape([sequences.len(), seq]),
            positions: ints(positions),
            targets: ints(targets),
            negatives: ints(negatives),
        }
    }
}

/// Makes batches of [`Sequence`]s.
#[derive(Clone, Copy, Debug)]
pub struct CollateSequences;

impl Collate<Sequence> for CollateSequences {
    type Batch = SequenceBatch;

    fn collate(
        &self,
        samples: Vec<Sequence>,
        _seed: u64,
        device: &Device,
    ) -> Result<SequenceBatch> {
        Ok(SequenceBatch::new(&samples, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panoply_datasets::InteractionOptions;

    fn read(text: &str) -> Interactions {
        let options = InteractionOptions::default();
        Interactions::from_bytes("x.csv", text.as_bytes(), &options).unwrap()
    }

    #[test]
    fn the_next_item_is_the_target_of_each_position() {
        let text = "user,item,timestamp\na,p,3\na,q,1\na,r,2\na,s,9\nb,p,1\nc,t,1\nc,p,2\nc,u,3\n";
        let all = read(text);
        let name = |items: &[u32]| {
            items
                .iter()
                .map(|&i| all.ids().items.name(i))
                .collect::<String>()
        };
        let sequences = Sequences::new(&all, 2).unwrap();
        assert_eq!(sequences.len(), 2);
        let first = sequences.load(0, 5).unwrap();
        assert_eq!(
            (name(&first.items), name(&first.targets)),
            ("rp".into(), "ps".into())
        );
        assert!(
            first
                .negatives
                .iter()
                .all(|&i| "tu".contains(all.ids().items.name(i)))
        );
        assert_eq!(first, sequences.load(0, 5).unwrap());
        let short = Sequence {
            items: vec![3],
            targets: vec![0],
            negatives: vec![1],
        };
        let batch = SequenceBatch::new(&[first.clone(), short], &Device::flex());
        let values = |x: Tensor<1, Int>| x.into_data().try_into_vec_as::<i64>().unwrap();
        let rows = values(batch.rows.reshape([4]));
        assert_eq!(
            rows,
            [
                i64::from(first.items[0]) + 1,
                i64::from(first.items[1]) + 1,
                4,
                0
            ]
        );
        assert_eq!(values(batch.positions), [0, 1, 2]);
        assert_eq!(values(batch.targets)[2], 1);
    }

    #[test]
    fn data_without_sequences_is_refused() {
        let error = |text| Sequences::new(&read(text), 5).unwrap_err().to_string();
        assert!(error("user,item\na,p\nb,q\n").contains("no user has two items"));
        assert!(error("user,item\na,p\na,q\nb,q\n").contains("all 2 items"));
    }
}
