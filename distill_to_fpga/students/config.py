"""What a student looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from distill_to_fpga.students.settings import (
    AttentionConfig,
    InteractionConfig,
    MixerConfig,
    TablesConfig,
    TreesConfig,
)
from foundation.errors import ConfigError

Kind = Literal[
    "deepsets",
    "mlp",
    "vae_encoder",
    "embedding_autoencoder",
    "cnn",
    "interaction",
    "mixer",
    "trees",
    "lut",
    "attention",
]
SCORE = "score"  # the name of the one output of a student of an anomaly model
WEIGHTLESS: tuple[Kind, ...] = ("trees", "lut")
DISTANCES: tuple[Kind, ...] = ("vae_encoder", "embedding_autoencoder")  # whose output is a sum of squares


@dataclass(frozen=True)
class StudentConfig:
    """A network small enough for a trigger board.

    Attributes:
        kind: `deepsets` (one small network for every token, summed over tokens, then a second network); `mlp`;
            `vae_encoder` (the sum of the squares of a network's outputs: AXOL1TL v3 and v4, arXiv:2411.19506);
            `embedding_autoencoder` (an embedding, and the squared distance to what an autoencoder restores of it: the
            shape of AXOL1TL v5); `cnn` (one layer shared by the patches of an image, then dense layers: CICADA, CMS
            DP-2023/086); `interaction`, `mixer`, `trees`, `attention`: see the settings of these
            names; `lut`: see `tables`.
        tokens: the first so many tokens are the input; of an image all its pixels.
        features: names of the modality's features to use; empty means all that have a hardware type.
        phi: widths of the per-token layers (deepsets).
        rho: widths of the hidden layers after the sum over tokens (deepsets, interaction, mixer, attention).
        hidden: widths of the hidden layers (mlp, vae_encoder; of cnn those after the patches).
        latent: number of outputs whose squares are summed (vae_encoder).
        embedding: widths of the layers that make the embedding, which is the last of them (embedding_autoencoder).
        bottleneck: widths of the hidden layers between the embedding and what is restored of it.
        image: rows and columns (cnn).
        patch: rows and columns of a patch; patches do not overlap (cnn).
        filters: outputs for each patch (cnn).
        interaction, mixer, trees, tables, attention: what these kinds (tables: the kind lut) alone have.
        scaling: whether a feature is shifted and scaled alike wherever it stands, or in each `place` by itself, where
            places mean something (missing energy first, then electrons, ...).
        score_bits: width of the one unsigned, saturating output of a student of an anomaly model, a score. 0: the
            outputs are logits and regressions, exact and unrounded.
        score_integer: how many of the bits lie above the binary point: 18 and 14 make `ap_ufixed<18, 14>`.
        quantized: false gives the floating-point student of the same shape, as a reference.
        weight_format: `digits`: a weight is a sum of a learnt number of signed powers of two, none of which is a pruned
            weight (see `distill_to_fpga.digits`); `bits`: it has learnt fractional bits (HGQ, arXiv:2405.00645).
            Baselines: `ternary` and `binary`, one power of two for each output channel (see `distill_to_fpga.ternary`).
        uniform_bits: a baseline: every activation and bias has so many bits, the sign included, and in format `bits`
            every weight, too; none is learnt. The point stands where the range of the layer (of the channel, with that
            granularity) needs it. 0: widths are learnt.
        weight_granularity: how many weights share one number of digits, or of bits: none, those of one output channel,
            or all of a layer.
        weight_digits: signed digits of a weight before training.
        activation_granularity: one width per channel, or one per layer.
        weight_fraction: fractional bits of biases (and of weights in format `bits`) before training.
        activation_fraction: fractional bits of activations and of the scaled inputs before training.
    """

    kind: Kind = "deepsets"
    tokens: int = 16
    features: tuple[str, ...] = ()
    phi: tuple[int, ...] = (16, 8)
    rho: tuple[int, ...] = (16,)
    hidden: tuple[int, ...] = (32, 32)
    latent: int = 8
    embedding: tuple[int, ...] = (29, 10)
    bottleneck: tuple[int, ...] = (9, 6, 4, 6, 9)
    image: tuple[int, int] = (18, 14)
    patch: tuple[int, int] = (2, 2)
    filters: int = 4
    interaction: InteractionConfig = field(default_factory=InteractionConfig)
    mixer: MixerConfig = field(default_factory=MixerConfig)
    trees: TreesConfig = field(default_factory=TreesConfig)
    tables: TablesConfig = field(default_factory=TablesConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    scaling: Literal["feature", "place"] = "feature"
    score_bits: int = 0
    score_integer: int = 14
    quantized: bool = True
    weight_format: Literal["digits", "bits", "ternary", "binary"] = "digits"
    uniform_bits: int = 0
    weight_granularity: Literal["weight", "channel", "tensor"] = "weight"
    activation_granularity: Literal["channel", "tensor"] = "channel"
    weight_digits: int = 2
    weight_fraction: int = 6
    activation_fraction: int = 5

    @property
    def learns_widths(self) -> bool:
        """Whether weights learn how many digits or bits they have: what a budget can move."""
        return self.weight_format in ("digits", "bits") and not self.uniform_bits

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the layers of this kind."""
        return {
            "deepsets": (*self.phi, *self.rho),
            "mlp": self.hidden,
            "vae_encoder": (*self.hidden, self.latent),
            "embedding_autoencoder": (*self.embedding, *self.bottleneck),
            "cnn": (self.filters, *self.hidden),
            "interaction": (*self.interaction.sizes, *self.rho),
            "mixer": (*self.mixer.sizes, *self.rho),
            "trees": (self.trees.rounds, self.trees.depth),
            "lut": self.tables.hidden,
            "attention": (*self.attention.sizes, *self.rho),
        }[self.kind]

    def check(self) -> None:
        """Raises ConfigError if the sizes make no network."""
        if self.tokens < 1 or any(w < 1 for w in self.widths):
            raise ConfigError(
                f"tokens and layer widths must be at least 1; got tokens={self.tokens}, widths {self.widths}"
            )
        if self.kind == "deepsets" and not self.phi:
            raise ConfigError("a deepsets student needs at least one per-token layer: set student.phi")
        if self.kind == "embedding_autoencoder" and not (self.embedding and self.bottleneck):
            raise ConfigError("an embedding_autoencoder needs layers: set student.embedding and student.bottleneck")
        if self.kind in DISTANCES and not self.score_bits:
            raise ConfigError(f"a {self.kind} makes one score and no classes: distil it from a run of `detfm anomaly`")
        if self.score_bits and not (4 < self.score_integer <= self.score_bits <= 32):
            raise ConfigError(
                f"a score needs 4 < score_integer <= score_bits <= 32; they are {self.score_integer}, {self.score_bits}"
            )
        if self.uniform_bits and not 2 <= self.uniform_bits <= 16:
            raise ConfigError(f"uniform_bits must be 0 (widths are learnt) or 2 to 16; it is {self.uniform_bits}")
        if self.uniform_bits and self.weight_format == "digits":
            raise ConfigError("uniform_bits needs student.weight_format bits, ternary or binary: digits are learnt")
        if self.kind == "cnn":
            self._check_image()
        if self.kind in WEIGHTLESS:
            (self.trees if self.kind == "trees" else self.tables).check()
            if self.uniform_bits or self.weight_format in ("ternary", "binary"):
                raise ConfigError(
                    f"a student of kind {self.kind} has no weights: set no uniform_bits, ternary or binary"
                )

    def _check_image(self) -> None:
        (height, width), (rows, columns) = self.image, self.patch
        if self.tokens != height * width:
            raise ConfigError(f"an image of {height} x {width} pixels has {height * width} tokens, not {self.tokens}")
        if min(rows, columns) < 1 or height % rows or width % columns:
            raise ConfigError(f"patches of {rows} x {columns} do not divide an image of {height} x {width} pixels")
