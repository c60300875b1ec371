//! Compressed sparse rows.

/// Which columns each row has: those of row `r` are `indices[indptr[r]..indptr[r + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Csr {
    indptr: Vec<usize>,
    indices: Vec<u32>,
}

impl Csr {
    /// Groups pairs of a row and a column by row; within a row the order stays.
    ///
    /// # Panics
    /// If there are not as many rows as columns, or a row is not below `num_rows`.
    pub fn of(num_rows: usize, rows: &[u32], columns: &[u32]) -> Self {
        assert_eq!(rows.len(), columns.len(), "a column for each row");
        let mut indptr = vec![0; num_rows + 1];
        for &row in rows {
            indptr[row as usize + 1] += 1;
        }
        for row in 0..num_rows {
            indptr[row + 1] += indptr[row];
        }
        let mut next = indptr.clone();
        let mut indices = vec![0; columns.len()];
        for (&row, &column) in rows.iter().zip(columns) {
            let at = &mut next[row as usize];
            indices[*at] = column;
            *at += 1;
        }
        Self { indptr, indices }
    }

    /// Rows one after the other.
    pub fn from_rows<R: AsRef<[u32]>>(rows: impl IntoIterator<Item = R>) -> Self {
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for row in rows {
            indices.extend_from_slice(row.as_ref());
            indptr.push(indices.len());
        }
        Self { indptr, indices }
    }

    /// The same with each row's columns ascending, each once.
    #[must_use]
    pub fn sorted(&self) -> Self {
        Self::from_rows((0..self.num_rows()).map(|row| {
            let mut columns = self.row(row).to_vec();
            columns.sort_unstable();
            columns.dedup();
            columns
        }))
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// Number of entries.
    pub fn num_entries(&self) -> usize {
        self.indices.len()
    }

    /// Where each row begins, and the end of the last.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// The columns of all rows.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The columns of a row; none for a row beyond the last.
    pub fn row(&self, row: usize) -> &[u32] {
        match (self.indptr.get(row), self.indptr.get(row + 1)) {
            (Some(&start), Some(&end)) => &self.indices[start..end],
            _ => &[],
        }
    }

    /// All rows, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.indptr.windows(2).map(|w| &self.indices[w[0]..w[1]])
    }

    /// Rows and columns exchanged; each new row is ascending.
    #[must_use]
    pub fn transposed(&self, num_columns: usize) -> Self {
        let rows = self.rows().enumerate();
        let rows: Vec<u32> = rows
            .flat_map(|(at, row)| vec![at as u32; row.len()])
            .collect();
        Self::of(num_columns, &self.indices, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_rows_and_back() {
        let csr = Csr::of(4, &[2, 0, 2, 2], &[1, 3, 0, 1]);
        assert_eq!(csr.indptr(), [0, 1, 1, 4, 4]);
        assert_eq!(csr.row(2), [1, 0, 1]);
        assert_eq!((csr.row(3), csr.row(9)), (&[][..], &[][..]));
        let sorted = csr.sorted();
        assert_eq!(
            sorted,
            Csr::from_rows([vec![3], vec![], vec![0, 1], vec![]])
        );
        let back = sorted.transposed(4);
        assert_eq!(back, Csr::from_rows([vec![2], vec![2], vec![], vec![0]]));
        assert_eq!(back.transposed(4), sorted);
    }
}
