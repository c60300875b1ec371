#!/usr/bin/env python3
"""Trains and scores a model of RecBole (or implicit's ALS) on split files that `train recommendation rank` wrote.

Packages: recbole==1.2.1, implicit==0.7.3, torch==2.15.0, numpy==2.4.6, scipy==1.17.1, pandas==3.0.6

  OMP_NUM_THREADS=1 python other_programs.py RUN/split MODEL [--seed N] [key=value ...]

MODEL: Pop, ItemKNN, EASE, BPR (RecBole's classes, its own loaders, training and evaluation), or ALS (implicit). Full ranking, the
items of training and validation masked; prints one JSON object with the test metrics, seconds and peak memory.
"""

import argparse
import json
import logging
import resource
import time
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
# Aliases that numpy 2 dropped and RecBole 1.2.1 still uses.
for old, new in [("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_), ("bool8", np.bool_)]:
    if not hasattr(np, old):
        setattr(np, old, new)

import torch  # noqa: E402

KEYS = {"recall@10", "ndcg@10", "mrr@10", "hit@10", "precision@10", "map@10"}


def run_recbole(folder, model, seed, settings):
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    load = torch.load
    # The checkpoint that RecBole has just written holds its config, which torch's new default refuses.
    torch.load = lambda *args, **kwargs: load(*args, **{**kwargs, "weights_only": False})
    config = {
        "data_path": str(folder.parent), "benchmark_filename": ["train", "valid", "test"],
        "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "load_col": {"inter": ["user_id", "item_id"]},
        "field_separator": "\t", "seed": seed, "reproducibility": True, "use_gpu": False, "show_progress": False,
        "state": "ERROR", "eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": "user", "order": "RO", "mode": "full"},
        "metrics": ["Recall", "NDCG", "MRR", "Hit", "Precision", "MAP"], "topk": [10], "valid_metric": "MRR@10",
        "epochs": 300, "stopping_step": 10, "train_batch_size": 2048, "eval_batch_size": 1 << 22,
        "learning_rate": 0.001, "metric_decimal_place": 7, "checkpoint_dir": "/tmp/recbole-saved", **settings,
    }
    config = Config(model=model, dataset=folder.name, config_dict=config)
    init_seed(seed, True)
    logging.disable(logging.CRITICAL)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    init_seed(seed, True)
    started = time.perf_counter()
    network = get_model(config["model"])(config, train._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    trainer.fit(train, valid, saved=True, show_progress=False)
    seconds = time.perf_counter() - started
    return dict(trainer.evaluate(test, load_best_model=True, show_progress=False)), seconds


def run_als(folder, seed, settings):
    """implicit's ALS on the training part, scored with RecBole's formulas."""
    import pandas as pd
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares

    parts = [pd.read_csv(folder / f"{folder.name}.{part}.inter", sep="\t", dtype=str) for part in ["train", "valid", "test"]]
    every = pd.concat(parts)
    users = {name: i for i, name in enumerate(every["user_id:token"].unique())}
    items = {name: i for i, name in enumerate(every["item_id:token"].unique())}

    def matrix(part):
        rows = part["user_id:token"].map(users).to_numpy(), part["item_id:token"].map(items).to_numpy()
        return sp.csr_matrix((np.ones(len(part), dtype=np.float32), rows), shape=(len(users), len(items)))

    train, valid, test = map(matrix, parts)
    options = {"factors": 64, "regularization": 0.1, "alpha": 10.0, "iterations": 15, **settings}
    model = AlternatingLeastSquares(
        factors=options["factors"], regularization=options["regularization"], alpha=1.0,
        iterations=options["iterations"], use_cg=False, num_threads=0, random_state=seed,
    )
    started = time.perf_counter()
    model.fit(train * (1.0 + options["alpha"]), show_progress=False)
    seconds = time.perf_counter() - started
    scores = model.user_factors @ model.item_factors.T
    scores[(train + valid).nonzero()] = -np.inf
    wanted = np.diff(test.indptr) > 0
    top = np.argsort(-scores[wanted], axis=1, kind="stable")[:, :10]
    hits = np.take_along_axis(test.toarray()[wanted] > 0, top, axis=1)
    count = np.diff(test.indptr)[wanted]
    gain = 1.0 / np.log2(np.arange(2, 12))
    ideal = np.array([gain[: min(n, 10)].sum() for n in count])
    first = np.where(hits.any(1), 1.0 / (hits.argmax(1) + 1), 0.0)
    return {
        "recall@10": (hits.sum(1) / count).mean(), "ndcg@10": ((hits * gain).sum(1) / ideal).mean(),
        "mrr@10": first.mean(), "hit@10": hits.any(1).mean(), "precision@10": hits.mean(),
    }, seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("settings", nargs="*")
    args = parser.parse_args()
    settings = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in args.settings)}
    folder = args.folder.resolve()
    torch.set_num_threads(1)
    if args.model == "ALS":
        metrics, seconds = run_als(folder, args.seed, settings)
    else:
        metrics, seconds = run_recbole(folder, args.model, args.seed, settings)
    metrics = {key: round(float(value), 4) for key, value in metrics.items() if key in KEYS}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"model": args.model, "seed": args.seed, **metrics, "fit_secs": round(seconds, 1), "peak_mib": peak}))


main()
