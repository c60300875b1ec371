//! The ids of users and items in a model folder.

use panoply_core::{Error, ModelFolder, Result, model_folder::write_json};
use panoply_datasets::interactions::{IdMap, Ids};
use serde::de::DeserializeOwned;

const USERS: &str = "users.json";
const ITEMS: &str = "items.json";

/// Writes both lists, in the order of their indices.
pub(super) fn write(folder: &ModelFolder, ids: &Ids) -> Result<()> {
    let names = |ids: &IdMap| ids.names().map(String::from).collect::<Vec<_>>();
    write_json(&folder.file(USERS), &names(&ids.users))?;
    write_json(&folder.file(ITEMS), &names(&ids.items))
}

/// Reads both lists, of so many users and items.
pub(super) fn read(folder: &ModelFolder, [num_users, num_items]: [usize; 2]) -> Result<Ids> {
    let names = |name: &str, count: usize| {
        let names: Vec<String> = need(folder, name)?;
        let ids: IdMap = names.iter().collect();
        if ids.len() == count && names.len() == count {
            return Ok(ids);
        }
        let location = folder.file(name).display().to_string();
        let what = format!("{} names, {} of them different", names.len(), ids.len());
        Err(Error::input(
            location,
            what,
            format!("{count} different names"),
        ))
    };
    Ok(Ids {
        users: names(USERS, num_users)?,
        items: names(ITEMS, num_items)?,
    })
}

/// A JSON file that a folder must have.
pub(super) fn need<T: DeserializeOwned>(folder: &ModelFolder, name: &str) -> Result<T> {
    folder.read_json(name)?.ok_or_else(|| {
        let location = folder.path().display().to_string();
        Error::input(
            location,
            format!("no {name} in it"),
            "a folder that `train` made",
        )
    })
}
