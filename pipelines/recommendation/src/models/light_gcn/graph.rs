//! The graph of users and items, and how vectors spread along it.

use panoply_datasets::interactions::Csr;
use rayon::prelude::*;

/// Who has what, both ways: the graph that vectors spread along.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The items of each user.
    items_of: Csr,
    /// The users of each item.
    users_of: Csr,
    /// 1 / √degree of each user; of one without items as if it had one.
    user_norms: Vec<f32>,
    /// The same of each item.
    item_norms: Vec<f32>,
}

impl Graph {
    /// The graph of `train`, a row a user, each item once.
    pub fn new(train: &Csr, num_items: usize) -> Self {
        let norms = |side: &Csr| {
            let norm = |row: &[u32]| 1.0 / (row.len().max(1) as f32).sqrt();
            side.rows().map(norm).collect()
        };
        let (items_of, users_of) = (train.clone(), train.transposed(num_items));
        Self {
            user_norms: norms(&items_of),
            item_norms: norms(&users_of),
            items_of,
            users_of,
        }
    }

    /// The graph out of [`lists`](Self::lists), if that is what they are.
    pub(super) fn from_lists(degrees: &[i64], items: &[i64], num_items: usize) -> Option<Self> {
        let mut left = items;
        let mut rows = Vec::with_capacity(degrees.len());
        for &degree in degrees {
            let (row, rest) = left.split_at_checked(usize::try_from(degree).ok()?)?;
            let item = |&item: &i64| {
                let index = u32::try_from(item).ok()?;
                ((index as usize) < num_items).then_some(index)
            };
            rows.push(row.iter().map(item).collect::<Option<Vec<u32>>>()?);
            left = rest;
        }
        let whole = left.is_empty();
        whole.then(|| Self::new(&Csr::from_rows(rows), num_items))
    }

    /// How many items each user has, and the items, user by user.
    pub(super) fn lists(&self) -> [Vec<i64>; 2] {
        let degrees = self.items_of.rows().map(|row| row.len() as i64);
        let items = self.items_of.indices().iter().map(|&item| i64::from(item));
        [degrees.collect(), items.collect()]
    }

    /// 1 / √degree of each item; of one without users as if it had one.
    pub(super) fn item_norms(&self) -> &[f32] {
        &self.item_norms
    }

    /// Number of users.
    pub fn num_users(&self) -> usize {
        self.items_of.num_rows()
    }

    /// Number of items.
    pub fn num_items(&self) -> usize {
        self.users_of.num_rows()
    }

    /// What one layer makes of `vectors`, `[users + items, dim]`. Each row is summed in one order, whatever thread it
    /// falls to.
    fn layer(&self, vectors: &[f32], dim: usize) -> Vec<f32> {
        let mut out = vec![0.0; vectors.len()];
        let split = self.num_users() * dim;
        let (of_users, of_items) = vectors.split_at(split);
        let (to_users, to_items) = out.split_at_mut(split);
        spread(
            (of_items, &self.item_norms),
            &self.items_of,
            &self.user_norms,
            to_users,
            dim,
        );
        spread(
            (of_users, &self.user_norms),
            &self.users_of,
            &self.item_norms,
            to_items,
            dim,
        );
        out
    }

    /// The mean of `vectors` and of what each of `n_layers` layers makes of the one before, `[users + items, dim]`. A
    /// symmetric linear map.
    pub fn propagate(&self, vectors: &[f32], dim: usize, n_layers: usize) -> Vec<f32> {
        let mut sum = vectors.to_vec();
        let mut last = vectors.to_vec();
        for _ in 0..n_layers {
            last = self.layer(&last, dim);
            sum.par_iter_mut()
                .zip(&last)
                .for_each(|(sum, last)| *sum += last);
        }
        let share = 1.0 / (n_layers + 1) as f32;
        sum.par_iter_mut().for_each(|sum| *sum *= share);
        sum
    }
}

/// Adds to each row of `to` its neighbours' vectors, each times both norms.
fn spread(
    (from, from_norms): (&[f32], &[f32]),
    neighbours: &Csr,
    norms: &[f32],
    to: &mut [f32],
    dim: usize,
) {
    to.par_chunks_mut(dim).enumerate().for_each(|(row, sum)| {
        for &other in neighbours.row(row) {
            let other = other as usize;
            let norm = from_norms[other];
            let vector = &from[other * dim..(other + 1) * dim];
            sum.iter_mut()
                .zip(vector)
                .for_each(|(sum, value)| *sum += norm * value);
        }
        for sum in sum {
            *sum *= norms[row];
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use panoply_core::seed;

    #[test]
    fn a_layer_by_hand() {
        let graph = Graph::new(&Csr::from_rows([vec![0, 1], vec![1], vec![1, 2]]), 4);
        // Users 0..3, items 3..7; degrees 2, 1, 2 and 1, 3, 1, 0.
        let vectors = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
        let out = graph.layer(&vectors, 1);
        let (a, b) = (2.0_f32.sqrt().recip(), 6.0_f32.sqrt().recip());
        let c = 3.0_f32.sqrt().recip();
        let expected = [
            8.0 * a + 16.0 * b,
            16.0 * c,
            16.0 * b + 32.0 * a,
            a,
            b + 2.0 * c + 4.0 * b,
            4.0 * a,
            0.0,
        ];
        assert!(
            out.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-5),
            "{out:?}"
        );
        let mean = graph.propagate(&vectors, 1, 1);
        assert!((mean[1] - f32::midpoint(2.0, 16.0 * c)).abs() < 1e-5);
        assert_eq!(graph.propagate(&vectors, 1, 0), vectors);
    }

    #[test]
    fn spreading_does_not_depend_on_the_number_of_threads() {
        let rows = (0..50_u64).map(|row| {
            let item = |at| (seed::derive(&[row, at]) % 40) as u32;
            (0..row % 7).map(item).collect::<Vec<u32>>()
        });
        let graph = Graph::new(&Csr::from_rows(rows).sorted(), 40);
        let vectors: Vec<f32> = (0..90 * 8)
            .map(|i| (seed::derive(&[i]) as f32).sin())
            .collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| graph.propagate(&vectors, 8, 3))
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn lists_lead_back_to_the_graph() {
        let graph = Graph::new(&Csr::from_rows([vec![0, 1], vec![], vec![1, 2]]), 4);
        let [degrees, items] = graph.lists();
        assert_eq!(
            (degrees.as_slice(), items.as_slice()),
            (&[2, 0, 2][..], &[0, 1, 1, 2][..])
        );
        assert_eq!(Graph::from_lists(&degrees, &items, 4), Some(graph));
        for (degrees, items) in [
            (&[2, 1][..], &[0, 1][..]),
            (&[1], &[4]),
            (&[1], &[0, 1]),
            (&[-1], &[]),
        ] {
            assert_eq!(Graph::from_lists(degrees, items, 4), None);
        }
    }
}
