#!/usr/bin/env bash
# Keras 3.15.1: the variance that BatchNormalization finds in a batch depends on the backend.
#
# A batch of 32 rows of 1e6 ± 1 in float32. On the JAX backend the layer finds a variance of 0.8 to
# 1.0, as float64 does. On the NumPy backend, which subtracts the square of the mean from the mean of
# the squares, it finds 131072, and gives outputs with a deviation of 0.002 in the place of 1. Another
# batch of such rows has a variance below 0 there, and the evaluated layer gives NaN without a word.
# The formula was changed for the TensorFlow and JAX backends in 2023 (keras-team/keras#18795).
#
# Seen with keras 3.15.1, numpy 2.4.6, jax 0.10.2, Python 3.11:
#   jax: variance 0.8013 to 1.046, deviation of the output 0.99 to 1.01, NaN of 20 batches 0
#   numpy: variance 6.554e+04 to 1.966e+05, deviation of the output 0.00 to 0.00, NaN of 20 batches 18
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet \
    keras==3.15.1 numpy==2.4.6 scipy==1.17.1 jax==0.10.2 jaxlib==0.10.2
cat >"$folder/run.py" <<'PYTHON'
import sys
import numpy as np
import keras

random = np.random.default_rng(0)
batches = [(1e6 + random.normal(size=(32, 4))).astype("float32") for _ in range(20)]
layer = keras.layers.BatchNormalization(momentum=0.0)
output = np.asarray(layer(batches[0], training=True))
variance = np.asarray(layer.moving_variance)
exact = batches[0].astype("float64").var(axis=0)
with_nan = 0
for batch in batches:
    layer(batch, training=True)
    with np.errstate(invalid="ignore"):
        with_nan += bool(np.isnan(np.asarray(layer(batch, training=False))).any())
name, deviation = keras.backend.backend(), output.std(axis=0)
print(f"{name}: variance {variance.min():.4g} to {variance.max():.4g}, deviation of the output "
      f"{deviation.min():.2f} to {deviation.max():.2f}, NaN of 20 batches {with_nan}")
right = bool((np.abs(variance / exact - 1) < 0.1).all())
sys.exit(right != (name == "jax") or (with_nan > 0) != (name == "numpy"))
PYTHON
for backend in jax numpy; do
    KERAS_BACKEND=$backend "$folder/venv/bin/python" -W ignore "$folder/run.py"
done
