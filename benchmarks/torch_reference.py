"""The same masked modelling in PyTorch, for comparison: run by benchmarks/pretrain.py with the Python that has torch.

Reads a line of JSON (sizes, the file of batches, device), answers with what it tried and took, and then times a round
of steps for each further line, so that both sides take turns on one machine.

Best settings: explicit attention or scaled_dot_product_attention, eager or torch.compile, fused AdamW, one thread per
core; bf16 autocast on a GPU. Axes: B batch, N tokens, D width, H heads, K width of a head, F features.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

FLOOR = 1e-8
HIDDEN_FRACTION = 0.3


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, fused: bool):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.norm_attention, self.norm_feed = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """`bias` [B, H or 1, N or 1, N] holds the pair bias, and -1e30 where a token must not be seen."""
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.fused:
            mask = bias.to(q.dtype).expand(batch, -1, tokens, -1)
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            logits = torch.matmul(q * (width // self.heads) ** -0.5, k.transpose(-1, -2)) + bias
            y = torch.matmul(torch.softmax(logits, dim=-1).to(v.dtype), v)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(functional.gelu(self.up(self.norm_feed(x)), approximate="tanh"))


class MaskedModel(nn.Module):
    """Encoder and decoder as in foundation/models/encoder.py and pretrain/objectives/masked.py."""

    def __init__(self, s: dict[str, Any], fused: bool):
        super().__init__()
        width, heads, hidden = s["width"], s["heads"], s["hidden"] * s["width"]
        self.columns = s["columns"]  # of pt, eta, phi
        self.register_buffer("mean", torch.tensor(s["mean"]))
        self.register_buffer("std", torch.tensor(s["std"]))
        features = len(s["mean"])
        self.embed, self.summary = nn.Linear(features, width), nn.Linear(1, width)
        self.pair_up, self.pair_down = nn.Linear(4, s["pair_width"]), nn.Linear(s["pair_width"], heads)
        self.blocks = nn.ModuleList([Block(width, heads, hidden, fused) for _ in range(s["layers"])])
        self.decoder = Block(width, heads, hidden, fused)
        self.norm, self.norm_decoder = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Parameter(0.02 * torch.randn(width))
        self.rank = nn.Parameter(0.02 * torch.randn(s["most"], width))
        self.told = nn.Linear(width, features)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean Huber loss over the hidden tokens."""
        alone = mask.sum(1, keepdim=True) < 2
        hidden = mask & ~alone & (torch.rand(mask.shape, device=mask.device) < HIDDEN_FRACTION)
        visible = mask & ~hidden
        targets = ((values - self.mean) / self.std).clamp(-10, 10)
        one = torch.ones(len(mask), 1, dtype=torch.bool, device=mask.device)
        x = torch.cat([self.summary(torch.ones_like(values[:, :1, :1])), self.embed(targets)], dim=1)
        bias = functional.pad(self.pair_bias(values, visible), (1, 0, 1, 0)) + unseen(torch.cat([one, visible], 1))
        for block in self.blocks:
            x = block(x, bias)
        x = self.norm(x.float())
        tokens = torch.where(visible[..., None], x[:, 1:], 0.0)
        pooled = x[:, 0] + tokens.sum(1) / visible.sum(1, keepdim=True).clamp(min=1)
        ranks = self.rank[: mask.shape[1]]
        x = torch.where(hidden[..., None], self.query + ranks, tokens + ranks)
        x = self.decoder(torch.cat([pooled[:, None], x], dim=1), unseen(torch.cat([one, mask], 1)))
        told = self.told(self.norm_decoder(x)[:, 1:])
        error = functional.huber_loss(told.float(), targets, reduction="none").mean(-1)
        return (error * hidden).sum() / hidden.sum().clamp(min=1)

    def pair_bias(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """ln deltaR, ln kT, ln z, ln m^2 of massless tokens through a small network: [B, H, N, N]."""
        pt, eta, phi = (values[..., i] for i in self.columns)
        pt = torch.where(mask, pt, 0.0)
        a, b = pt[:, :, None], pt[:, None, :]
        deta = eta[:, :, None] - eta[:, None, :]
        dphi = torch.remainder(phi[:, :, None] - phi[:, None, :] + math.pi, 2 * math.pi) - math.pi
        distance = torch.sqrt(deta**2 + dphi**2)
        softer, total = torch.minimum(a, b), a + b
        mass2 = 4 * a * b * (torch.sinh(deta / 2) ** 2 + torch.sin(dphi / 2) ** 2)
        z = softer / torch.where(total > 0, total, 1.0)
        both = mask[:, :, None] & mask[:, None, :]
        logs = [torch.where(both, x.clamp(min=FLOOR).log(), 0.0) for x in (distance, softer * distance, z, mass2)]
        pairs = torch.stack(logs, dim=-1)
        return self.pair_down(functional.gelu(self.pair_up(pairs), approximate="tanh")).permute(0, 3, 1, 2)


def unseen(seen: torch.Tensor) -> torch.Tensor:
    return torch.where(seen, 0.0, -1e30)[:, None, None, :]


class Side:
    """One model in training, with one choice of settings."""

    def __init__(self, s: dict[str, Any], fused: bool, compiled: bool):
        torch.manual_seed(0)
        self.device, self.half = s["device"], s["precision"] == "bfloat16"
        self.model = MaskedModel(s, fused).to(self.device)
        self.loss = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)

    def step(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            loss = self.loss(values, mask)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def seconds(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        """Of a step: the mean over the batches."""
        begun = time.perf_counter()
        for values, mask in batches:
            loss = self.step(values, mask)
        if not math.isfinite(loss.item()):  # waits for the device
            raise FloatingPointError("the loss of the PyTorch reference is not finite")
        return (time.perf_counter() - begun) / len(batches)


def best(s: dict[str, Any], batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[Side, dict[str, Any]]:
    """The fastest choice of settings, and the seconds of a step with each that was tried."""
    tried: dict[str, Any] = {}
    sides: dict[str, Side] = {}
    for name, fused, compiled in (
        ("eager, explicit", False, False),
        ("eager, sdpa", True, False),
        ("compiled, explicit", False, True),
        ("compiled, sdpa", True, True),
    ):
        if compiled and not s["compile"]:
            continue
        try:
            sides[name] = Side(s, fused, compiled)
            sides[name].step(*batches[0])
            tried[name] = min(sides[name].seconds(batches[:1]) for _ in range(3))
        except Exception as error:  # torch.compile needs a C++ compiler, a GPU kernel its card: report and go on
            tried[name] = f"{type(error).__name__}: {error}"[:200]
    found = {name: seconds for name, seconds in tried.items() if isinstance(seconds, float)}
    fastest = min(found, key=lambda name: found[name])
    return sides[fastest], {"best": fastest, "tried": tried}


def load(path: str, device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    with np.load(path) as file:
        count = len(file.files) // 2
        arrays = [(file[f"values{i}"], file[f"mask{i}"]) for i in range(count)]
    return [(torch.from_numpy(v).to(device), torch.from_numpy(m).to(device)) for v, m in arrays]


def main() -> None:
    s = json.loads(sys.stdin.readline())
    torch.set_num_threads(s["threads"])
    batches = load(s["file"], s["device"])
    side, found = best(s, batches)
    found |= {"torch": torch.__version__, "parameters": sum(p.numel() for p in side.model.parameters())}
    print(json.dumps(found), flush=True)
    for _ in sys.stdin:
        print(json.dumps(side.seconds(batches)), flush=True)


if __name__ == "__main__":
    main()
