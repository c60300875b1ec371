"""The peers' side of `cargo xtask bench vision --against ENGINE`: serves one workload over stdin/stdout.

Usage: vision.py ENGINE WORKLOAD; prints `ready`, then answers `go` with the milliseconds of one call and `mem` with the
peak in MiB. A workload that the engine cannot run ends the script with exit code 3 before `ready`.

Engines: pytorch (eager mode; torch 2.15.0, torchvision 0.29.2), onnxruntime 1.32.0 and tract 0.23.9 (both read the ONNX
file that torch.onnx writes; onnx 1.23.2, onnxscript 0.7.2). Images are prepared by Pillow 13.0.0 and torchvision for all
three. The workloads, shapes and names are those of benches/src/vision.rs; weights are random.
"""
import io
import os
import subprocess
import sys
import tempfile

from worker import serve

THREADS = os.cpu_count() or 1


def model(arch):
    import torch
    import torchvision

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    return getattr(torchvision.models, arch)(weights=None).eval()


def jpeg():
    # The bundled photo, as both sides read it.
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../../datasets/data/photos/rocket.jpg"), "rb") as f:
        return f.read()


def preparation(batch):
    import torch
    from PIL import Image
    from torchvision import transforms

    torch.set_num_threads(THREADS)
    data = jpeg()
    steps = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    return lambda: torch.stack([steps(Image.open(io.BytesIO(data)).convert("RGB")) for _ in range(batch)])


def pytorch(arch, _batch):
    import torch

    net = model(arch)

    def forward(x):
        with torch.inference_mode():
            return net(torch.from_numpy(x)).sum().item()
    return forward


def export(arch, batch, path):
    import torch

    torch.onnx.export(model(arch), (torch.rand(batch, 3, 224, 224),), path, dynamo=True, external_data=False, verbose=False)


def exported(arch, batch):
    """Exports in a process of its own, so that the export does not count in the engine's peak memory."""
    path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    subprocess.run([sys.executable, __file__, "--export", arch, str(batch), path], check=True, stdout=sys.stderr)
    return path


def onnxruntime(arch, batch):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(exported(arch, batch), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0].sum()


def tract(arch, batch):
    import tract

    net = tract.onnx().load(exported(arch, batch)).into_model()
    runnable = net.into_runnable()
    return lambda x: runnable.run([x])[0].to_numpy().sum()


def training_step(arch, batch):
    import torch

    net = model(arch).train()
    net.fc = torch.nn.Linear(net.fc.in_features, 10)
    x, y = torch.rand(batch, 3, 32, 32), torch.arange(batch) % 10
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def workload(engine, name):
    what, _, batch = name.rpartition("_b")
    batch = int(batch)
    if what == "preprocess" and engine == "pytorch":
        return preparation(batch)
    if what.startswith("train_step_") and engine == "pytorch":
        return training_step(what.removeprefix("train_step_"), batch)
    start = {"pytorch": pytorch, "onnxruntime": onnxruntime, "tract": tract}[engine]
    if what.startswith("forward_"):
        import numpy

        x = numpy.random.default_rng(0).random((batch, 3, 224, 224), dtype=numpy.float32)
        forward = start(what.removeprefix("forward_"), batch)
        return lambda: forward(x)
    if what.startswith("end_to_end_"):
        forward, prepare = start(what.removeprefix("end_to_end_"), batch), preparation(batch)
        return lambda: forward(prepare().numpy())
    raise SystemExit(3)


if sys.argv[1] == "--export":
    export(sys.argv[2], int(sys.argv[3]), sys.argv[4])
else:
    serve(workload(sys.argv[1], sys.argv[2]))
