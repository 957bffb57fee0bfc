"""1,797 real handwritten digits of 8×8 pixels, which scikit-learn embeds."""

import numpy as np

from .split import Split, hold_out

TEST_FRACTION, TEST_SEED = 0.2, 0  # the same test rows always, whatever seed one trains with


def digits() -> tuple[Split, Split, float]:
    """Training rows, test rows, and the factor to 0…1.

    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI.
    """
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    train, test = hold_out(Split(X.astype(np.uint8), y), TEST_FRACTION, TEST_SEED)
    return train, test, 1 / 16
