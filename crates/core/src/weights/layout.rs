//! Our side of a checkpoint: every tensor of a module under PyTorch's leaf names and shapes.

use super::KeyMap;
use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::{Bool, Int, Shape, Tensor, TensorData, kind::Basic},
};

/// What a module's tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Bool,
}

/// Reads a parameter's values in burn's layout.
pub(super) type Fetch = Box<dyn Fn() -> TensorData + Send + Sync>;

/// One tensor of a module.
pub(super) struct Slot {
    /// Which parameter it is.
    pub(super) id: ParamId,
    /// Path in the module, burn's leaf name.
    pub(super) path: String,
    /// The same with PyTorch's leaf name.
    pub(super) name: String,
    /// Shape in the published layout.
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    /// A linear layer's weight: `[in, out]` here, `[out, in]` in the file.
    pub(super) transposed: bool,
    /// A batch norm's running mean or variance: a buffer, no parameter.
    pub(super) running: bool,
    /// Whether the parameter already holds values (burn initialises on first use).
    pub(super) initialized: bool,
    /// Its values, if they were asked for.
    pub(super) fetch: Option<Fetch>,
}

/// The tensors of `module` in its own order; no lazy parameter is initialised.
pub(super) fn slots<M: Module>(module: &M, map: &KeyMap) -> Vec<Slot> {
    walk(module, map, false)
}

/// The same with their values.
pub(super) fn slots_with_values<M: Module>(module: &M, map: &KeyMap) -> Vec<Slot> {
    walk(module, map, true)
}

fn walk<M: Module>(module: &M, map: &KeyMap, values: bool) -> Vec<Slot> {
    let mut walk = Walk {
        path: Vec::new(),
        containers: Vec::new(),
        values,
        slots: Vec::new(),
    };
    module.visit(&mut walk);
    for slot in &mut walk.slots {
        if slot.transposed && map.is_in_out(&map.to_published(&slot.name)) {
            slot.transposed = false;
            slot.shape.swap(0, 1);
        }
    }
    walk.slots
}

struct Walk {
    path: Vec<String>,
    containers: Vec<String>,
    values: bool,
    slots: Vec<Slot>,
}

impl Walk {
    fn push(
        &mut self,
        id: ParamId,
        kind: Kind,
        shape: Shape,
        initialized: bool,
        fetch: Option<Fetch>,
    ) {
        // The innermost struct or enum decides what a leaf means; a Vec around it does not.
        let owner = self.containers.iter().rev().find(|c| c.contains(':'));
        let owner = owner
            .and_then(|c| c.strip_prefix("Struct:"))
            .unwrap_or_default();
        let leaf = self.path.last().map_or("", String::as_str);
        let renamed = match (owner, leaf) {
            ("BatchNorm" | "LayerNorm" | "GroupNorm" | "RmsNorm" | "InstanceNorm", "gamma") => {
                "weight"
            }
            ("BatchNorm" | "LayerNorm" | "GroupNorm" | "InstanceNorm", "beta") => "bias",
            _ => leaf,
        };
        let mut name = self.path[..self.path.len().saturating_sub(1)].join(".");
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(renamed);
        let mut shape = shape.to_vec();
        let transposed = owner == "Linear" && leaf == "weight" && shape.len() == 2;
        if transposed {
            shape.swap(0, 1);
        }
        let running = matches!(leaf, "running_mean" | "running_var");
        let path = self.path.join(".");
        self.slots.push(Slot {
            id,
            path,
            name,
            shape,
            kind,
            transposed,
            running,
            initialized,
            fetch,
        });
    }
}

fn fetch<const D: usize, K: Basic + 'static>(tensor: Tensor<D, K>) -> Fetch
where
    Tensor<D, K>: Send + Sync,
{
    Box::new(move || tensor.to_data())
}

impl ModuleVisitor for Walk {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.containers.push(container_type.to_string());
        if !container_type.starts_with("Enum:") {
            self.path.push(name.to_string());
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.containers.pop();
        if !container_type.starts_with("Enum:") {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = self.values.then(|| fetch(param.transform_for_save().val()));
        self.push(
            param.id,
            Kind::Float,
            param.lazy_shape(),
            param.is_initialized(),
            values,
        );
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let values = self.values.then(|| fetch(param.transform_for_save().val()));
        self.push(
            param.id,
            Kind::Int,
            param.lazy_shape(),
            param.is_initialized(),
            values,
        );
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let values = self.values.then(|| fetch(param.transform_for_save().val()));
        self.push(
            param.id,
            Kind::Bool,
            param.lazy_shape(),
            param.is_initialized(),
            values,
        );
    }
}

/// `[rows, cols]` values as `[cols, rows]`, in blocks that stay in the cache.
pub(super) fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0.0; values.len()];
    for row0 in (0..rows).step_by(BLOCK) {
        for col0 in (0..cols).step_by(BLOCK) {
            for row in row0..(row0 + BLOCK).min(rows) {
                for col in col0..(col0 + BLOCK).min(cols) {
                    out[col * rows + row] = values[row * cols + col];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::transpose;

    #[test]
    fn transposes_past_a_block() {
        assert_eq!(
            transpose(&[1., 2., 3., 4., 5., 6.], 2, 3),
            [1., 4., 2., 5., 3., 6.]
        );
        let values: Vec<f32> = (0..70 * 41).map(|i| i as f32).collect();
        let back = transpose(&transpose(&values, 70, 41), 41, 70);
        assert_eq!(back, values);
    }
}
