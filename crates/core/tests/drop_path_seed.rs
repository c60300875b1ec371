//! The device's seed decides what drop path drops.
//!
//! Alone in its process: the CPU's generator is one a process, and tests beside this one would draw
//! from it between the seed and the draw.

use burn::tensor::{Device, Tensor};
use panoply_core::nn::DropPathConfig;

#[test]
fn the_seed_decides_what_is_dropped() {
    let device = Device::flex().autodiff();
    let block = DropPathConfig::new(0.25).init();
    let run = |seed| -> Vec<f32> {
        device.seed(seed);
        let out = block.forward(Tensor::<3>::ones([4000, 2, 3], &device));
        out.into_data().try_into_vec_as().unwrap()
    };
    let values = run(5);
    assert_eq!(values, run(5));
    assert_ne!(values, run(6));
}
