"""Whether, and by which rule, an encoder reads data of another schema than it was pretrained on."""

from __future__ import annotations

from foundation.errors import SchemaError
from foundation.models.inputs import difference, feature_difference
from foundation.schema import DetectorSchema


def check_same_inputs(encoder: DetectorSchema, data: DetectorSchema) -> None:
    """Refuses data whose modalities or globals a network would see in another way than those the encoder knows.

    Raises:
        SchemaError: names the first difference.
    """
    found = {}
    for name, modality in encoder.modalities.items():
        if name not in data.modalities:
            raise SchemaError(f"the encoder needs modality '{name}'; the store has {list(data.modalities)}")
        found[f"modality '{name}'"] = difference(modality, data.modalities[name])
    found["the globals"] = feature_difference(encoder.globals, data.globals)
    for where, text in found.items():
        if text:
            raise SchemaError(
                f"{where} of the store differs from the encoder's: {text}\n"
                "  (there: the encoder, here: the store) ingest the data with the encoder's schema.yaml"
            )
