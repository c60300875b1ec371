//! Interactions of users with items: who, what, and where known how well liked and when.
//!
//! [`Interactions::open`] reads CSV, TSV, JSON lines and Parquet (feature `tables`) by column names,
//! row by row in constant memory beside the result; also gzipped. RecBole's atomic files
//! (`user_id:token`) and the files of MovieLens, which have no header, are recognised. Ids stay as they
//! are written; their indices follow the order of first appearance. [`SplitConfig`] says how a set is
//! divided, [`open_interaction_splits`] does it, [`write_splits`] leaves the parts as files for other
//! programs.
//!
//! Text is read by the `csv` crate and not by polars: what does not parse is named by its line, and a gzipped
//! file is unpacked on the way.

mod csr;
mod ids;
mod read;
mod split;

pub use csr::Csr;
pub use ids::{IdMap, Ids};
pub use split::{
    Order, SplitConfig, SplitKind, open_interaction_splits, open_interactions_for_eval,
    write_splits,
};

use crate::{Error, Result, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::HashSet, path::Path, sync::Arc};

/// Which columns, and which rows of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InteractionOptions {
    /// Column of the users; the usual names (`user`, `user_id`, `userId`, …) if none is given.
    pub user: Option<String>,
    /// Column of the items; the usual names if none is given.
    pub item: Option<String>,
    /// Column of the ratings; the usual names if none is given, and no ratings without one.
    pub rating: Option<String>,
    /// Column of the times, seconds of any epoch; the usual names if none is given, and no times
    /// without one.
    pub timestamp: Option<String>,
    /// Names of the columns of a file without a header. A file whose first line is two to four numbers has
    /// no header either: its columns are user, item, rating and timestamp.
    pub header: Option<Vec<String>>,
    /// What stands between two cells: a character, or the same one twice (`::`). By the extension, else
    /// by the first line, if none is given.
    pub separator: Option<String>,
    /// A line is a user and then all of the user's items, the oldest first.
    pub sequences: bool,
    /// Rows with a lower rating are left out.
    pub min_rating: Option<f64>,
    /// Users with fewer interactions are left out, again and again until none is left (k-core).
    pub min_user_interactions: usize,
    /// Items with fewer interactions are left out, together with the users.
    pub min_item_interactions: usize,
    /// Which of several interactions of one user with one item stay.
    pub duplicates: Duplicates,
    /// Greatest share of rows that do not parse; a file with more is refused.
    pub max_bad_rows: f64,
}

impl Default for InteractionOptions {
    fn default() -> Self {
        Self {
            user: None,
            item: None,
            rating: None,
            timestamp: None,
            header: None,
            separator: None,
            sequences: false,
            min_rating: None,
            min_user_interactions: 0,
            min_item_interactions: 0,
            duplicates: Duplicates::default(),
            max_bad_rows: 0.01,
        }
    }
}

impl InteractionOptions {
    /// Names that a column has where none was given.
    const USUAL: [&[&str]; 4] = [
        &["user", "user_id", "userId", "userid", "uid"],
        &[
            "item", "item_id", "itemId", "itemid", "iid", "movieId", "movie_id", "movie",
        ],
        &["rating", "ratings", "score"],
        &["timestamp", "time", "ts"],
    ];

    /// Positions of user, item, rating and timestamp in `header`. Types after a colon
    /// (`user_id:token`) do not belong to a name.
    fn find(&self, header: &[String], location: &str) -> Result<[Option<usize>; 4]> {
        let bare = |name: &str| {
            name.trim()
                .split(':')
                .next()
                .unwrap_or_default()
                .to_string()
        };
        let names: Vec<String> = header.iter().map(|name| bare(name)).collect();
        let place = |name: &str| names.iter().position(|known| known == name);
        let given = [&self.user, &self.item, &self.rating, &self.timestamp];
        let mut found = [None; 4];
        for (at, slot) in found.iter_mut().enumerate() {
            *slot = match given[at] {
                Some(name) => Some(place(name).ok_or_else(|| {
                    let what = format!("no column '{name}'");
                    Error::input(location, what, format!("one of {}", names.join(", ")))
                })?),
                None => Self::USUAL[at].iter().find_map(|name| place(name)),
            };
        }
        for (at, name) in ["user", "item"].into_iter().enumerate() {
            if found[at].is_none() {
                let what = format!("no column of a usual name for the {name}s");
                let expected = format!("the setting `{name}` to name one of {}", names.join(", "));
                return Err(Error::input(location, what, expected));
            }
        }
        if self.min_rating.is_some() && found[2].is_none() {
            let expected = "a column of ratings, as min_rating is set";
            return Err(Error::input(location, "no ratings", expected));
        }
        Ok(found)
    }
}

