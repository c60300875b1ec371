#!/usr/bin/env python3
"""The recipes `base` of `nlp classify`, `nlp tokens` and `nlp qa` in PyTorch: what transformers reaches with the same settings.

    pip install torch==2.15.0 transformers==5.23.0 tokenizers==0.23.3 numpy==2.4.6

    python finetune.py classify --model MODEL --data FOLDER [--seed 0] [--steps N]
    python finetune.py tokens --model MODEL --data FOLDER [--seed 0] [--steps N]
    python finetune.py qa --model MODEL --data dev-v1.1.json[.gz] [--seed 0] [--steps N]

MODEL is the folder of a BERT encoder (all-MiniLM-L6-v2). For classify FOLDER holds train.tsv, dev.tsv and test.tsv with lines
`text<tab>class` (SST-2 with two classes, no header; plain or .gz), for tokens train.conll, dev.conll and test.conll (WNUT-17; plain or .gz).
The same on the other side:

    cargo xtask train nlp classify --recipe base --model MODEL --data FOLDER --set data.columns.header=false --out RUN
    cargo xtask train nlp tokens --recipe base --model MODEL --data FOLDER --out RUN [--set fit.seed=N]
    cargo xtask train nlp qa --recipe base --model MODEL --data dev-v1.1.json.gz --out RUN [--set fit.seed=N]

Alike: split (questions: of the article titles in the order of their characters the last fifth, rounded up, is
for validation), tokens, windows, labels, batch size, number of steps, learning rate of each step, AdamW with weight
decay on all but biases and norms, clipping, dropout, the initial head's distribution, the checkpoint that counts (classes: best
accuracy on dev; tokens: best F1 on dev; questions: the last), and the measures (entities as seqeval counts them, exact match and F1 of
SQuAD 1.1). Not alike: the random numbers themselves, so compare means over several seeds.

Prints one JSON object; `--steps` ends training early, for a trial.
"""

import argparse
import gzip
import json
import math
import pathlib
import re
import string
import time
from collections import Counter

import numpy as np
import torch
from transformers import (
    AutoTokenizer, BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification,
)

IGNORED = -100
RECIPES = {
    "classify": dict(epochs=3, batch=32, lr=5e-5, decay=0.01, warmup=0.3, clip=1.0, length=128),
    "tokens": dict(epochs=5, batch=16, lr=1e-4, decay=0.01, warmup=0.3, clip=1.0, length=128, stride=32),
    "qa": dict(epochs=3, batch=16, lr=1e-4, decay=0.01, warmup=0.3, clip=1.0, length=384, stride=128),
}


def read(path):
    content = pathlib.Path(path).read_bytes()
    return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")


def batches(rows, size):
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def padded(features, device):
    longest = max(len(f["ids"]) for f in features)
    fill = lambda key, value: torch.tensor([f[key] + [value] * (longest - len(f[key])) for f in features], device=device)
    mask = [[1] * len(f["ids"]) + [0] * (longest - len(f["ids"])) for f in features]
    return dict(input_ids=fill("ids", 0), token_type_ids=fill("types", 0), attention_mask=torch.tensor(mask, device=device))


