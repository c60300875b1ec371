"""Converts a published PyTorch checkpoint into the safetensors file of a bundled model folder.

    python convert.py efficientnet-lite0-57934424.pth efficientnet-lite0/model.safetensors

Keys stay as published. Tensors of more than 60,000 elements become f16. The small ones (batch norms,
depthwise kernels, the narrow first blocks: a fifth of the bytes) stay f32, because rounding them too
moves the logits by up to 0.06, rounding only the large ones by less than 0.01 (229 photos).
`num_batches_tracked`, which inference never reads, is left out. Keys are sorted, so the same input
gives the same bytes. The script stops if the input is not the file that ORIGIN.md names, or if a
value leaves the range of f16.

Made with: torch 2.15.0, safetensors 0.8.0, Python 3.11.
"""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

# Tensors up to this many elements keep their precision.
KEEP_F32 = 60_000
# Published file -> SHA-256 of its bytes.
KNOWN = {
    "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}


def convert(source: Path, target: Path) -> None:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if KNOWN.get(source.name) != digest:
        sys.exit(f"{source}: SHA-256 {digest}; expected {KNOWN.get(source.name, 'a known file name')}")
    state = torch.load(source, map_location="cpu", weights_only=True)
    tensors = {}
    for key in sorted(state):
        if key.endswith("num_batches_tracked"):
            continue
        dtype = torch.float32 if state[key].numel() <= KEEP_F32 else torch.float16
        tensors[key] = state[key].to(dtype).contiguous()
        if not torch.isfinite(tensors[key]).all():
            sys.exit(f"{key}: a value does not fit into {dtype}")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, metadata={"format": "pt"})
    print(f"{target}: {len(tensors)} tensors, SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
