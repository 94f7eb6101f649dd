from __future__ import annotations

import keras
import numpy as np

from heads.pixels.inference_mode import InferenceMode


def test_dropout_and_batch_normalization_are_as_at_inference_and_weights_are_trained() -> None:
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization()(keras.layers.Dropout(0.5)(inputs))
    inner = keras.Model(inputs, keras.layers.Dense(1)(x))
    outer = keras.Model(inputs, InferenceMode(inner)(inputs))
    X, y = np.random.default_rng(0).normal(5, 2, (32, 4)).astype(np.float32), np.ones((32, 1))
    np.testing.assert_array_equal(outer(X, training=True), inner(X, training=False))
    outer.compile("sgd", "mse")
    moments, kernel = inner.layers[2].moving_mean, inner.layers[3].kernel
    before = [moments.numpy(), kernel.numpy()]
    outer.fit(X, y, verbose=0)
    np.testing.assert_array_equal(moments, before[0])
    assert np.abs(kernel.numpy() - before[1]).max() > 0
    assert len(outer.trainable_variables) == 4
