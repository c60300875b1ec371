#!/usr/bin/env python3
"""Makes the bundled data of this folder and manifest.json out of published packages and corpora.

Pinned: Python 3.11, numpy 2.4.6, Pillow 13.0.0;
  FASHION  the Debian package dataset-fashion-mnist 0.0~git20200523.55506a9-1, unpacked (dpkg -x)
  SKIMAGE  the Python wheel scikit_image 0.26.0, unpacked (unzip)
  CC0      the text of CC0 1.0 (Debian: /usr/share/common-licenses/CC0-1.0)
  DJANGO   the Python wheel django 6.1.3, unpacked (unzip)
  UDC      the folder `udc` with train.conll and test.conll of UD Chinese GSD, from
           github.com/hankcs/multi-criteria-cws, commit 24be488d88617b1e226db745e23268c9a79bfc54
  TINY     input.txt.gz, tiny Shakespeare, from github.com/karpathy/char-rnn, commit
           6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e, data/tinyshakespeare/input.txt, gzipped
  WNUT     wnut17train.conll and emerging.test.annotated, each gzipped, from
           github.com/leondz/emerging_entities_17, commit e52a2d2a71ac1a051ca2d532eef28653c5c02603
  SQUAD    dev-v1.1.json, gzipped (SHA-256 of the content 95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9)
  NAB      the folder of the Numenta Anomaly Benchmark, github.com/numenta/NAB, commit
           ea702d75cc2258d9d7dd35ca8e5e2539d71f3140, with data/, labels/ and LICENSE.txt
  BREASTW  4_breastw.npz, from github.com/Minqi824/ADBench, commit 3dac8221081e190f157d78e93bfa8867f90d0965

  python make.py FASHION SKIMAGE CC0 DJANGO UDC TINY WNUT SQUAD NAB BREASTW

The slice: the first 200 training and the first 50 test images of each class, in the order of the
original files. The photos: rocket.jpg is the package's file, byte for byte; the others are its PNG
files as JPEG, quality 90, at most 640 pixels a side, without metadata. The languages: translated
messages of 20 to 120 characters without placeholders, each text once; a message is in the same split in
every language. The Chinese text: the first 1,000 training and the first 200 test
sentences, their word forms alone, two spaces between. The tagged words: the first 600 training and the first
200 test sentences that hold an entity and no crude word. The questions: the first ten paragraphs
of six articles, five for training and one for test. Shakespeare: the first 100,000 characters. The
table of cell samples: all rows, as CSV with the column names of the UCI repository. The series: one of the
benchmark's, whole, with a column that says which rows lie in its labelled windows. The interactions are
generated, with a seed.
"""

import ast
import csv
import gzip
import hashlib
import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
FASHION = "Debian package dataset-fashion-mnist 0.0~git20200523.55506a9-1"
SKIMAGE = "Python package scikit-image 0.26.0"
DJANGO = "Python package django 6.1.3"
LANGUAGES = ["de", "es", "fr", "it", "nl", "pl", "pt", "sv"]
CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]
# file, what it was made from, licence, note: as stated in skimage/data/_fetchers.py
PHOTOS = [
    ("astronaut.jpg", "astronaut.png", "public domain",
     "Eileen Collins, astronaut; NASA Great Images; \"No known copyright restrictions, released into"
     " the public domain\". NASA asks not to suggest that it or the person endorses a product"),
    ("chelsea.jpg", "chelsea.png", "CC0-1.0",
     "Chelsea the cat; \"No copyright restrictions. CC0 by the photographer (Stefan van der Walt)\""),
    ("coffee.jpg", "coffee.png", "CC0-1.0",
     "coffee cup, Pikolo Espresso Bar; \"No copyright restrictions. CC0 by the photographer"
     " (Rachel Michetti)\""),
    ("rocket.jpg", None, "public domain",
     "launch of DSCOVR on Falcon 9; \"captured by SpaceX and released in the public domain\";"
     " byte-identical to the package's file"),
]
PHOTO_ORIGINS = """Where the photos of this folder come from, as scikit-image 0.26.0 states it
(skimage/data/_fetchers.py). Its own code is BSD-3-Clause; none of it is here.

"""


