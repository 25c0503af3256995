"""What a network depends on of its inputs: whether an encoder made for one schema may read data of another.

Names, units, transforms, standardisation, order and coordinates count. By which columns a file gives a feature is the
file's business: encoders carry over from one format to another.
"""

from __future__ import annotations

from foundation.schema import Feature, Modality


def difference(ours: Modality, theirs: Modality) -> str:
    """How the inputs of two modalities differ, or an empty string."""
    found = feature_difference(ours.features, theirs.features)
    if not found and ours.coordinates != theirs.coordinates:
        found = f"coordinates are {ours.coordinates} there, {theirs.coordinates} here"
    return found


def feature_difference(ours: dict[str, Feature], theirs: dict[str, Feature]) -> str:
    """The first feature of two lists that a network would see in another way, or an empty string.

    Args:
        ours: of the encoder, called `there` in the answer.
        theirs: of the data, called `here`.
    """
    for name in {**ours, **theirs}:
        there, here = _seen(ours.get(name)), _seen(theirs.get(name))
        if there != here:
            return f"feature '{name}' is {there} there, {here} here"
    if list(ours) != list(theirs):  # a network knows them by place
        return f"order of features is {', '.join(ours)} there, {', '.join(theirs)} here"
    return ""


def _seen(feature: Feature | None) -> str:
    if feature is None:
        return "absent"
    standard = "" if feature.standardize else ", not standardised"
    return f"in {feature.unit or 'no unit'}, transform {feature.transform}{standard}"
