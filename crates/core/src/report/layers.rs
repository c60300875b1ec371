//! The layer table: which modules own parameters.

use super::LayerRow;
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Int, Tensor},
};

/// Every module of `model` that owns parameters or running statistics, in the order of its fields.
///
/// Shapes are shown for both; running statistics (fields `running_*`) do not count as parameters.
pub fn layer_table<M: Module>(model: &M) -> Vec<LayerRow> {
    let mut visitor = LayerVisitor::default();
    // Away from training no parameter asks for gradients, whether it is frozen or not.
    model.valid().train().visit(&mut visitor);
    visitor.rows
}

/// Names and types from the root to where the visit is.
#[derive(Default)]
struct LayerVisitor {
    stack: Vec<(String, String)>,
    rows: Vec<LayerRow>,
}

impl LayerVisitor {
    fn add(&mut self, shape: &[usize], trainable: bool, counts: bool) {
        // The last name is the parameter's, its container the module that owns it.
        let (field, container) = self.stack.last().cloned().unwrap_or_default();
        let owners = &self.stack[..self.stack.len().saturating_sub(1)];
        let path = owners
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(".");
        if self.rows.last().is_none_or(|row| row.path != path) {
            let kind = container.rsplit(':').next().unwrap_or_default().to_string();
            self.rows.push(LayerRow {
                path,
                kind,
                ..LayerRow::default()
            });
        }
        let Some(row) = self.rows.last_mut() else {
            return;
        };
        row.shapes.push(format!("{field} {shape:?}"));
        if counts && !field.starts_with("running_") {
            let count: usize = shape.iter().product();
            row.num_params += count;
            row.num_trainable += if trainable { count } else { 0 };
        }
    }
}

impl ModuleVisitor for LayerVisitor {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.stack.push((name.into(), container_type.into()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(&param.dims(), param.is_require_grad(), true);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(&param.dims(), false, false);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(&param.dims(), false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{
        nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig},
        tensor::Device,
    };

    #[derive(Module, Debug)]
    struct Block {
        fc: Linear,
        norm: BatchNorm,
    }

    #[derive(Module, Debug)]
    struct Net {
        blocks: Vec<Block>,
        head: Linear,
    }

    fn net(device: &Device) -> Net {
        let block = || Block {
            fc: LinearConfig::new(3, 4).init(device),
            norm: BatchNormConfig::new(4).init(device),
        };
        Net {
            blocks: vec![block(), block()],
            head: LinearConfig::new(4, 2).with_bias(false).init(device),
        }
    }

    #[test]
    fn lists_owners_and_leaves_out_running_statistics() {
        let model = net(&Device::flex().autodiff());
        let rows = layer_table(&model);
        let seen: Vec<_> = rows
            .iter()
            .map(|r| (r.path.as_str(), r.kind.as_str(), r.num_params))
            .collect();
        let expected = [
            ("blocks.0.fc", "Linear", 16),
            ("blocks.0.norm", "BatchNorm", 8),
            ("blocks.1.fc", "Linear", 16),
            ("blocks.1.norm", "BatchNorm", 8),
            ("head", "Linear", 8),
        ];
        assert_eq!(seen, expected);
        assert_eq!(rows[0].shapes, ["weight [3, 4]", "bias [4]"]);
        assert!(rows[1].shapes.contains(&"running_mean [4]".to_string()));
        let total: usize = rows.iter().map(|r| r.num_params).sum();
        assert_eq!(total, crate::weights::num_params(&model));
    }

    #[test]
    fn frozen_modules_count_but_are_not_trainable() {
        let mut model = net(&Device::flex().autodiff());
        model.head = model.head.no_grad();
        // Also in evaluation mode, in which a run reports about its model.
        for model in [model.valid(), model] {
            let rows = layer_table(&model);
            assert_eq!((rows[4].num_params, rows[4].num_trainable), (8, 0));
            assert_eq!((rows[0].num_params, rows[0].num_trainable), (16, 16));
        }
    }
}
