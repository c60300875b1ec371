//! `cargo xtask run pipeline-name task-name`: one line on what goes in and what comes out.
//!
//! Model and paper: …. Preprocessing: …. Every difference from the reference is listed here.
//! List the task in `tasks/mod.rs` when `open` answers; from then on the contract tests run it.

use panoply_core::{Error, Input, InputKind, RecipeInfo, Result, RunContext, Session, Task};

/// The task, a unit struct: what it knows is in its model folders.
pub struct TaskName;

impl Task for TaskName {
    fn name(&self) -> &'static str {
        "task-name"
    }

    /// What a user gets, in one line; `list` and `info` print it.
    fn about(&self) -> &'static str {
        "One line."
    }

    /// What `run` reads.
    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    /// The recipes of `train`, `debug` first: each says its data, cost and expected metric, or
    /// "not measured". Without any, leave out `train`.
    fn recipes(&self) -> &'static [RecipeInfo] {
        &[]
    }

    /// Bundled inputs for `run` without arguments, small and with a licence.
    fn examples(&self) -> Vec<Input> {
        Vec::new()
    }

    /// A bundled model, or the Hub name of the reference's weights.
    fn default_model(&self) -> &'static str {
        "task-name"
    }

    /// Loads a model folder and gives the session that answers: preprocess, forward, postprocess,
    /// each in its own function, with the preprocessing that training uses.
    fn open(&self, _model: &str, _context: &RunContext) -> Result<Box<dyn Session>> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "run",
        })
    }

    // Also: `train`, `eval`, `check_data`, `explain` (with `explain_methods`), `import` (with
    // `architectures`), `export`. A verb that is left out answers `Error::Unsupported`.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_the_word_on_the_command_line() {
        assert_eq!(TaskName.name(), "task-name");
    }
}
