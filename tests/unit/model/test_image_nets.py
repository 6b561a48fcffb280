"""Networks over images: what varies them in training is gone when they predict, and ONNX says the same."""

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
from small_images import SHAPES, file_of, picture
from torch import nn

from raymle import data, native, train
from raymle.config import DataConfig, ModelConfig, SplitConfig, TrainConfig
from raymle.errors import SetupError, SpecError, UsageError
from raymle.model import check, fits, load
from raymle.model.build import build
from raymle.model.nets.images import DEVIATION, MIDDLE, Augment, channels_last, shifted
from raymle.model.params import CnnParams
from raymle.records import ImageInput, Inputs
from raymle.store import open_store

IMAGE = ImageInput(column="photo", channels=3, height=12, width=16)
INPUTS = Inputs(numbers=2, categories=(4,), images=(IMAGE,))
MODELS = [
    ModelConfig(type="cnn", params={"filters": [4, 8], "hidden": [8]}),
    ModelConfig(type="resnet", params={"width": 4}),
    ModelConfig(type="resnet", params={"width": 4, "depth": 50}),
    ModelConfig(type="mlp", params={"hidden": [8]}),
    ModelConfig(type="linear"),
]
NAMES = [f"{each.type}{each.params.get('depth', '')}" for each in MODELS]


def rows(count=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {
        "numbers": torch.randn(count, 2, generator=draw),
        "categories": torch.randint(0, 4, (count, 1), generator=draw),
        "pixels": torch.randint(0, 256, (count, IMAGE.size), dtype=torch.uint8, generator=draw),
    }


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_a_network_sees_every_input(model):
    module = build(model, INPUTS, 3).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.02 * torch.randn_like(weight))  # a linear model begins at 0
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.fill_(0.5)
        plain = module(**rows())
        assert plain.shape == (5, 3)
        for name, other in (("numbers", 0.5), ("categories", 0), ("pixels", 0)):
            changed = rows() | {name: torch.full_like(rows()[name], other)}
            assert not torch.allclose(module(**changed), plain)
        assert torch.allclose(module(**{name: values[:1] for name, values in rows().items()}), plain[:1], atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 31), (96, 100)])
@pytest.mark.parametrize("model", [MODELS[0], MODELS[1]], ids=["cnn", "resnet"])
def test_images_of_any_size_fit(model, height, width):
    image = ImageInput(column="photo", channels=1, height=height, width=width)
    module = build(model, Inputs(numbers=0, images=(image,)), 2).eval()
    pixels = torch.zeros(2, image.size, dtype=torch.uint8)
    assert module(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.int64), pixels).shape == (2, 2)


def test_depth_and_width_are_those_that_were_asked_for():
    def layers(depth):
        module = build(ModelConfig(type="resnet", params={"depth": depth, "width": 8}), INPUTS, 3)
        return sum((isinstance(each, nn.Conv2d) and each.kernel_size != (1, 1)) or isinstance(each, nn.Linear)
                   for each in module.modules())  # fmt: skip

    assert (layers(18), layers(34)) == (18, 34)
    deep = build(MODELS[2], INPUTS, 3)
    ones = [each for each in deep.modules() if isinstance(each, nn.Conv2d)]
    assert len(ones) == 1 + 3 * 16 + 4


@pytest.mark.parametrize("depth", [18, 50])
def test_no_one_by_one_convolution_has_a_stride(depth):
    """The backward pass of such a one corrupts memory in oneDNN 3.12 (NHWC, fewer than 16 channels)."""
    found = [each for each in build(ModelConfig(type="resnet", params={"depth": depth, "width": 4}), INPUTS, 3).modules()
             if isinstance(each, nn.Conv2d) and each.kernel_size == (1, 1)]  # fmt: skip
    assert {each.stride for each in found} == {(1, 1)}


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_find_images_pixel_by_pixel_and_leave_their_features_so(channels):
    images = torch.rand(5, channels, 9, 7)
    laid = channels_last(images)
    assert torch.equal(laid, images)
    assert nn.Conv2d(channels, 4, 3)(laid).is_contiguous(memory_format=torch.channels_last)