def read_idx(path):
    raw = gzip.open(path).read()
    dims = struct.unpack(f">{raw[3]}I", raw[4:4 + 4 * raw[3]])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(dims)


def write_idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    # No name and no time in the gzip header: the same input gives the same bytes.
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(head + array.tobytes())


def fashion_mnist_slice(source):
    out = HERE / "fashion-mnist-slice"
    out.mkdir(exist_ok=True)
    seen = set()
    for split, per_class in (("train", 200), ("t10k", 50)):
        folder = source / "usr/share/datasets/fashion-mnist"
        images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
        rows = np.sort(np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(10)]))
        pixels = {images[row].tobytes() for row in rows}
        assert len(pixels) == len(rows) and not pixels & seen, "the slice repeats an image"
        seen |= pixels
        write_idx(out / f"{split}-images-idx3-ubyte.gz", images[rows])
        write_idx(out / f"{split}-labels-idx1-ubyte.gz", labels[rows])
        what = f"first {per_class} images of each class of {split}, original order"
        for kind in ("images-idx3", "labels-idx1"):
            yield f"fashion-mnist-slice/{split}-{kind}-ubyte.gz", FASHION, "MIT", what
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    yield "fashion-mnist-slice/classes.txt", FASHION, "MIT", "class names in label order, from its README"
    copyright_file = source / "usr/share/doc/dataset-fashion-mnist/copyright"
    (out / "LICENSE.txt").write_bytes(copyright_file.read_bytes())
    yield "fashion-mnist-slice/LICENSE.txt", FASHION, "MIT", "the package's copyright file"


def photos(source, cc0):
    out = HERE / "photos"
    out.mkdir(exist_ok=True)
    text = PHOTO_ORIGINS
    for file, made_from, licence, note in PHOTOS:
        original = source / "skimage/data" / (made_from or file)
        if made_from is None:
            (out / file).write_bytes(original.read_bytes())
        else:
            with Image.open(original) as opened:
                bare = Image.fromarray(np.asarray(opened.convert("RGB")))
            bare.thumbnail((640, 640), Image.Resampling.LANCZOS)
            bare.save(out / file, quality=90)
            note += f"; {made_from} as JPEG, quality 90"
        text += f"{file}: {licence}. {note}.\n"
        yield f"photos/{file}", SKIMAGE, licence, note
    text += "\nCC0-1.0 is the following.\n\n"
    (out / "LICENSE.txt").write_text(text + cc0.read_text())
    yield "photos/LICENSE.txt", SKIMAGE, "CC0-1.0", "origins and the text of CC0 1.0"


def messages(path):
    """(msgid, msgstr) of a gettext catalogue, without plural forms and doubtful entries."""
    entry, field, fuzzy = {}, "", False
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        fuzzy |= line.startswith("#,") and "fuzzy" in line
        if not line.strip():
            if entry.get("msgid") and entry.get("msgstr") and not fuzzy and "msgid_plural" not in entry:
                yield entry["msgid"], entry["msgstr"]
            entry, fuzzy = {}, False
        elif not line.startswith("#"):
            named = re.fullmatch(r'(msg\w+(?:\[\d\])?)\s+(".*")', line)
            field, text = named.groups() if named else (field, line)
            entry[field] = entry.get(field, "") + ast.literal_eval(text)


