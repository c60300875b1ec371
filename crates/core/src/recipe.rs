//! Recipes are plain configs; `--set a.b=v` edits them by path.

use crate::{Error, RecipeInfo, Result};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The recipe called `name`: `recipes` are listed in the order of `infos`.
///
/// # Errors
/// An unknown name; the known ones are listed.
pub fn named<R>(name: &str, infos: &[RecipeInfo], recipes: &[fn() -> R]) -> Result<R> {
    let found = infos.iter().position(|info| info.name == name);
    let recipe = found.and_then(|at| recipes.get(at));
    let recipe =
        recipe.ok_or_else(|| Error::unknown("recipe", name, infos.iter().map(|i| i.name)))?;
    Ok(recipe())
}

/// Applies `a.b=v` edits to a recipe.
///
/// `v` is read as JSON where it parses (`3`, `true`, `null`, `[1,2]`), else as a string. An unknown
/// key is an error that lists the known ones; a value of the wrong type says what was expected.
pub fn apply_sets<R: Serialize + DeserializeOwned>(recipe: R, sets: &[String]) -> Result<R> {
    if sets.is_empty() {
        return Ok(recipe);
    }
    let internal = |e: serde_json::Error| Error::Internal {
        context: "recipe".into(),
        message: e.to_string(),
    };
    let mut value = serde_json::to_value(&recipe).map_err(internal)?;
    for set in sets {
        let (path, text) = set
            .split_once('=')
            .ok_or_else(|| Error::input("--set", format!("'{set}' has no '='"), "KEY.KEY=VALUE"))?;
        let slot = find(&mut value, path)?;
        *slot = serde_json::from_str(text).unwrap_or_else(|_not_json| Value::String(text.into()));
        // Read back after each edit, so that the error names the edit that broke it.
        serde_json::from_value::<R>(value.clone()).map_err(|e| {
            Error::input(
                format!("--set {set}"),
                e.to_string(),
                "a value of the field's type",
            )
        })?;
    }
    serde_json::from_value(value).map_err(internal)
}

/// The value at `a.b.c`.
fn find<'v>(root: &'v mut Value, path: &str) -> Result<&'v mut Value> {
    let mut here = root;
    for key in path.split('.') {
        let Value::Object(map) = here else {
            return Err(Error::input(
                format!("--set {path}"),
                format!("'{key}' lies below a plain value"),
                "a shorter key",
            ));
        };
        if !map.contains_key(key) {
            return Err(Error::unknown("key", key, map.keys()));
        }
        here = &mut map[key];
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Inner {
        lr: f64,
        name: String,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Outer {
        epochs: usize,
        optimizer: Inner,
    }
    fn recipe() -> Outer {
        Outer {
            epochs: 1,
            optimizer: Inner {
                lr: 0.1,
                name: "sgd".into(),
            },
        }
    }
    fn set(edit: &str) -> Result<Outer> {
        apply_sets(recipe(), &[edit.to_string()])
    }

    #[test]
    fn edits_by_path() {
        assert_eq!(set("epochs=3").unwrap().epochs, 3);
        assert_eq!(set("optimizer.lr=1e-3").unwrap().optimizer.lr, 1e-3);
        assert_eq!(set("optimizer.name=adamw").unwrap().optimizer.name, "adamw");
    }

    #[test]
    fn wrong_edits_say_what_is_known() {
        let text = set("optimiser.lr=1").unwrap_err().to_string();
        assert!(
            text.contains("did you mean 'optimizer'") && text.contains("epochs"),
            "{text}"
        );
        assert!(
            set("epochs=-1")
                .unwrap_err()
                .to_string()
                .contains("--set epochs=-1")
        );
        assert!(
            set("epochs")
                .unwrap_err()
                .to_string()
                .contains("KEY.KEY=VALUE")
        );
        assert!(set("epochs.x=1").is_err());
    }
}
