"""Small networks of the shapes users have: residual sums, depthwise layers and gates, branches."""

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """A stem, a block whose output is added to its input, and a head; functional where it can be."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 4, 3, padding=1)
        self.outer = nn.Conv2d(4, 6, 1)
        self.hidden = nn.Linear(6, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        x = F.relu(self.stem_norm(self.stem(x)))
        x = F.relu(x + self.outer(F.relu(self.inner(x))))
        x = x.mean(dim=(2, 3))
        return self.head(F.relu(self.hidden(x)))


class Separable(nn.Module):
    """MobileNet-like: depthwise, then pointwise, with squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.squeeze = nn.Conv2d(4, 2, 1)
        self.excite = nn.Conv2d(2, 4, 1)
        self.pointwise = nn.Conv2d(4, 8, 1)
        self.head = nn.Linear(8 * 4, 3)

    def forward(self, x):
        x = F.hardswish(self.norm(self.depthwise(F.relu6(self.first(x)))))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = F.max_pool2d(F.relu(self.pointwise(x * gate)), 4)
        return self.head(x.flatten(1))


class Branches(nn.Module):
    """Two branches side by side, joined by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv1d(2, 3, 3, padding=1)
        self.right = nn.Conv1d(2, 5, 1)
        self.join = nn.Conv1d(8, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.cat([self.left(x), self.right(x)], dim=1)
        return self.head(torch.amax(self.join(x), dim=-1))


class Plain(nn.Module):
    """A convolution, something in between, a dense layer."""

    def __init__(self, between, features: int, channels: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1, groups=groups)
        self.between = between
        self.head = nn.Linear(features, 2)

    def forward(self, x):
        return self.head(self.between(self.conv(x)))


EXAMPLES = {"residual": (Residual, (1, 3, 8, 8)), "separable": (Separable, (1, 1, 8, 8)), "1d": (Branches, (1, 2, 10))}