def fit(model, features, loss_of, validate, recipe, seed, steps, device):
    """Trains; answers the state that counts: the best by `validate`, or the last where it gives none."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        is_plain = name.endswith("bias") or "LayerNorm" in name
        (plain if is_plain else decayed).append(parameter)
    groups = [dict(params=decayed, weight_decay=recipe["decay"]), dict(params=plain, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=recipe["lr"], betas=(0.9, 0.999), eps=1e-8)
    per_epoch = math.ceil(len(features) / recipe["batch"])
    total, warmup = recipe["epochs"] * per_epoch, round(recipe["warmup"] * per_epoch)
    generator = torch.Generator().manual_seed(seed)
    step, losses, best = 0, [], (-1.0, None)
    for epoch in range(recipe["epochs"]):
        model.train()
        order = torch.randperm(len(features), generator=generator).tolist()
        for batch in batches(order, recipe["batch"]):
            if step < warmup:
                rate = recipe["lr"] * (step + 1) / (warmup + 1)
            else:
                rate = recipe["lr"] * (1 - (step - warmup) / (total - warmup))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(model, [features[i] for i in batch])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
            optimizer.step()
            losses.append(loss.item())
            step += 1
            if steps and step >= steps:
                return losses
        score = validate(model)
        print(f"epoch {epoch + 1}: loss {np.mean(losses[-per_epoch:]):.4f} validation {score}", flush=True)
        if "chooses" in score and score["chooses"] > best[0]:
            best = (score["chooses"], {k: v.clone() for k, v in model.state_dict().items()})
    if best[1] is not None:
        model.load_state_dict(best[1])
    return losses


# Classes.


def classify(args, recipe, device):
    fast = AutoTokenizer.from_pretrained(args.model)
    data = {}
    for split, names in [("train", ["train"]), ("valid", ["dev", "valid"]), ("test", ["test"])]:
        lines = read(split_file(args.data, names)).splitlines()
        data[split] = [line.rsplit("\t", 1) for line in lines if line.strip()]
    labels = sorted({label for _, label in data["train"]})

    def features_of(rows):
        for text, label in rows:
            found = fast(text, truncation=True, max_length=recipe["length"])
            yield dict(ids=found["input_ids"], types=found["token_type_ids"], target=labels.index(label))

    features = {split: list(features_of(rows)) for split, rows in data.items()}
    model = BertForSequenceClassification.from_pretrained(args.model, num_labels=len(labels)).to(device)

    def loss_of(model, rows):
        targets = torch.tensor([r["target"] for r in rows], device=device)
        return torch.nn.functional.cross_entropy(model(**padded(rows, device)).logits, targets)

    def score(model, split):
        model.eval()
        right = 0
        for batch in batches(sorted(features[split], key=lambda f: len(f["ids"])), 64):
            with torch.no_grad():
                best = model(**padded(batch, device)).logits.argmax(-1).tolist()
            right += sum(f["target"] == b for f, b in zip(batch, best))
        return right / len(features[split])

    def chosen(model):
        accuracy = score(model, "valid")
        return dict(accuracy=accuracy, chooses=accuracy)

    losses = fit(model, features["train"], loss_of, chosen, recipe, args.seed, args.steps, device)
    return dict(losses=[losses[0], losses[-1]], steps=len(losses), test=dict(accuracy=score(model, "test")))


# Tokens.


def conll(path):
    sentences, words = [], []
    for line in read(path).split("\n") + [""]:
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                sentences.append(words)
            words = []
        else:
            cells = line.split("\t") if "\t" in line else line.split()
            words.append((cells[0].strip(), cells[-1].strip()))
    return sentences


def split_file(folder, names):
    for name in names:
        for file in sorted(pathlib.Path(folder).glob(f"{name}.*")):
            return file
    raise SystemExit(f"no {names[0]} in {folder}")


def entities(tags):
    """Spans as conlleval and seqeval read them: a change of type, or B-, begins another."""
    found, start, kind = [], None, None
    for i, tag in enumerate(tags + ["O"]):
        prefix, _, here = tag.partition("-")
        if start is not None and (prefix != "I" or here != kind):
            found.append((kind, start, i))
            start = None
        if prefix == "B" or (prefix == "I" and start is None):
            start, kind = i, here
    return set(found)


def entity_scores(truth, predicted):
    pairs = [(entities(t), entities(p)) for t, p in zip(truth, predicted)]
    right, found, real = (sum(len(s) for s in sets) for sets in zip(*[(t & p, p, t) for t, p in pairs]))
    same = sum(a == b for t, p in zip(truth, predicted) for a, b in zip(t, p))
    precision, recall = right / max(found, 1), right / max(real, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return dict(f1=f1, precision=precision, recall=recall, accuracy=same / sum(map(len, truth)))


def tokens(args, recipe, device):
    fast = AutoTokenizer.from_pretrained(args.model)
    data = {
        split: conll(split_file(args.data, names))
        for split, names in [("train", ["train"]), ("valid", ["dev", "valid"]), ("test", ["test"])]
    }
    labels = sorted({tag for sentence in data["train"] for _, tag in sentence})
    index = {label: i for i, label in enumerate(labels)}
    features = []
    for sentence in data["train"]:
        found = fast([w for w, _ in sentence], is_split_into_words=True, truncation=True, max_length=recipe["length"])
        targets, before = [], None
        for word in found.word_ids():
            targets.append(IGNORED if word is None or word == before else index[sentence[word][1]])
            before = word
        features.append(dict(ids=found["input_ids"], types=[0] * len(targets), targets=targets))
    model = BertForTokenClassification.from_pretrained(args.model, num_labels=len(labels)).to(device)

    def loss_of(model, rows):
        inputs = padded(rows, device)
        longest = inputs["input_ids"].shape[1]
        targets = torch.tensor([r["targets"] + [IGNORED] * (longest - len(r["targets"])) for r in rows], device=device)
        logits = model(**inputs).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

    def predict(model, sentences):
        """The tag of each word's first token, in the window where that token has most context."""
        windows = []
        for number, sentence in enumerate(sentences):
            found = fast([w for w, _ in sentence], is_split_into_words=True, truncation=True, max_length=recipe["length"],
                         stride=recipe["stride"], return_overflowing_tokens=True)
            for i, ids in enumerate(found["input_ids"]):
                windows.append(dict(sentence=number, ids=ids, types=[0] * len(ids), words=found.word_ids(i)))
        tags = [["O"] * len(sentence) for sentence in sentences]
        context = [[-1] * len(sentence) for sentence in sentences]
        model.eval()
        for batch in batches(sorted(windows, key=lambda w: len(w["ids"])), 64):
            with torch.no_grad():
                best = model(**padded(batch, device)).logits.argmax(-1).tolist()
            for window, row in zip(batch, best):
                # A window may begin in the middle of a word: then its first token was seen before, with more context.
                number, before = window["sentence"], None
                last = len(window["ids"]) - 2
                for i, word in enumerate(window["words"]):
                    if word is None or word == before:
                        continue
                    before = word
                    near = min(i - 1, last - i)
                    if near > context[number][word]:
                        context[number][word], tags[number][word] = near, labels[row[i]]
        return tags

    def score(model, split):
        return entity_scores([[t for _, t in s] for s in data[split]], predict(model, data[split]))

    def chosen(model):
        found = score(model, "valid")
        return found | dict(chooses=found["f1"])

    losses = fit(model, features, loss_of, chosen, recipe, args.seed, args.steps, device)
    return dict(losses=[losses[0], losses[-1]], steps=len(losses), test=score(model, "test"))


