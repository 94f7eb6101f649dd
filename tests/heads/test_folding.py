from __future__ import annotations

import keras
import numpy as np
import pytest

from heads.folding import FoldedDense

WIDTH = 6


@pytest.fixture
def dense() -> keras.layers.Dense:
    layer = keras.layers.Dense(3, "softmax", bias_initializer="random_normal")
    layer.build((None, WIDTH))
    return layer


def dropout() -> keras.layers.Dropout:
    return keras.layers.Dropout(0.5, noise_shape=(1, WIDTH), seed=4)


@pytest.mark.parametrize("training", [False, True])
def test_it_computes_what_the_layers_compute_one_after_the_other(dense: keras.layers.Dense, training: bool):
    random = np.random.default_rng(0)
    x = random.exponential(size=(20, WIDTH)).astype(np.float32)
    x[:, 2] = 1000 + x[:, 2] / 4  # as little as a feature may vary, not to be taken for constant
    mean, variance = x.mean(axis=0), x.var(axis=0)
    folded = FoldedDense(mean, variance, dropout(), dense)
    scaled = keras.layers.Normalization(mean=mean, variance=variance)(x)
    expected = dense(dropout()(scaled, training=training))
    np.testing.assert_allclose(folded(x, training=training), expected, rtol=2e-3, atol=1e-5)


def test_it_trains_the_variables_of_the_layer_it_was_given(dense: keras.layers.Dense):
    folded = FoldedDense(np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32), dropout(), dense)
    assert [variable.path for variable in folded.trainable_variables] == [
        variable.path for variable in dense.trainable_variables
    ]
