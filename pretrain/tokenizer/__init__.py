"""Tokens of a detector as integer codes: k-means or a vector-quantised autoencoder, trained by `detfm tokenize`."""

from pretrain.tokenizer.settings import TokenizerConfig, VqvaeConfig
from pretrain.tokenizer.tokenizer import NONE, Tokenizer, load_tokenizer

__all__ = ["NONE", "Tokenizer", "TokenizerConfig", "VqvaeConfig", "load_tokenizer"]
