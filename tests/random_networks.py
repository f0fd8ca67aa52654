"""Random small networks: every kind of step may follow every other, on tensors `[clips, channels, 4, 4]`.

A network is data: its modules and the list of its steps, which `forward` follows. It has two inputs, a map and some
facts beside it, and gives `[clips, 3]`.
"""

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAP, FACTS = (2, 2, 4, 4), (2, 3)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "square": torch.square,
    "one minus": lambda y: 1 - y,
    "softmax over channels": lambda y: y.softmax(1),
    "softmax over time": lambda y: y.softmax(3),
    "deviation": lambda y: (y - y.mean((2, 3), keepdim=True)) / (y.std((2, 3), keepdim=True) + 0.1),
    "where": lambda y: torch.where(y < 0, torch.zeros_like(y), y),
    "leaky": lambda y: F.leaky_relu(y, 0.2),
}
MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "swap halves": lambda y: torch.cat(y.chunk(2, 1)[::-1], 1),
    "add halves": lambda y: y.chunk(2, 1)[0] + y.chunk(2, 1)[1],
    "slices": lambda y: y[:, : y.shape[1] // 2] * y[:, y.shape[1] // 2 :],
    "gated halves": lambda y: F.glu(y, 1),
    "gated time": lambda y: torch.cat([F.glu(y, 3)] * 2, 3),
    "shuffle": lambda y: y.view(len(y), 2, -1, 4, 4).transpose(1, 2).flatten(1, 2),
    "rows to channels and back": lambda y: y.reshape(len(y), -1, 2, 4).relu().view(len(y), -1, 4, 4),
    "channels last and back": lambda y: y.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
    "flip": lambda y: y.flip(1),
    "flip time": lambda y: y.flip(3),
    "roll": lambda y: y.roll(1, 1),
    "roll time": lambda y: y.roll(1, 3),
    "stack and sum": lambda y: torch.stack([y, 2 * y], 1).sum(1),
    "stack and mean": lambda y: torch.stack([y, y.relu()], 2).mean(2),
    "more channels": lambda y: F.pad(y, (0, 0, 0, 0, 1, 2)),
    "halves of time": lambda y: torch.cat(y.chunk(2, 3)[::-1], 3),
    "times its mean": lambda y: y * y.mean(1, keepdim=True),
    "times its sum": lambda y: y * y.sum(1, keepdim=True),
    "times its maximum over time": lambda y: y * y.amax(3, keepdim=True),
    "product": lambda y: y @ y.transpose(2, 3),
    "correlation": lambda y: torch.einsum("bcij,bcjk->bcik", y, y.relu()),
    "pool": lambda y: F.avg_pool2d(y, 3, 1, 1),
    "pool over channels": lambda y: (
        F.avg_pool1d(y.flatten(2).transpose(1, 2), 3, 1, 1).transpose(1, 2).unflatten(2, (4, 4))
    ),
    "cumulated": lambda y: y.cumsum(1),
    "unbound": lambda y: torch.stack(y.unbind(1), 1),
    "repeat": lambda y: y.repeat(1, 2, 1, 1),
    "pixels": lambda y: F.avg_pool2d(F.pixel_shuffle(torch.cat([y] * 4, 1), 2), 2),
    "first channel": lambda y: y + y[:, :1],
}
HEADS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": lambda y, facts: y.mean((2, 3)),
    "flatten": lambda y, facts: y.flatten(1),
    "channels last": lambda y, facts: y.permute(0, 2, 3, 1).flatten(1),
    "frames": lambda y, facts: y.permute(0, 3, 1, 2).flatten(2),
    "facts first": lambda y, facts: torch.cat([facts, y.flatten(1)], 1),
    "facts last": lambda y, facts: torch.cat([y.permute(0, 2, 3, 1).flatten(1), facts], 1),
    "facts as channels": lambda y, facts: torch.cat([facts[..., None, None].expand(-1, -1, 4, 4), y], 1).flatten(1),
    "statistics": lambda y, facts: torch.cat([y.mean((2, 3)), y.std((2, 3)), y.amax((2, 3))], 1),
}


