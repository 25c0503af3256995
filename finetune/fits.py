"""Whether a finished tagger can be applied to a store: nothing is adapted any more, so it must read the same things."""

from __future__ import annotations

from foundation.errors import SchemaError
from foundation.models.inputs import difference, feature_difference
from foundation.schema import DetectorSchema


def check_same_inputs(trained: DetectorSchema, data: DetectorSchema) -> None:
    """Refuses data whose modalities or globals the network would see in another way than those it was trained on.

    Raises:
        SchemaError: names the first difference.
    """
    found = {}
    for name, modality in trained.modalities.items():
        if name not in data.modalities:
            raise SchemaError(f"the model reads modality '{name}'; the store has {list(data.modalities)}")
        found[f"modality '{name}'"] = difference(modality, data.modalities[name])
    found["the globals"] = feature_difference(trained.globals, data.globals)
    for where, text in found.items():
        if text:
            raise SchemaError(
                f"{where} of the store differs from the model's: {text}\n"
                "  (there: the model, here: the store) ingest the data with the model's schema.yaml"
            )


def check_same_classes(trained: DetectorSchema, data: DetectorSchema, label: str | None) -> bool:
    """Whether the data has the label of the task.

    Raises:
        SchemaError: it has, with other classes or in another order, so that its integers mean something else.
    """
    if label is None or label not in data.labels:
        return False
    one, other = trained.labels[label], data.labels[label]
    if (one.kind, one.modality, list(one.classes)) != (other.kind, other.modality, list(other.classes)):
        raise SchemaError(
            f"label '{label}': the model was trained on {one.kind} {list(one.classes)}, the store has {other.kind} "
            f"{list(other.classes)}; ingest it with the classes of the model's schema.yaml, in that order"
        )
    return True
