//! Exact nearest neighbours by Euclidean distance.

use panoply_datasets::frame::Matrix;
use rayon::prelude::*;

/// Numbers that are summed between looks at the bound.
const CHUNK: usize = 8;

/// A neighbour: its distance and its row.
pub(crate) type Neighbour = (f64, usize);

/// The `k` rows of `train` nearest to each row of `queries`, nearest first, of equally near ones the first.
///
/// With `own` the queries are the training rows themselves, and none is its own neighbour (another row with the same
/// numbers is). Every distance is looked at: cost grows with the product of both numbers of rows.
pub(crate) fn nearest(
    train: &Matrix,
    queries: &Matrix,
    k: usize,
    own: bool,
) -> Vec<Vec<Neighbour>> {
    let of = |query: usize| {
        let skipped = own.then_some(query);
        nearest_to(train, queries.row(query), k, skipped)
    };
    (0..queries.len()).into_par_iter().map(of).collect()
}

fn nearest_to(train: &Matrix, query: &[f64], k: usize, skipped: Option<usize>) -> Vec<Neighbour> {
    // Few neighbours: a sorted list beats a heap.
    let mut best: Vec<Neighbour> = Vec::with_capacity(k + 1);
    for (row, values) in train.rows().enumerate() {
        if Some(row) == skipped {
            continue;
        }
        let bound = if best.len() < k {
            f64::INFINITY
        } else {
            best[k - 1].0
        };
        let Some(square) = square_distance(values, query, bound) else {
            continue;
        };
        let at = best.partition_point(|&(other, _)| other <= square);
        best.insert(at, (square, row));
        best.truncate(k);
    }
    for (square, _) in &mut best {
        *square = square.sqrt();
    }
    best
}

/// The squared distance, or `None` as soon as it cannot lie below `bound`.
fn square_distance(a: &[f64], b: &[f64], bound: f64) -> Option<f64> {
    let mut sum = 0.0;
    for (a, b) in a.chunks(CHUNK).zip(b.chunks(CHUNK)) {
        for (a, b) in a.iter().zip(b) {
            sum += (a - b) * (a - b);
        }
        if sum >= bound {
            return None;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_not_its_own_neighbour_but_its_double_is() {
        let train = Matrix::new(vec![0.0, 3.0, 3.0, 10.0], 1).unwrap();
        let found = nearest(&train, &train, 2, true);
        assert_eq!(found[1], [(0.0, 2), (3.0, 0)]);
        assert_eq!(found[3], [(7.0, 1), (7.0, 2)]);
        let found = nearest(&train, &train, 2, false);
        assert_eq!(found[1], [(0.0, 1), (0.0, 2)]);
    }
}