class RandomNetwork(nn.Module):
    """A random network of so many steps."""

    def __init__(self, seed: int, steps: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self.parts = nn.ModuleDict()
        self.scales = nn.ParameterList()
        self.register_buffer("token", torch.randn(1, 2, 4, 4))
        self.steps: list[tuple[str, list[int], str]] = []
        values = [torch.randn(MAP)]
        with torch.no_grad():
            self._add(values, ("part", [0], self._part(nn.Conv2d(2, self._random.choice((4, 6)), 3, padding=1))))
            while len(self.steps) < steps:
                self._add(values, self._step(values))
        self.head = self._random.choice(sorted(HEADS))
        features = HEADS[self.head](values[-1], torch.randn(FACTS)).shape[-1]
        self.hidden, self.last = nn.Linear(features, 5), nn.Linear(5, 3)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, std=0.3)
                nn.init.normal_(part.running_mean, std=0.3)

    def forward(self, x: Tensor, facts: Tensor) -> Tensor:
        values = [x]
        for kind, sources, name in self.steps:
            values.append(self._do(kind, [values[source] for source in sources], name))
        y = self.last(torch.relu(self.hidden(HEADS[self.head](values[-1], facts))))
        return y.mean(1) if y.ndim > 2 else y

    def _do(self, kind: str, y: list[Tensor], name: str) -> Tensor:
        if kind == "part":
            return self.parts[name](y[0])
        if kind == "activation":
            return ACTIVATIONS[name](y[0])
        if kind == "move":
            return MOVES[name](y[0])
        if kind == "scale":
            return y[0] * self.scales[int(name)][:, None, None]
        if kind == "token":
            return torch.cat([self.token.expand(len(y[0]), -1, -1, -1), y[0]], 1)
        if kind == "gate":
            return y[0] * torch.sigmoid(self.parts[name](y[0]))
        return torch.cat(y, 1) if kind == "join" else y[0] + y[1] if kind == "add" else y[0] * y[1]

    def _add(self, values: list[Tensor], step: tuple[str, list[int], str]) -> None:
        """Add a step if it can follow and gives a map of few channels."""
        try:
            made = self._do(step[0], [values[source] for source in step[1]], step[2])
        except (RuntimeError, ValueError, IndexError):
            return
        if made.shape[2:] == (4, 4) and made.shape[1] <= 12:
            self.steps.append(step)
            values.append(made)

    def _step(self, values: list[Tensor]) -> tuple[str, list[int], str]:
        choose, last = self._random.choice, len(values) - 1
        kind = choose(
            (
                "part",
                "part",
                "norm",
                "activation",
                "move",
                "move",
                "join",
                "add",
                "mul",
                "scale",
                "token",
                "gate",
                "again",
            )
        )
        channels = values[last].shape[1]
        if kind == "part":
            return "part", [last], self._part(self._convolution(channels))
        if kind == "norm":
            norms = (nn.BatchNorm2d(channels), nn.BatchNorm2d(channels), nn.InstanceNorm2d(channels, affine=True))
            groups = (nn.GroupNorm(2, channels),) if channels % 2 == 0 else ()
            return (
                "part",
                [last],
                self._part(choose((*norms, *groups, nn.LayerNorm([channels, 4, 4]), nn.PReLU(channels)))),
            )
        if kind in ("activation", "move"):
            return kind, [last], choose(sorted(ACTIVATIONS if kind == "activation" else MOVES))
        if kind == "scale":
            self.scales.append(nn.Parameter(torch.rand(channels) + 0.5))
            return kind, [last], str(len(self.scales) - 1)
        if kind == "gate":
            wide = choose((nn.Conv2d(channels, 1, 1), nn.Conv2d(channels, channels, 1)))
            return kind, [last], self._part(wide)
        if kind == "again":
            return "part", [last], choose(sorted(self.parts))
        others = [place for place, value in enumerate(values) if kind == "join" or value.shape == values[last].shape]
        return kind, self._random.sample([choose(others), last], 2), ""

    def _convolution(self, channels: int) -> nn.Module:
        filters = self._random.choice((1, 3, 4, 6))
        kinds = [nn.Conv2d(channels, filters, 3, padding=1), nn.Conv2d(channels, filters, 1, bias=False)]
        kinds += [nn.ConvTranspose2d(channels, filters, 3, padding=1)]
        kinds += [nn.Conv2d(channels, 2 * channels, 3, padding=1, groups=channels)]
        kinds += [nn.Conv2d(channels, channels, 3, padding=1, groups=channels)]
        if channels % 2 == 0:
            kinds += [nn.Conv2d(channels, 6, 3, padding=1, groups=2), nn.ConvTranspose2d(channels, 4, 1, groups=2)]
        return self._random.choice(kinds)

    def _part(self, part: nn.Module) -> str:
        name = f"{type(part).__name__.lower()}{len(self.parts)}"
        self.parts[name] = part.eval()
        return name


class Side(nn.Module):
    """Networks side by side, which one trace follows at once: the time of a trace is mostly that of starting it."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor, facts: Tensor) -> list[Tensor]:
        return [network(x, facts) for network in self.networks]
