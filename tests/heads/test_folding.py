from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heads.folding import FoldedDense


def dropout(width: int, rate: float, seed: int) -> keras.layers.Dropout:
    return keras.layers.Dropout(rate, noise_shape=(1, width), seed=seed)


def dense_layer(width: int, units: int, activation: str) -> keras.layers.Dense:
    layer = keras.layers.Dense(units, activation, bias_initializer="random_normal")
    layer.build((None, width))
    return layer


@pytest.mark.parametrize("training", [False, True])
@settings(max_examples=12)
@given(
    st.integers(0, 1000),
    st.integers(1, 9),
    st.integers(2, 4),
    st.sampled_from(["softmax", "relu"]),
    st.sampled_from([0.0, 0.2, 0.5]),
)
def test_it_computes_what_the_layers_compute_one_after_the_other(
    training: bool, seed: int, width: int, units: int, activation: str, rate: float
) -> None:
    x = np.random.default_rng(seed).exponential(size=(20, width)).astype(np.float32)
    x[:, 0] = 1000 + x[:, 0] / 4  # as little as a feature may vary, not to be taken for constant
    mean, variance = x.mean(axis=0), x.var(axis=0)
    dense = dense_layer(width, units, activation)
    folded = FoldedDense(mean, variance, dropout(width, rate, seed), dense)
    scaled = keras.layers.Normalization(mean=mean, variance=variance)(x)
    expected = dense(dropout(width, rate, seed)(scaled, training=training))
    np.testing.assert_allclose(folded(x, training=training), expected, rtol=2e-3, atol=2e-3)


def test_a_variance_near_0_is_that_of_keras() -> None:
    mean, variance = np.zeros(2, np.float32), np.array([0, 1e-20], np.float32)
    dense = dense_layer(2, 3, "linear")
    x = np.array([[1e-7, -2e-7]], np.float32)
    expected = dense(keras.layers.Normalization(mean=mean, variance=variance)(x))
    np.testing.assert_allclose(FoldedDense(mean, variance, dropout(2, 0, 0), dense)(x), expected, rtol=1e-4)


def test_it_drops_nothing_unless_it_is_told_that_it_trains() -> None:
    x = np.ones((1, 8), np.float32)
    folded = FoldedDense(
        np.zeros(8, np.float32), np.ones(8, np.float32), dropout(8, 0.5, seed=1), dense_layer(8, 3, "linear")
    )
    np.testing.assert_array_equal(folded(x), folded(x, training=False))
    assert np.abs(np.asarray(folded(x, training=True)) - folded(x)).max() > 0.1


def test_it_trains_the_variables_of_the_layer_it_was_given() -> None:
    dense = dense_layer(6, 3, "softmax")
    folded = FoldedDense(np.zeros(6, np.float32), np.ones(6, np.float32), dropout(6, 0.5, 4), dense)
    assert [variable.path for variable in folded.trainable_variables] == [
        variable.path for variable in dense.trainable_variables
    ]
