#!/usr/bin/env python3
"""AUROC and average precision of PyOD's and scikit-learn's detectors on sets of ADBench, beside those of this crate.

Pinned: Python 3.11, numpy==2.4.6, scikit-learn==1.9.1, torch==2.15.0, pyod==3.6.7

  cargo run --release -p panoply-anomaly --example adbench -- DIR > ours.tsv
  OMP_NUM_THREADS=1 python adbench.py DIR > theirs.tsv
  python adbench.py --compare ours.tsv theirs.tsv

DIR holds the .npz files. Protocol: min-max scaling, every detector is fitted to all rows without labels, and the scores
are those of the same rows (decision_scores_). IForest is the mean of twenty seeds, with the standard deviation; networks are
trained with PyOD's defaults by --deep, with three seeds.
"""

import sys
import time
from pathlib import Path

import numpy as np

SEEDS = 20
DEEP_SEEDS = 3


def detectors(deep, width):
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF
    from pyod.models.pca import PCA

    if deep:
        from pyod.models.auto_encoder import AutoEncoder
        from pyod.models.deep_svdd import DeepSVDD
        from pyod.models.vae import VAE

        return {
            "auto-encoder": [lambda s=s: AutoEncoder(verbose=0, random_state=s) for s in range(DEEP_SEEDS)],
            "vae": [lambda s=s: VAE(verbose=0, random_state=s) for s in range(DEEP_SEEDS)],
            "deep-svdd": [lambda s=s: DeepSVDD(n_features=width, verbose=0, random_state=s) for s in range(DEEP_SEEDS)],
        }
    return {
        "iforest": [lambda s=s: IForest(random_state=s) for s in range(SEEDS)],
        "lof": [lambda: LOF(n_neighbors=20)],
        "knn": [lambda: KNN()],
        "ecod": [lambda: ECOD()],
        "hbos": [lambda: HBOS()],
        "pca": [lambda: PCA(random_state=0)],
        "mahalanobis": [None],
    }


def mahalanobis(x):
    from sklearn.covariance import EmpiricalCovariance

    return EmpiricalCovariance().fit(x).mahalanobis(x)


def measure(folder, deep, only):
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.preprocessing import MinMaxScaler

    for path in sorted(folder.glob("*.npz")):
        name = path.stem.split("_", 1)[1]
        if only and name not in only:
            continue
        data = np.load(path)
        x, y = MinMaxScaler().fit_transform(data["X"].astype(float)), data["y"]
        for detector, makers in detectors(deep, x.shape[1]).items():
            start, found = time.perf_counter(), []
            for make in makers:
                scores = make().fit(x).decision_scores_ if make else mahalanobis(x)
                found.append((roc_auc_score(y, scores), average_precision_score(y, scores)) if np.isfinite(scores).all()
                             else (np.nan, np.nan))
            secs = (time.perf_counter() - start) / len(makers)
            (auroc, ap), (sd_auroc, sd_ap) = np.mean(found, axis=0), np.std(found, axis=0)
            print(name, detector, *(f"{v:.6f}" for v in (auroc, ap, sd_auroc, sd_ap)), f"{secs:.3f}", sep="\t", flush=True)


def read(path):
    rows = (line.rstrip("\n").split("\t") for line in open(path))
    return {(row[0], row[1]): [float(v) for v in row[2:]] for row in rows}


def compare(ours, theirs):
    ours, theirs = read(ours), read(theirs)
    names = list(dict.fromkeys(detector for _, detector in ours))
    sets = list(dict.fromkeys(name for name, _ in ours))
    print("| set |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    worst = {}
    for name in sets:
        cells = []
        for detector in names:
            a, b = ours.get((name, detector)), theirs.get((name, detector))
            if a is None or b is None:
                cells.append("")
                continue
            cells.append(f"{a[0]:.4f}/{a[1]:.4f} ({b[0]:.4f}/{b[1]:.4f})")
            gap = max(abs(a[0] - b[0]), abs(a[1] - b[1]))
            worst.setdefault(detector, []).append((gap, name, a, b))
        print(f"| {name} |", " | ".join(cells), "|")
    for detector, gaps in worst.items():
        gap, name, _, _ = max(gaps, key=lambda g: g[0] if np.isfinite(g[0]) else np.inf)
        within = sum(g[0] <= 1e-3 for g in gaps)
        spread = sum(abs(a[i] - b[i]) <= 3 * np.hypot(a[i + 2], b[i + 2]) / np.sqrt(SEEDS) + 1e-3
                     for _, _, a, b in gaps for i in (0, 1))
        secs = [sum(v[4] for *_, v in ((g[2],) for g in gaps)), sum(g[3][4] for g in gaps)]
        print(f"{detector}: {within} of {len(gaps)} sets within 1e-3, largest difference {gap:.5f} ({name}); "
              f"{spread} of {2 * len(gaps)} numbers within three standard errors; "
              f"seconds {secs[0]:.2f} (theirs {secs[1]:.2f})")


if __name__ == "__main__":
    if sys.argv[1] == "--compare":
        compare(*sys.argv[2:4])
    else:
        arguments = [a for a in sys.argv[1:] if a != "--deep"]
        measure(Path(arguments[0]), "--deep" in sys.argv, set(arguments[1:]))