def languages(source):
    out = HERE / "languages"
    out.mkdir(exist_ok=True)
    translated = {}
    for language in LANGUAGES:
        for file in sorted(source.glob(f"django/**/locale/{language}/LC_MESSAGES/django.po")):
            for msgid, msgstr in messages(file):
                translated.setdefault(language, {})[msgid] = msgstr
    # A hash decides the order, and with it the split: one message, one split.
    order = sorted({m for texts in translated.values() for m in texts}, key=lambda m: hashlib.sha256(m.encode()).digest())
    test = set(order[: len(order) // 5])
    seen, rows = set(), {"train": [], "test": []}
    for language, texts in translated.items():
        count = {"train": 160, "test": 40}
        for msgid in order:
            split = "test" if msgid in test else "train"
            text = texts.get(msgid, "")
            if not 20 <= len(text) <= 120 or re.search(r"[%{<\n]", text) or text == msgid or text.lower() in seen:
                continue
            if count[split] > 0:
                count[split] -= 1
                seen.add(text.lower())
                rows[split].append((text, language))
    for split, pairs in rows.items():
        with open(out / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("text", "label"), *pairs])
        what = f"{len(pairs)} translated messages with their language, {len(LANGUAGES)} languages; "
        yield f"languages/{split}.csv", DJANGO, "BSD-3-Clause", what + "from django/**/locale/*/LC_MESSAGES/django.po"
    licence = next(source.glob("django-*.dist-info/licenses/LICENSE"))
    (out / "LICENSE.txt").write_bytes(licence.read_bytes())
    yield "languages/LICENSE.txt", DJANGO, "BSD-3-Clause", "the package's LICENSE"


UDC = "UD Chinese GSD, as in github.com/hankcs/multi-criteria-cws 24be488d88617b1e226db745e23268c9a79bfc54"
UDC_LICENCE = """The sentences of this folder are from the Universal Dependencies treebank Chinese GSD
(https://github.com/UniversalDependencies/UD_Chinese-GSD), by Mo Shen, Ryan McDonald, Daniel Zeman and
Peng Qi, after text of the Chinese Wikipedia: as the copy in hankcs/multi-criteria-cws has them.

Changes: the first 1,000 training and the first 200 test sentences; word forms alone.

Licence: Creative Commons Attribution-ShareAlike 4.0 International (CC BY-SA 4.0),
https://creativecommons.org/licenses/by-sa/4.0/legalcode. What is made out of these files is under the
same licence.
"""


def ud_chinese_slice(source):
    out = HERE / "ud-chinese-slice"
    out.mkdir(exist_ok=True)
    for split, count in (("train", 1000), ("test", 200)):
        sentences = []
        for block in (source / f"{split}.conll").read_text("utf-8").strip().split("\n\n")[:count]:
            words = [line.split("\t")[1] for line in block.splitlines() if not line.startswith("#")]
            sentences.append("  ".join(words) + "\n")
        with open(out / f"{split}.txt.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write("".join(sentences).encode())
        yield f"ud-chinese-slice/{split}.txt.gz", UDC, "CC-BY-SA-4.0", f"first {count:,} sentences of {split}, word forms"
    (out / "LICENSE.txt").write_text(UDC_LICENCE)
    yield "ud-chinese-slice/LICENSE.txt", UDC, "CC-BY-SA-4.0", "attribution and licence"


TINY = "github.com/karpathy/char-rnn 6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e, data/tinyshakespeare/input.txt"
TINY_LICENCE = """The text of this folder is from the plays of William Shakespeare, which are in the public domain, as
Andrej Karpathy's tiny Shakespeare (github.com/karpathy/char-rnn) has them: its first 100,000 characters.
"""


def tiny_shakespeare_slice(source):
    out = HERE / "tiny-shakespeare-slice"
    out.mkdir(exist_ok=True)
    text = gzip.open(source).read()[:100_000]
    with open(out / "input.txt.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text)
    yield "tiny-shakespeare-slice/input.txt.gz", TINY, "public domain", "the first 100,000 characters"
    (out / "LICENSE.txt").write_text(TINY_LICENCE)
    yield "tiny-shakespeare-slice/LICENSE.txt", TINY, "public domain", "origin"


WNUT = "WNUT-17, github.com/leondz/emerging_entities_17 e52a2d2a71ac1a051ca2d532eef28653c5c02603"
WNUT_LICENCE = """The sentences of this folder are from the WNUT 2017 shared task on novel and emerging entity
recognition (Derczynski, Nichols, van Erp and Limsopatham, 2017), https://github.com/leondz/emerging_entities_17.

Changes: the first 600 training and the first 200 test sentences that hold an entity and no crude word.

Licence: Creative Commons Attribution 4.0 International (CC BY 4.0),
https://creativecommons.org/licenses/by/4.0/legalcode.
"""
CRUDE = re.compile("fuck|shit|nigg|bitch|cunt|whore|porn|slut|dick|damn|sex", re.IGNORECASE)


def wnut17_slice(source):
    out = HERE / "wnut17-slice"
    out.mkdir(exist_ok=True)
    for split, file, count in (("train", "wnut17train.conll.gz", 600), ("test", "emerging.test.annotated.gz", 200)):
        text = gzip.decompress((source / file).read_bytes()).decode()
        blocks = [block.strip() for block in re.split(r"\n\s*\n", text)]
        kept = [b for b in blocks if re.search(r"\tB-", b) and not CRUDE.search(b)][:count]
        with open(out / f"{split}.conll.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write("".join(block + "\n\n" for block in kept).encode())
        yield f"wnut17-slice/{split}.conll.gz", WNUT, "CC-BY-4.0", f"first {count} sentences of {split} with an entity"
    (out / "LICENSE.txt").write_text(WNUT_LICENCE)
    yield "wnut17-slice/LICENSE.txt", WNUT, "CC-BY-4.0", "attribution and licence"


SQUAD = "SQuAD 1.1 development set, sha256 95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"
SQUAD_LICENCE = """The questions and paragraphs of this folder are from the development set of SQuAD 1.1, the Stanford Question
Answering Dataset (Rajpurkar, Zhang, Lopyrev and Liang, 2016), https://rajpurkar.github.io/SQuAD-explorer/, over
paragraphs of the English Wikipedia.

Changes: the first ten paragraphs of six of its articles; each different answer once.

Licence: Creative Commons Attribution-ShareAlike 4.0 International (CC BY-SA 4.0),
https://creativecommons.org/licenses/by-sa/4.0/legalcode. What is made out of these files is under the
same licence.
"""
ARTICLES = {
    "train": ["Amazon_rainforest", "Normans", "Oxygen", "Southern_California", "Warsaw"],
    "test": ["Packet_switching"],
}


def squad_slice(source):
    out = HERE / "squad-slice"
    out.mkdir(exist_ok=True)
    data = {a["title"]: a for a in json.loads(gzip.decompress(source.read_bytes()))["data"]}
    for split, titles in ARTICLES.items():
        articles = [{"title": t, "paragraphs": data[t]["paragraphs"][:10]} for t in titles]
        for qa in (qa for a in articles for p in a["paragraphs"] for qa in p["qas"]):
            qa["answers"] = [a for i, a in enumerate(qa["answers"]) if a not in qa["answers"][:i]]
        content = json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False, separators=(",", ":"))
        with open(out / f"{split}.json.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write(content.encode())
        what = f"first ten paragraphs of {', '.join(t.replace('_', ' ') for t in titles)}"
        yield f"squad-slice/{split}.json.gz", SQUAD, "CC-BY-SA-4.0", what
    (out / "LICENSE.txt").write_text(SQUAD_LICENCE)
    yield "squad-slice/LICENSE.txt", SQUAD, "CC-BY-SA-4.0", "attribution and licence"


GENERATED = "generated by datasets/data/make.py"
GENERATED_LICENCE = """The interactions of this folder are generated by datasets/data/make.py. They are under the licence of the
project: MIT or Apache-2.0, at your choice.
"""


def generated_interactions():
    """200 users and 120 items of five kinds; users have mostly items of one or two kinds, popular ones first."""
    out = HERE / "generated-interactions"
    out.mkdir(exist_ok=True)
    random = np.random.RandomState(20261124)
    kinds, users, items = 5, 200, 120
    popularity = 1.0 / (1.0 + random.permutation(items)) ** 0.7
    kind = np.arange(items) % kinds
    quality = random.normal(0.0, 0.5, items)
    rows = []
    for user in range(users):
        taste = np.full(kinds, 0.08)
        taste[random.randint(kinds)] += 1.0
        taste[random.randint(kinds)] += 0.4
        mood = random.normal(0.0, 0.3)
        weights = popularity * taste[kind]
        count = 10 + random.randint(20)
        chosen = random.choice(items, count, replace=False, p=weights / weights.sum())
        start = 1_600_000_000 + random.randint(10_000_000)
        for step, item in enumerate(chosen):
            rating = 2.6 + 1.2 * taste[kind[item]] + quality[item] + mood + random.normal(0.0, 0.4)
            stars = int(np.clip(np.rint(rating), 1, 5))
            rows.append((start + 3600 * step, f"u{user + 1},i{item + 1},{stars},{start + 3600 * step}\n"))
    text = "user,item,rating,timestamp\n" + "".join(row for _, row in sorted(rows))
    with open(out / "interactions.csv.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())
    (out / "LICENSE.txt").write_text(GENERATED_LICENCE)
    note = f"{len(rows)} ratings with times of {users} users for {items} items"
    yield "generated-interactions/interactions.csv.gz", GENERATED, "MIT OR Apache-2.0", note
    yield "generated-interactions/LICENSE.txt", GENERATED, "MIT OR Apache-2.0", "licence"


NAB = "github.com/numenta/NAB, commit ea702d75cc2258d9d7dd35ca8e5e2539d71f3140"
NAB_SERIES = "realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv"


def nab_slice(source):
    out = HERE / "nab-slice"
    out.mkdir(exist_ok=True)
    windows = json.loads((source / "labels/combined_windows.json").read_text())[NAB_SERIES]
    windows = [[stamp.split(".")[0] for stamp in window] for window in windows]
    rows = list(csv.reader((source / "data" / NAB_SERIES).open()))[1:]
    lines = ["timestamp,value,is_anomaly"]
    for stamp, value in rows:
        lines.append(f"{stamp},{value},{int(any(first <= stamp <= last for first, last in windows))}")
    name = NAB_SERIES.split("/")[1] + ".gz"
    with open(out / name, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(("\n".join(lines) + "\n").encode())
    yield f"nab-slice/{name}", NAB, "MIT", f"{NAB_SERIES}, whole, with its labelled windows as a column"
    (out / "LICENSE.txt").write_bytes((source / "LICENSE.txt").read_bytes())
    yield "nab-slice/LICENSE.txt", NAB, "MIT", "the repository's licence"


BREASTW = "ADBench, github.com/Minqi824/ADBench 3dac8221081e190f157d78e93bfa8867f90d0965, 4_breastw.npz"
BREASTW_COLUMNS = [
    "clump_thickness", "cell_size", "cell_shape", "adhesion", "epithelial_cell_size", "bare_nuclei", "chromatin",
    "nucleoli", "mitoses",
]
BREASTW_LICENCE = """Breast Cancer Wisconsin (Original), UCI Machine Learning Repository, https://doi.org/10.24432/C5HP4Z,
donated by William H. Wolberg, University of Wisconsin Hospitals, Madison. Licensed under the Creative Commons
Attribution 4.0 International licence (CC BY 4.0), https://creativecommons.org/licenses/by/4.0/.

In the edition of ODDS (Shebuti Rayana, 2016) and ADBench (Han et al., 2022): the 683 rows without missing values,
malignant samples labelled 1. Changed here: written as CSV with column names.
"""


def breastw(source):
    out = HERE / "breastw"
    out.mkdir(exist_ok=True)
    data = np.load(source)
    with open(out / "breastw.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*BREASTW_COLUMNS, "label"])
        writer.writerows([*map(int, row), int(label)] for row, label in zip(data["X"], data["y"]))
    yield "breastw/breastw.csv", BREASTW, "CC-BY-4.0", "683 cell samples of 9 features, 239 of them malignant (label 1)"
    (out / "LICENSE.txt").write_text(BREASTW_LICENCE)
    yield "breastw/LICENSE.txt", BREASTW, "CC-BY-4.0", "attribution and licence"


def main():
    fashion, skimage, cc0, django, udc, tiny, wnut, squad, nab, cells = map(Path, sys.argv[1:11])
    entries = []
    for file, origin, licence, note in [
        *fashion_mnist_slice(fashion), *photos(skimage, cc0), *languages(django), *ud_chinese_slice(udc),
        *tiny_shakespeare_slice(tiny), *wnut17_slice(wnut), *squad_slice(squad), *nab_slice(nab),
        *breastw(cells), *generated_interactions(),
    ]:
        content = (HERE / file).read_bytes()
        entries.append({
            "file": file, "origin": origin, "licence": licence,
            "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "note": note,
        })
    entries.sort(key=lambda entry: entry["file"])
    manifest = json.dumps(entries, indent=2, ensure_ascii=False)
    (HERE / "manifest.json").write_text(manifest + "\n")


main()
