"""Workflow 1: a new layer trained through the frozen base, which sees every image again at each epoch.

As in https://keras.io/guides/transfer_learning/, without augmentation, so that both workflows see the same.
"""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf

from benchmarks.network import SIZE, load_keras_model, preprocess
from benchmarks.tasks.common import answer, read_job

EPOCHS = 3

if __name__ == "__main__":
    job = read_job()
    data = keras.utils.image_dataset_from_directory(job["images"], image_size=(SIZE, SIZE), batch_size=32)
    classes = len(data.class_names)
    # Autotuning sleeps in doubling steps and can hold up the end of the process for many seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    base = load_keras_model(job["weights_file"])
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    features = base(preprocess(inputs), training=False)
    model = keras.Model(inputs, keras.layers.Dense(classes, "softmax")(keras.layers.Dropout(0.2)(features)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    times: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()))
    model.fit(data.prefetch(2).with_options(options), epochs=EPOCHS, callbacks=[watch], verbose=0)
    answer(job, seconds_per_epoch=float(np.median(np.diff(times))))
