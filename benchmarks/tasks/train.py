"""Training a head: ours from the store, and what a user would write with the features in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.network import LAYER
from benchmarks.tasks.common import answer, read_job
from features import store as feature_store
from heads.logistic import CANDIDATES, MAX_ITERATIONS


def ours(kind: str, store: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """`train_head`, and the seconds of its epochs where it has some."""
    from heads import train_head

    times: list[float] = []
    saved = train_head(store, kind=kind, progress=lambda *_: times.append(time.perf_counter()), **parameters)
    test = saved.facts["metrics"]["test"]
    result = {"accuracy": test["accuracy"], "tested": test["count"]}
    return result | (_epoch(times) if kind == "dense" else {})


def _epoch(ends: list[float]) -> dict[str, float]:
    return {"seconds_per_epoch": float(np.median(np.diff(ends)))}


def _in_memory(store: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Every split's features, and the numbers of its classes."""
    rows = feature_store.open(store).delta.to_pyarrow_table(columns=["split", "labels", LAYER])
    splits = rows.column("split").to_numpy()
    _, y = np.unique([labels[0] for labels in rows.column("labels").to_pylist()], return_inverse=True)
    chunks = rows.column(LAYER).chunks
    X = np.concatenate([chunk.flatten().to_numpy() for chunk in chunks]).reshape(len(rows), -1)
    names = ("train", "validation", "test")
    return {name: X[splits == name] for name in names}, {name: y[splits == name] for name in names}


def scikit_learn(store: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A grid search over the same strengths of regularization, scored on the same validation rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = _in_memory(store)
    folds = np.repeat([-1, 0], [len(y["train"]), len(y["validation"])])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS)),
        {"logisticregression__C": list(CANDIDATES)},
        scoring="neg_log_loss",
        cv=PredefinedSplit(folds),
    )
    both = [np.concatenate([part["train"], part["validation"]]) for part in (X, y)]
    search.fit(*both)
    accuracy = search.best_estimator_.score(X["test"], y["test"])
    return {"accuracy": float(accuracy), "tested": len(y["test"])}


def keras_in_memory(store: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The dense head's network and settings, on arrays."""
    import keras

    from heads.dense import DenseHead

    settings = DenseHead(**parameters)
    X, y = _in_memory(store)
    scale = keras.layers.Normalization()
    scale.adapt(X["train"])
    softmax = keras.layers.Dense(int(y["train"].max()) + 1, "softmax")
    layers = [keras.Input((X["train"].shape[1],)), scale, keras.layers.Dropout(settings.dropout), softmax]
    model = keras.Sequential(layers)
    model.compile(
        keras.optimizers.Adam(settings.learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    stop = keras.callbacks.EarlyStopping("val_loss", patience=settings.patience, restore_best_weights=True)
    times: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()))
    model.fit(
        X["train"],
        y["train"],
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        validation_data=(X["validation"], y["validation"]),
        callbacks=[stop, watch],
        verbose=0,
    )
    accuracy = np.mean(model.predict(X["test"], verbose=0).argmax(axis=1) == y["test"])
    return {"accuracy": float(accuracy), "tested": len(y["test"])} | _epoch(times)


#: By the id that the job names: from a store and the head's parameters to what was measured.
WAYS: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "ours-logistic": partial(ours, "logistic"),
    "ours-dense": partial(ours, "dense"),
    "scikit-learn": scikit_learn,
    "keras": keras_in_memory,
}

if __name__ == "__main__":
    job = read_job()
    started = time.perf_counter()
    result = WAYS[job["way"]](job["store"], job.get("parameters", {}))
    answer(job, **result, seconds=time.perf_counter() - started)
