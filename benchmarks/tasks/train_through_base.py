"""Workflow 1: a new layer trained through the frozen base, which sees every image again at each epoch.

As in https://keras.io/guides/transfer_learning/, without augmentation, so that both workflows see the same.
"""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf

from benchmarks.tasks.common import answer, read_job

EPOCHS = 3

if __name__ == "__main__":
    job = read_job()
    data = keras.utils.image_dataset_from_directory(job["images"], image_size=(299, 299), batch_size=32)
    classes = len(data.class_names)
    # Autotuning sleeps in doubling steps and can hold up the end of the process for many seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    base = keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
    base.load_weights(job["weights_file"])
    base.trainable = False
    inputs = keras.Input((299, 299, 3))
    features = base(keras.applications.inception_v3.preprocess_input(inputs), training=False)
    model = keras.Model(inputs, keras.layers.Dense(classes, "softmax")(keras.layers.Dropout(0.2)(features)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    times: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()))
    started = time.perf_counter()
    model.fit(data.prefetch(2).with_options(options), epochs=EPOCHS, callbacks=[watch], verbose=0)
    answer(
        job,
        images=len(data.file_paths),
        first_epoch=times[0] - started,
        seconds_per_epoch=float(np.median(np.diff(times))),
    )