/// Which of several interactions of one user with one item stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The first in the file.
    #[default]
    First,
    /// The last in the file, in its own place.
    Last,
    /// All of them.
    Keep,
}

/// Rows that do not parse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadRows {
    /// How many.
    pub count: usize,
    /// The first few, with line and reason.
    pub examples: Vec<String>,
}

/// Interactions in the order of their file.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactions {
    location: String,
    ids: Arc<Ids>,
    users: Vec<u32>,
    items: Vec<u32>,
    ratings: Option<Vec<f32>>,
    timestamps: Option<Vec<f64>>,
    bad: BadRows,
    num_duplicates: usize,
}

impl Interactions {
    /// Reads one file.
    ///
    /// # Errors
    /// A file that cannot be read, lacks a column, has no row that is kept or too many that do not parse;
    /// ratings and times that are not finite numbers count among those.
    pub fn open(path: &Path, options: &InteractionOptions) -> Result<Self> {
        let (mut read, ids) = read::open(path, options, Ids::default())?;
        read.ids = Arc::new(ids);
        Ok(read)
    }

    /// Reads the content of a separated file; `location` is for messages and its extension.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(location: &str, bytes: &[u8], options: &InteractionOptions) -> Result<Self> {
        let (mut read, ids) = read::from_bytes(location, bytes, options, Ids::default())?;
        read.ids = Arc::new(ids);
        Ok(read)
    }

    /// Interactions that are in memory, with indices into `ids`; `location` is for messages.
    ///
    /// # Errors
    /// Columns of different lengths, indices beyond `ids`, ratings and times that are not finite.
    pub fn new(
        location: &str,
        ids: Arc<Ids>,
        [users, items]: [Vec<u32>; 2],
        ratings: Option<Vec<f32>>,
        timestamps: Option<Vec<f64>>,
    ) -> Result<Self> {
        let wrong = |what: &str, expected: &str| Err(Error::input(location, what, expected));
        let rows = users.len();
        let same = |length: Option<usize>| length.is_none_or(|length| length == rows);
        if items.len() != rows
            || !same(ratings.as_ref().map(Vec::len))
            || !same(timestamps.as_ref().map(Vec::len))
        {
            return wrong("columns of different lengths", "as many cells in each");
        }
        let beyond = |column: &[u32], ids: &IdMap| column.iter().any(|&i| i as usize >= ids.len());
        if beyond(&users, &ids.users) || beyond(&items, &ids.items) {
            return wrong("an index beyond the ids", "indices of the ids");
        }
        if ratings.iter().flatten().any(|v| !v.is_finite())
            || timestamps.iter().flatten().any(|v| !v.is_finite())
        {
            return wrong("a rating or a time that is not finite", "finite numbers");
        }
        Ok(Self {
            location: location.into(),
            ids,
            users,
            items,
            ratings,
            timestamps,
            bad: BadRows::default(),
            num_duplicates: 0,
        })
    }

    /// Where they come from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Number of interactions.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The ids behind the indices; the parts of a split share them.
    pub fn ids(&self) -> &Arc<Ids> {
        &self.ids
    }

    /// Number of users in [`ids`](Self::ids).
    pub fn num_users(&self) -> usize {
        self.ids.users.len()
    }

    /// Number of items in [`ids`](Self::ids).
    pub fn num_items(&self) -> usize {
        self.ids.items.len()
    }

    /// The user of each interaction.
    pub fn users(&self) -> &[u32] {
        &self.users
    }

    /// The item of each interaction.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// The rating of each interaction.
    pub fn ratings(&self) -> Option<&[f32]> {
        self.ratings.as_deref()
    }

    /// The time of each interaction.
    pub fn timestamps(&self) -> Option<&[f64]> {
        self.timestamps.as_deref()
    }

    /// Rows of the file that do not parse.
    pub fn bad_rows(&self) -> &BadRows {
        &self.bad
    }

    /// Rows that went, or under [`Duplicates::Keep`] would go, because another has the same user and item.
    pub fn num_duplicates(&self) -> usize {
        self.num_duplicates
    }

    /// SHA-256 over users and items by their ids, in order, with ratings and times where there are some.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for row in 0..self.len() {
            let user = self.ids.users.name(self.users[row]);
            let item = self.ids.items.name(self.items[row]);
            hash.update(format!("{user}\t{item}"));
            if let Some(ratings) = &self.ratings {
                hash.update(format!("\t{}", ratings[row]));
            }
            if let Some(times) = &self.timestamps {
                hash.update(format!("\t{}", times[row]));
            }
            hash.update("\n");
        }
        hex(&hash.finalize())
    }

    /// The items of each user, each once, ascending.
    pub fn by_user(&self) -> Csr {
        Csr::of(self.num_users(), &self.users, &self.items).sorted()
    }

    /// The users of each item, each once, ascending.
    pub fn by_item(&self) -> Csr {
        Csr::of(self.num_items(), &self.items, &self.users).sorted()
    }

    /// The items of each user, the oldest first; in the order of the file where there are no times.
    pub fn histories(&self) -> Csr {
        match &self.timestamps {
            None => Csr::of(self.num_users(), &self.users, &self.items),
            Some(times) => {
                let mut order: Vec<u32> = (0..self.len() as u32).collect();
                // Stable: of one time, the order of the file.
                order.sort_by(|&a, &b| times[a as usize].total_cmp(&times[b as usize]));
                let users: Vec<u32> = order.iter().map(|&at| self.users[at as usize]).collect();
                let items: Vec<u32> = order.iter().map(|&at| self.items[at as usize]).collect();
                Csr::of(self.num_users(), &users, &items)
            }
        }
    }

    /// The interactions `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        fn pick<T: Copy>(column: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| column[row as usize]).collect()
        }
        Self {
            location: self.location.clone(),
            ids: Arc::clone(&self.ids),
            users: pick(&self.users, rows),
            items: pick(&self.items, rows),
            ratings: self.ratings.as_ref().map(|column| pick(column, rows)),
            timestamps: self.timestamps.as_ref().map(|column| pick(column, rows)),
            bad: BadRows::default(),
            num_duplicates: 0,
        }
    }

    /// Counts rows of a user and item seen before, and takes them out unless they are to stay.
    fn settle_duplicates(self, rule: Duplicates) -> Self {
        let mut seen = HashSet::with_capacity(self.len());
        let mut first = |row: &u32| {
            let row = *row as usize;
            seen.insert((u64::from(self.users[row]) << 32) | u64::from(self.items[row]))
        };
        let rows = 0..self.len() as u32;
        let mut kept: Vec<u32> = match rule {
            Duplicates::First | Duplicates::Keep => rows.filter(|row| first(row)).collect(),
            Duplicates::Last => rows.rev().filter(|row| first(row)).collect(),
        };
        let num_duplicates = self.len() - kept.len();
        if num_duplicates == 0 || rule == Duplicates::Keep {
            return Self {
                num_duplicates,
                ..self
            };
        }
        kept.sort_unstable();
        Self {
            num_duplicates,
            bad: self.bad.clone(),
            ..self.select(&kept)
        }
    }

    /// The k-core: users and items with fewer interactions than asked for go, and with them their
    /// interactions, until all that are left have enough. Indices follow the order of first appearance
    /// again.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn k_core(self, min_user: usize, min_item: usize) -> Result<Self> {
        let count = |column: &[u32], n: usize| {
            let mut counts = vec![0_usize; n];
            for &i in column {
                counts[i as usize] += 1;
            }
            counts
        };
        let mut users = count(&self.users, self.num_users());
        let mut items = count(&self.items, self.num_items());
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        loop {
            let before = rows.len();
            rows.retain(|&row| {
                let (u, i) = (self.users[row as usize], self.items[row as usize]);
                users[u as usize] >= min_user && items[i as usize] >= min_item
            });
            if rows.len() == before {
                break;
            }
            users.fill(0);
            items.fill(0);
            for &row in &rows {
                users[self.users[row as usize] as usize] += 1;
                items[self.items[row as usize] as usize] += 1;
            }
        }
        if rows.is_empty() {
            let what = format!(
                "no interaction is left of {}: no core with {min_user} a user and {min_item} an item",
                self.len()
            );
            return Err(Error::input(&self.location, what, "lower bounds"));
        }
        let kept = Self {
            num_duplicates: self.num_duplicates,
            bad: self.bad.clone(),
            ..self.select(&rows)
        };
        Ok(kept.renumbered())
    }

    /// With the ids that occur alone, in the order of their first appearance.
    fn renumbered(mut self) -> Self {
        let users = self.ids.users.only(&mut self.users);
        let items = self.ids.items.only(&mut self.items);
        self.ids = Arc::new(Ids { users, items });
        self
    }
}

#[cfg(test)]
mod tests;
