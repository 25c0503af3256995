"""Networks: the encoder, its building blocks, heads."""

from foundation.models.backbone import Backbone
from foundation.models.encoder import Encoded, Encoder, EncoderConfig
from foundation.models.flat import FlatEncoder, build_encoder
from foundation.models.heads import Head, HeadConfig
from foundation.models.saved import count_parameters, load_encoder, save_encoder

__all__ = [
    "Backbone",
    "Encoded",
    "Encoder",
    "EncoderConfig",
    "FlatEncoder",
    "Head",
    "HeadConfig",
    "build_encoder",
    "count_parameters",
    "load_encoder",
    "save_encoder",
]
