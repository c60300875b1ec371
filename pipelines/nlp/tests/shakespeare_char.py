"""The recipe `shakespeare-char` in plain PyTorch: the same network, data, optimiser and number of steps.

    pip install torch==2.15.0 numpy==2.4.6
    python shakespeare_char.py --data input.txt [--steps 2000] [--threads 2]

Prints the validation loss over the whole last tenth, every 250 steps, and the seconds of training and of validation apart:
to be read beside `panoply train nlp generate --recipe shakespeare-char --data input.txt` on the same machine. Weights and
places of blocks are drawn by other generators, so losses agree as two seeds do.
"""

import argparse
import math
import pathlib
import time

import torch
from torch import nn
from torch.nn import functional

LAYERS, HEADS, WIDTH, BLOCK, BATCH = 4, 4, 128, 64, 12
LR, MIN_LR, WARMUP, EVERY = 1e-3, 1e-4, 100, 250


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, seq, _ = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(batch, seq, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, seq, WIDTH))
        return x + self.fc2(functional.gelu(self.fc1(self.ln_2(x)), approximate="tanh"))


class Decoder(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                last = name.endswith(("out.weight", "fc2.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if last else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.ln_f(x) @ self.wte.weight.T


def loss_of(model, blocks):
    return functional.cross_entropy(model(blocks[:, :-1]).flatten(0, 1), blocks[:, 1:].flatten())


@torch.no_grad()
def validate(model, tokens):
    model.eval()
    total = 0.0
    starts = list(range(0, len(tokens) - 1, BLOCK))
    whole = [tokens[s:s + BLOCK + 1] for s in starts if s + BLOCK < len(tokens)]
    for i in range(0, len(whole), 32):
        part = torch.stack(whole[i:i + 32])
        total += loss_of(model, part).item() * part.shape[0] * BLOCK
    rest = tokens[len(whole) * BLOCK:]
    if len(rest) > 1:
        total += loss_of(model, rest[None]).item() * (len(rest) - 1)
    model.train()
    return total / (len(tokens) - 1)


def rate(step, steps):
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    return MIN_LR + 0.5 * (LR - MIN_LR) * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    text = args.data.read_text(encoding="utf-8")
    ids = {c: i for i, c in enumerate(sorted(set(text)))}
    tokens = torch.tensor([ids[c] for c in text])
    held = round(0.1 * len(tokens))
    train, valid = tokens[:-held], tokens[-held:]
    model = Decoder(len(ids))
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99))
    training = validation = 0.0
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(ids)} characters")
    for step in range(args.steps):
        started = time.perf_counter()
        places = torch.randint(0, len(train) - BLOCK, (BATCH,))
        loss = loss_of(model, torch.stack([train[i:i + BLOCK + 1] for i in places]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args.steps)
        optimizer.step()
        training += time.perf_counter() - started
        if (step + 1) % EVERY == 0 or step + 1 == args.steps:
            started = time.perf_counter()
            value = validate(model, valid)
            validation += time.perf_counter() - started
            print(f"step {step + 1}: loss {loss.item():.4f} | validation loss {value:.4f} ({training:.1f} s)", flush=True)
    print(f"training {training:.1f} s, validation {validation:.1f} s")


if __name__ == "__main__":
    main()
