"""The peers' side of `cargo xtask bench nlp --against ENGINE`: serves one workload over stdin/stdout.

Usage: nlp.py ENGINE WORKLOAD; the protocol is that of worker.py.

Engines: pytorch (eager mode; torch 2.15.0, transformers 5.23.0) and onnxruntime 1.32.0 (forward passes, from the file that
torch.onnx writes; onnx 1.23.2, onnxscript 0.7.2). The workloads, shapes and names are those of benches/src/nlp.rs; weights
are random.
"""
import csv
import os
import subprocess
import sys
import tempfile

from worker import serve

THREADS = os.cpu_count() or 1
HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 16


def torch():
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    return torch


def bert_base():
    torch()
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig()).eval()


def tokenize(batch):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(os.path.join(HERE, "../../pipelines/nlp/tests/fixtures/text/bert"))
    with open(os.path.join(HERE, "../../datasets/data/languages/train.csv"), encoding="utf-8", newline="") as f:
        texts = [row["text"] for row in csv.DictReader(f)][:batch]
    # One text a call, as a request comes in, and as our side does it.
    return lambda: sum(len(tokenizer(text, truncation=True)["input_ids"]) for text in texts)


def forward(batch, length):
    t, net = torch(), bert_base()
    ids = t.randint(30522, (batch, length))

    def run():
        with t.inference_mode():
            return net(ids).last_hidden_state.sum().item()
    return run


def export(batch, length, path):
    t = torch()
    t.onnx.export(bert_base(), (t.randint(30522, (batch, length)),), path, dynamo=True, external_data=False, verbose=False)


def onnx_forward(batch, length):
    import numpy
    import onnxruntime

    path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    # In a process of its own, so that the export does not count in the engine's peak memory.
    command = [sys.executable, __file__, "--export", str(batch), str(length), path]
    subprocess.run(command, check=True, stdout=sys.stderr)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ids = numpy.random.default_rng(0).integers(0, 30522, (batch, length))
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: ids})[0].sum()


def decode(read):
    t = torch()
    from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

    net = GPT2LMHeadModel(GPT2Config()).eval()
    cache = DynamicCache()
    with t.inference_mode():
        start = net(t.randint(50257, (1, read)), past_key_values=cache).logits[:, -1:].argmax(-1)

    def run():
        token = start
        with t.inference_mode():
            for _ in range(STEPS):
                token = net(token, past_key_values=cache).logits[:, -1:].argmax(-1)
        cache.crop(-STEPS)
        return token.item()
    return run


def training_step(batch, length):
    t = torch()
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=2)
    net = BertForSequenceClassification(config).train()
    ids, labels = t.randint(30522, (batch, length)), t.arange(batch) % 2
    optimizer = t.optim.AdamW(net.parameters(), lr=1e-5)

    def step():
        optimizer.zero_grad()
        loss = t.nn.functional.cross_entropy(net(ids).logits, labels)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def workload(engine, name):
    what, _, batch = name.rpartition("_b")
    batch = int(batch)
    if engine == "pytorch" and what == "tokenize":
        return tokenize(batch)
    what, _, length = what.rpartition("_t")
    if engine == "pytorch" and what == "decode_gpt2":
        return decode(int(length))
    if engine == "pytorch" and what == "train_step_minilm_l6":
        return training_step(batch, int(length))
    if what == "forward_bert_base" and engine in ("pytorch", "onnxruntime"):
        return (forward if engine == "pytorch" else onnx_forward)(batch, int(length))
    raise SystemExit(3)


if sys.argv[1] == "--export":
    export(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
else:
    serve(workload(sys.argv[1], sys.argv[2]))
