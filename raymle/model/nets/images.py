"""Encoders of images ``[n, channels, height, width]``, and how training images are varied."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from raymle.model.params import ImageParams, ResnetParams
from raymle.records import ImageInput

MIDDLE, DEVIATION = 0.5, 0.25
LARGE = 96
"""From this side on a residual network first looks at every fourth pixel only, as it does for photographs."""
FEATURES = 256
"""Width of what one of torchvision's networks says of an image."""
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
BOTTLENECK = 4


@final
class Augment(nn.Module):
    """Brings pixels of 0 to 1 to about mean 0 and deviation 1; in training also flips and shifts images at random.

    Torch's own random state draws: the same seed, the same images.
    """

    def __init__(self, image: ImageInput, params: Any) -> None:
        super().__init__()
        given = params if isinstance(params, ImageParams) else ImageParams()
        self.flip = given.flip
        self.shift = (round(given.shift * image.height), round(given.shift * image.width))

    def forward(self, images: Tensor) -> Tensor:
        """Return images of the same shape; what is shifted in is black."""
        if self.training:
            images = self._varied(images)
        centred: Tensor = (images - MIDDLE) / DEVIATION
        return centred if torch.onnx.is_in_onnx_export() else channels_last(centred)

    def _varied(self, images: Tensor) -> Tensor:
        if any(self.shift):
            images = shifted(images, *self.shift)
        if self.flip:
            turned = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
            images = torch.where(turned, images.flip(3), images)
        return images


def channels_last(images: Tensor) -> Tensor:
    """Lay out memory pixel by pixel (NHWC): a CPU then needs about half the time for a convolution.

    The bytes of grey images lie the same either way. Their strides have to say NHWC, or torch takes them, and all that
    follows, as NCHW.
    """
    _, channels, height, width = images.shape
    if channels == 1:
        return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))
    return images.contiguous(memory_format=torch.channels_last)


def shifted(images: Tensor, most_rows: int, most_columns: int) -> Tensor:
    """Move each image by its own whole number of pixels, up to so many in each direction."""
    count, channels, height, width = images.shape
    rows = _starts(count, most_rows, images.device) + torch.arange(height, device=images.device)
    columns = _starts(count, most_columns, images.device) + torch.arange(width, device=images.device)
    padded = functional.pad(images, (most_columns, most_columns, most_rows, most_rows))
    down = rows[:, None, :, None].expand(count, channels, height, padded.shape[3])
    along = columns[:, None, None, :].expand(count, channels, height, width)
    return padded.gather(2, down).gather(3, along)


def _starts(count: int, most: int, device: torch.device) -> Tensor:
    return torch.randint(2 * most + 1, (count, 1), device=device)


@final
class Cnn(nn.Module):
    """Convolutions over three by three pixels, each followed by a pooling to half the size and a non-linearity.

    The largest of four is taken before the non-linearity: the same numbers, for a quarter of the work.
    """

    def __init__(self, image: ImageInput, params: Any) -> None:
        super().__init__()
        given = params if isinstance(params, ImageParams) else ImageParams()
        channels, height, width = image.channels, image.height, image.width
        layers: list[nn.Module] = [Augment(image, params)]
        for filters in given.filters:
            layers += [nn.Conv2d(channels, filters, 3, padding=1)]
            channels = filters
            if min(height, width) > 1:
                layers += [nn.MaxPool2d(2)]
                height, width = height // 2, width // 2
            layers += [nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.width = channels * height * width

    def forward(self, images: Tensor) -> Tensor:
        """Return ``[n, width]``."""
        found: Tensor = self.layers(images)
        return found


@final
class Resnet(nn.Module):
    """A residual network (He et al. 2015): four stages, each of twice the width and half the size of the last."""

    def __init__(self, image: ImageInput, params: ResnetParams) -> None:
        super().__init__()
        deep = params.depth >= 50
        width = params.width
        layers = [Augment(image, params), *_stem(image, width)]
        channels = width
        for stage, blocks in enumerate(BLOCKS[params.depth]):
            inner = width * 2**stage
            for place in range(blocks):
                stride = 2 if stage and not place else 1
                layers.append(Residual(channels, inner, stride, deep=deep))
                channels = inner * (BOTTLENECK if deep else 1)
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.width = channels

    def forward(self, images: Tensor) -> Tensor:
        """Return ``[n, width]``."""
        found: Tensor = self.layers(images)
        return found


def _stem(image: ImageInput, width: int) -> list[nn.Module]:
    """Return the first layers: small images keep their size."""
    if max(image.height, image.width) < LARGE:
        return [*_convolution(image.channels, width, 3, 1), nn.ReLU()]
    return [*_convolution(image.channels, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]


def _convolution(channels: int, filters: int, size: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, filters, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(filters),
    ]


@final
class Residual(nn.Module):
    """What a few convolutions add to an image's features."""

    def __init__(self, channels: int, inner: int, stride: int, *, deep: bool) -> None:
        super().__init__()
        outer = inner * (BOTTLENECK if deep else 1)
        if deep:
            layers = [
                *_convolution(channels, inner, 1, 1), nn.ReLU(), *_convolution(inner, inner, 3, stride), nn.ReLU(),
                *_convolution(inner, outer, 1, 1),
            ]  # fmt: skip
        else:
            layers = [*_convolution(channels, inner, 3, stride), nn.ReLU(), *_convolution(inner, inner, 3, 1)]
        self.layers = nn.Sequential(*layers)
        self.stride, same = stride, stride == 1 and channels == outer
        self.shortcut: nn.Module = nn.Identity() if same else nn.Sequential(*_convolution(channels, outer, 1, 1))
        last = layers[-1]
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)  # a block begins by adding nothing (Goyal et al. 2017)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the next shape.

        Every second pixel is taken before the 1x1 convolution: one with a stride of its own corrupts memory in the
        backward pass of oneDNN 3.12 (NHWC, fewer than 16 channels).
        """
        kept = features if self.stride == 1 else features[:, :, :: self.stride, :: self.stride]
        return functional.relu(self.layers(features) + self.shortcut(kept))


@final
class Torchvision(nn.Module):
    """One of torchvision's networks for classification; grey images are given to it three times."""

    def __init__(self, network: nn.Module, image: ImageInput, params: ImageParams) -> None:
        super().__init__()
        self.augment, self.network = Augment(image, params), network
        self.width = FEATURES
        self._repeat = 3 // image.channels

    def forward(self, images: Tensor) -> Tensor:
        """Return ``[n, width]``."""
        found: Tensor = self.network(self.augment(images).repeat(1, self._repeat, 1, 1))
        return found
