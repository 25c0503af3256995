"""What a model says of a split, beside the truth: the one thing that every measurement takes.

Axes: n predicted objects (examples, tokens or pairs of tokens), C classes, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Kind = Literal["none", "class", "multilabel", "token_class", "token_multilabel", "edge"]


@dataclass(frozen=True)
class Regression:
    """One regression target of examples.

    Attributes:
        target: NaN where unknown.
        value: the prediction (of several quantiles: the one nearest to the median), in the unit of the target.
        quantiles: level -> predicted quantile; empty where none was asked for.
    """

    target: Float[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]
    quantiles: dict[float, Float[np.ndarray, " n"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Predictions for a split.

    Attributes:
        kind: `class` and `multilabel` of examples, `token_class` and `token_multilabel` of tokens, `edge` of pairs of
            tokens (one class, `together`), `none` where there is only regression.
        classes: names, in output order.
        logits: softmax (`class`, `token_class`) or logistic (`multilabel`, `token_multilabel`, `edge`) of them gives
            probabilities.
        targets: class, -1 where unknown or left out; of multi-labels and edges [n, C] of 1, 0 and -1.
        rows: row of the split that each object belongs to; 0 ... n - 1 of examples.
        tokens: [n] position of the token in its modality, [n, 2] of the two tokens of a pair; None of examples.
        regressions: by name, of examples.
    """

    kind: Kind
    classes: tuple[str, ...]
    logits: Float[np.ndarray, "n C"]
    targets: Int[np.ndarray, "n *C"]
    rows: Int[np.ndarray, " n"]
    tokens: Int[np.ndarray, "n *p"] | None = None
    regressions: dict[str, Regression] = field(default_factory=dict)
