"""PyTorch side of `cargo xtask bench vision --against pytorch`: serves one workload over stdin/stdout.

Measured with torch 2.15.0, torchvision 0.29.2, Pillow (CPU, eager mode). The workloads, shapes and names are those of
benches/src/vision.rs.  Usage: vision.py WORKLOAD; then `go` -> milliseconds of one call, `mem` -> peak MiB.
"""
import io
import os
import resource
import sys
import time


def workload(name):
    import torch
    import torchvision
    from torchvision import transforms

    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    what, _, batch = name.rpartition("_b")
    batch = int(batch)

    def model(arch):
        return getattr(torchvision.models, arch)(weights=None).eval()

    def jpeg():
        # The bundled photo, as both sides read it.
        here = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(here, "../../datasets/data/photos/rocket.jpg"), "rb") as f:
            return f.read()

    def prepare(data):
        from PIL import Image

        steps = transforms.Compose([
            transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])
        return torch.stack([steps(Image.open(io.BytesIO(data)).convert("RGB")) for _ in range(batch)])

    if what == "preprocess":
        data = jpeg()
        return lambda: prepare(data)
    if what.startswith("forward_"):
        net, x = model(what.removeprefix("forward_")), torch.rand(batch, 3, 224, 224)

        def forward():
            with torch.inference_mode():
                return net(x).sum().item()
        return forward
    if what.startswith("end_to_end_"):
        net, data = model(what.removeprefix("end_to_end_")), jpeg()

        def end_to_end():
            with torch.inference_mode():
                return net(prepare(data)).sum().item()
        return end_to_end
    if what.startswith("train_step_"):
        net = model(what.removeprefix("train_step_")).train()
        net.fc = torch.nn.Linear(net.fc.in_features, 10)
        x, y = torch.rand(batch, 3, 32, 32), torch.arange(batch) % 10
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

        def train_step():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss.item()
        return train_step
    raise SystemExit(f"unknown workload {name}")


def main():
    run = workload(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "go":
            start = time.perf_counter()
            run()
            print((time.perf_counter() - start) * 1e3, flush=True)
        elif line.strip() == "mem":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


main()