# Questions.


def squad(path):
    rows = []
    for article in json.loads(read(path))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                rows.append(dict(title=article["title"], context=paragraph["context"], question=qa["question"], answers=qa["answers"]))
    titles = sorted({row["title"] for row in rows})
    held = set(titles[len(titles) - math.ceil(len(titles) * 0.2) :])
    return [r for r in rows if r["title"] not in held], [r for r in rows if r["title"] in held]


def windows_of(fast, row, recipe):
    found = fast(row["question"].lstrip(), row["context"], truncation="only_second", max_length=recipe["length"],
                 stride=recipe["stride"], return_overflowing_tokens=True, return_offsets_mapping=True)
    for i, ids in enumerate(found["input_ids"]):
        offsets = [o if s == 1 else None for o, s in zip(found["offset_mapping"][i], found.sequence_ids(i))]
        yield dict(ids=ids, types=found["token_type_ids"][i], offsets=offsets)


def token_span(offsets, answer):
    start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    inside = [i for i, o in enumerate(offsets) if o is not None]
    if offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:
        return (0, 0)
    return (max(i for i in inside if offsets[i][0] <= start), min(i for i in inside if offsets[i][1] >= end))


def best_answer(scored, context, n_best=20, longest=30):
    best, span = -math.inf, (0, 0)
    for start, end, offsets in scored:
        firsts, lasts = np.argsort(start)[::-1][:n_best], np.argsort(end)[::-1][:n_best]
        for i in firsts:
            for j in lasts:
                fits = offsets[i] is not None and offsets[j] is not None and 0 <= j - i < longest
                if fits and start[i] + end[j] > best:
                    best, span = start[i] + end[j], (offsets[i][0], offsets[j][1])
    return context[span[0] : span[1]]


def words(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(predicted, gold):
    predicted, gold = words(predicted), words(gold)
    if not predicted or not gold:
        return float(predicted == gold)
    same = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * same / (len(predicted) + len(gold))


def questions(args, recipe, device):
    fast = AutoTokenizer.from_pretrained(args.model)
    train, valid = squad(args.data)
    features = []
    for row in train:
        for window in windows_of(fast, row, recipe):
            features.append(dict(ids=window["ids"], types=window["types"], span=token_span(window["offsets"], row["answers"][0])))
    model = BertForQuestionAnswering.from_pretrained(args.model).to(device)

    def loss_of(model, rows):
        out = model(**padded(rows, device))
        truth = torch.tensor([r["span"] for r in rows], device=device)
        losses = [torch.nn.functional.cross_entropy(logits, truth[:, side]) for side, logits in enumerate([out.start_logits, out.end_logits])]
        return sum(losses) / 2

    def score(model):
        windows = [dict(row=i, **window) for i, row in enumerate(valid) for window in windows_of(fast, row, recipe)]
        scored = [[] for _ in valid]
        model.eval()
        for batch in batches(sorted(windows, key=lambda w: len(w["ids"])), 32):
            with torch.no_grad():
                out = model(**padded(batch, device))
            for window, start, end in zip(batch, out.start_logits.cpu().numpy(), out.end_logits.cpu().numpy()):
                length = len(window["ids"])
                scored[window["row"]].append((start[:length], end[:length], window["offsets"]))
        found = [best_answer(s, row["context"]) for s, row in zip(scored, valid)]
        exact = [max(words(p) == words(a["text"]) for a in row["answers"]) for p, row in zip(found, valid)]
        soft = [max(f1(p, a["text"]) for a in row["answers"]) for p, row in zip(found, valid)]
        return dict(exact_match=100 * float(np.mean(exact)), f1=100 * float(np.mean(soft)))

    losses = fit(model, features, loss_of, score if not args.steps else None, recipe, args.seed, args.steps, device)
    counts = dict(train=len(train), windows=len(features), valid=len(valid))
    return dict(losses=[losses[0], losses[-1]], steps=len(losses), counts=counts, valid=None if args.steps else score(model))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(RECIPES))
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    started = time.time()
    run = {"classify": classify, "tokens": tokens, "qa": questions}[args.task]
    recipe = RECIPES[args.task] | ({"epochs": args.epochs} if args.epochs else {})
    result = run(args, recipe, torch.device(args.device))
    print(json.dumps(dict(task=args.task, seed=args.seed, seconds=round(time.time() - started, 1), **result)))


if __name__ == "__main__":
    main()
