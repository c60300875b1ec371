//! Ids as they are written, and their indices.

use std::collections::HashMap;

/// Indices of ids in the order of their first appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    names: Vec<Box<str>>,
    indices: HashMap<Box<str>, u32>,
}

impl IdMap {
    /// Number of ids.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The index of `name`; a new one if it is new.
    pub fn add(&mut self, name: &str) -> u32 {
        if let Some(&index) = self.indices.get(name) {
            return index;
        }
        let index = self.names.len() as u32;
        self.names.push(name.into());
        self.indices.insert(name.into(), index);
        index
    }

    /// The index of `name`, if it is known.
    pub fn get(&self, name: &str) -> Option<u32> {
        self.indices.get(name).copied()
    }

    /// The id at `index`.
    ///
    /// # Panics
    /// If there is none.
    pub fn name(&self, index: u32) -> &str {
        &self.names[index as usize]
    }

    /// All ids, by index.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// The ids that occur in `column`, which gets their new indices.
    pub(super) fn only(&self, column: &mut [u32]) -> Self {
        let mut kept = Self::default();
        let mut new = vec![u32::MAX; self.len()];
        for index in column {
            let slot = &mut new[*index as usize];
            if *slot == u32::MAX {
                *slot = kept.add(self.name(*index));
            }
            *index = *slot;
        }
        kept
    }
}

impl<S: AsRef<str>> FromIterator<S> for IdMap {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut ids = Self::default();
        for name in names {
            ids.add(name.as_ref());
        }
        ids
    }
}

/// The ids of a set of interactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Users.
    pub users: IdMap,
    /// Items.
    pub items: IdMap,
}