def test_images_are_varied_in_training_alone_and_the_same_for_the_same_seed():
    images = torch.rand(64, 3, 12, 16)
    varied = Augment(IMAGE, CnnParams(flip=True))
    assert torch.equal(varied.eval()(images), varied.eval()(images))
    varied.train()
    torch.manual_seed(3)
    first, second = varied(images), varied(images)
    torch.manual_seed(3)
    assert torch.equal(varied(images), first)
    assert not torch.equal(first, second)


def test_nothing_is_turned_left_to_right_unless_asked():
    marked = torch.zeros(256, 1, 9, 9)
    marked[:, :, 4, 3], marked[:, :, 4, 4] = 1.0, 0.5  # a bright point, and a dim one to its right
    image = ImageInput(column="photo", channels=1, height=9, width=9)

    def kept(**params):
        found = (Augment(image, CnnParams(**params)).train()(marked) * DEVIATION + MIDDLE).flatten(1)
        bright, dim = found.argmax(1), (found - 0.5).abs().argmin(1)
        return int((dim == bright + 1).sum())

    assert kept(shift=0.3) == 256
    assert 60 < kept(shift=0.0, flip=True) < 196


def test_an_image_is_moved_as_a_whole():
    image = torch.zeros(200, 1, 7, 7)
    image[:, :, 3, 3] = 1
    moved = shifted(image, 2, 1)
    places = moved.flatten(1).argmax(1)
    assert moved.sum() == 200
    assert {(int(place) // 7, int(place) % 7) for place in places} == {(y, x) for y in range(1, 6) for x in range(2, 5)}


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    count = 120
    photos = pa.array([file_of(picture(SHAPES[row % 3], row)) for row in range(count)])
    table = pa.table(
        {"photo": photos, "size": np.arange(count) % 5 + 0.5, "kind": [SHAPES[row % 3] for row in range(count)]}
    )
    store = open_store(str(tmp_path_factory.mktemp("runs")))
    return data.prepare(DataConfig(source="memory", target="kind"), SplitConfig(), store, folder=".", source=table)


def fitted(splits, model, out, epochs=2):
    work = train.fit(TrainConfig(epochs=epochs, batch_size=32), model, splits, metric="accuracy", folder=".", out=out)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_onnx_predicts_the_same_and_holds_nothing_random(splits, model, tmp_path):
    fitted(splits, model, tmp_path / "bundle")
    bundle = load(tmp_path / "bundle")
    made = native.ready(tmp_path / "bundle", tmp_path / "native")
    exported = load(made)
    assert exported.runtime == "onnx"
    table = pa.table(
        {"photo": [file_of(picture(SHAPES[row % 3], row)) for row in range(9)] + [None], "size": np.arange(10.0)}
    )
    assert np.allclose(bundle.predict(table), exported.predict(table), atol=1e-5)
    graph = onnx.load(made / "model.onnx").graph
    assert not [node.op_type for node in graph.node if "Random" in node.op_type or "Bernoulli" in node.op_type]


def test_a_few_epochs_tell_the_shapes_apart(splits, tmp_path):
    model = ModelConfig(type="cnn", params={"filters": [8, 16], "hidden": [32]})
    assert fitted(splits, model, tmp_path / "bundle", epochs=25).metrics["accuracy"] > 0.8


def test_what_does_not_fit_is_refused_before_it_is_trained(splits, tmp_path):
    with pytest.raises(UsageError, match=r"column 'photo' is image, and model\.type trees takes numbers"):
        fitted(splits, ModelConfig(type="trees"), tmp_path / "bundle")
    with pytest.raises(UsageError, match="is for images, and no column is one"):
        fits(ModelConfig(type="cnn"), Inputs(numbers=2))
    with pytest.raises(SpecError, match=r"model\.params\.depth"):
        check(ModelConfig(type="resnet", params={"depth": 20}))
    with pytest.raises(SetupError, match="needs torchvision") as caught:
        check(ModelConfig(type="torchvision:resnet18"))
    assert "pip install torchvision" in caught.value.hint
