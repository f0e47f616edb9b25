"""A small recurrent network that ranks what the tables nominated, and "none of them".

A GRU (Cho et al. 2014) reads the client's last keys; what it makes of them is compared with each
candidate, and weighs the plain numbers about it. All of that is added to the tables' own log
probability, and starts at zero: an untrained network says exactly what the tables say.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import torch
from torch import nn

from daycache_ray.prediction.features import KEYS_COUNT, NUMBERS_COUNT, STEPS_COUNT, TYPES_COUNT, Features

_KEY: Final = 16
_TYPE: Final = 8
_STEP: Final = 8
_IDENTITY: Final = _KEY + _TYPE + _STEP
_STATE: Final = 48
_HIDDEN: Final = 32


class RankingNetwork(nn.Module):
    """`forward` takes features and gives log probabilities, (n, 33)."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = nn.Embedding(KEYS_COUNT, _KEY, padding_idx=0)
        self.types = nn.Embedding(TYPES_COUNT, _TYPE, padding_idx=0)
        self.steps = nn.Embedding(STEPS_COUNT, _STEP, padding_idx=0)
        for table in (self.keys, self.types, self.steps):
            nn.init.normal_(table.weight, std=0.3)
            with torch.no_grad():
                table.weight[0] = 0.0
        self.reader = nn.GRU(_IDENTITY, _STATE, batch_first=True)
        self.query = nn.Linear(_STATE, _HIDDEN)
        self.answer = nn.Linear(_IDENTITY, _HIDDEN)
        self.weighing = nn.Linear(_STATE, NUMBERS_COUNT)
        self.inner = nn.Linear(NUMBERS_COUNT + _HIDDEN, _HIDDEN)
        self.outer = nn.Linear(_HIDDEN, 1)
        self.none = nn.Linear(_STATE, 1)
        self.trust = nn.Parameter(torch.ones(2))
        """How far the tables are believed, for the candidates and for "none of them"."""
        for layer in (self.answer, self.weighing, self.outer, self.none):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return log probabilities of the candidates and of "none of them", (n, 33)."""
        read, _ = self.reader(self._identity(features, "history"))
        state = read[:, -1]
        query = self.query(state)
        answers = self.answer(self._identity(features, "candidate"))
        numbers = features["numbers"]
        scores = (answers * query.unsqueeze(1)).sum(dim=2) / _HIDDEN**0.5
        scores = scores + (numbers * self.weighing(state).unsqueeze(1)).sum(dim=2)
        spread = query.unsqueeze(1).expand(-1, numbers.shape[1], -1)
        inner = torch.relu(self.inner(torch.cat([numbers, spread], dim=2)))
        scores = scores + self.outer(inner).squeeze(2)
        said = features["said_log"]
        scores = scores + self.trust[0] * said[:, :-1]
        scores = scores.masked_fill(~features["present"], -30.0)
        none = self.trust[1] * said[:, -1:] + self.none(state)
        return torch.log_softmax(torch.cat([scores, none], dim=1), dim=1)

    def _identity(self, features: dict[str, torch.Tensor], whose: str) -> torch.Tensor:
        parts = (
            self.keys(features[f"{whose}_keys"]),
            self.types(features[f"{whose}_types"]),
            self.steps(features[f"{whose}_steps"]),
        )
        return torch.cat(parts, dim=2)


def tensors_of(features: Features) -> dict[str, torch.Tensor]:
    """Return features as tensors that share their memory."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in features._asdict().items()}


def weights_to_bytes(network: nn.Module) -> bytes:
    """Return a network's weights as a NumPy archive: arrays only, nothing in it can be executed."""
    buffer = io.BytesIO()
    arrays = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def weights_from_bytes(network: nn.Module, stored: bytes) -> None:
    """Give a network the weights that `weights_to_bytes` returned; all of them, or none.

    Raises:
        ValueError: the bytes are no weights of this network, or hold a number that is not finite; keep
            the weights you have, or train anew.
    """
    try:
        with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive raises nearly anything
        raise ValueError(f"these are no stored weights: {error}; train anew") from None
    own = network.state_dict()
    if arrays.keys() != own.keys():
        wrong = sorted(arrays.keys() ^ own.keys())
        raise ValueError(f"weights of another network: {', '.join(wrong[:5])}; train anew")
    for name, array in arrays.items():
        if array.shape != tuple(own[name].shape) or array.dtype != np.float32:
            raise ValueError(f"weights of another network: {name} is {array.dtype} {array.shape}; train anew")
        if not np.isfinite(array).all():
            raise ValueError(f"weights that are not finite: {name}; train anew")
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
