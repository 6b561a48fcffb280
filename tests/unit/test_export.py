"""A model for other machines: what it may be, what it costs in quality, and what is left when that is too much."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from raymle import native
from raymle.config import EvaluateConfig, ModelConfig
from raymle.errors import ConflictError, UsageError, WorkError
from raymle.evaluate import Form, Validation, on_table
from raymle.evaluate.forms import loss
from raymle.export import DYNAMIC, ORIGINAL, STATIC, Wish, best, export, plan, refusal
from raymle.folders import MANIFEST
from raymle.model import golden, load, read_contents

INT8 = Wish(quantize="int8")


@pytest.fixture
def model(trained, prepared, tmp_path):
    """Train a model and return its bundle and the validation rows of its run."""

    def make(target="two", metric="roc_auc", **settings):
        bundle = Path(trained(target, **settings).bundle)
        return bundle, Validation(prepared(target), EvaluateConfig(), str(tmp_path), metric)

    return make


def left(folder):
    """Name what is in a folder; native forms are no leftovers."""
    return sorted(path.name for path in folder.iterdir())


def test_an_onnx_export_is_a_bundle_that_evaluates_alike(model, tmp_path, table):
    bundle, rows = model()
    out = tmp_path / "new" / "out"
    done = export(bundle, out, root=tmp_path, wish=Wish(), rows=rows)
    assert (done.passed, done.output, done.form, done.reasons, done.warnings) == (True, str(out), "onnx", (), ())
    assert [form.name for form in done.forms] == [ORIGINAL, "onnx"]
    assert done.forms[1].loss == pytest.approx(0, abs=1e-4)
    assert all(form.latency_ms > 0 and form.size_mb > 0 and form.memory_mb > 50 for form in done.forms)
    assert done.forms[1].memory_mb < done.forms[0].memory_mb
    ours, theirs = (on_table(each, table(), config=EvaluateConfig()).metrics for each in (bundle, out))
    assert theirs == pytest.approx(ours, abs=1e-4)
    assert left(out) == [MANIFEST, "bundle.json", "golden.arrow", "model.onnx", "transform.json"]
    golden.check(load(out))
    assert "roc_auc" in str(done)


def test_8_bit_forms_are_measured_and_the_better_one_is_kept(model, tmp_path, table):
    bundle, rows = model(model=ModelConfig(params={"hidden": [128, 64], "dropout": 0.0}))
    out = tmp_path / "out"
    done = export(bundle, out, root=tmp_path, wish=INT8, rows=rows)
    assert [form.name for form in done.forms] == [ORIGINAL, "onnx", STATIC, DYNAMIC]
    sizes = {form.name: form.size_mb for form in done.forms}
    assert sizes[done.form] < 0.5 * sizes[ORIGINAL]
    contents = read_contents(out)
    assert (contents.runtime, f"int8 {contents.quantized}") == ("onnx", done.form)
    assert contents.original == native.version(bundle)
    loaded = load(out)
    golden.check(loaded)
    np.testing.assert_allclose(loaded.predict(table()), load(bundle).predict(table()), atol=0.2)
    again = export(bundle, out, root=tmp_path, wish=INT8, rows=rows)
    assert again.output == str(out)
    with pytest.raises(ConflictError, match="is another export"):
        export(bundle, out, root=tmp_path, wish=Wish(), rows=rows)
    assert load(out).version == loaded.version
    with pytest.raises(UsageError, match="is 8-bit already"):
        export(out, tmp_path / "other", root=tmp_path, wish=INT8, rows=None)


@pytest.mark.parametrize("calibrate", ["static", "dynamic"])
def test_what_loses_too_much_leaves_nothing_behind(model, tmp_path, calibrate):
    bundle, rows = model("number", "rmse")
    before = left(tmp_path)
    wish = Wish(quantize="int8", calibrate=calibrate, max_loss=-1)  # it would have to be better
    done = export(bundle, tmp_path / "deep" / "out", root=tmp_path / "runs-number", wish=wish, rows=rows)
    assert (done.passed, done.output) == (False, "")
    assert [form.name for form in done.forms] == [ORIGINAL, "onnx", f"int8 {calibrate}"]
    assert f"int8 {calibrate} loses " in done.reasons[0]
    assert "of rmse, and --max-loss allows -1" in done.reasons[0]
    assert left(tmp_path) == before


def test_without_its_run_a_model_is_dynamic_and_its_loss_not_known(model, tmp_path):
    bundle, _ = model()
    done = export(bundle, tmp_path / "out", root=tmp_path, wish=INT8, rows=None)
    assert [form.name for form in done.forms] == [ORIGINAL, "onnx", DYNAMIC]
    assert all(form.quality is None and form.loss is None for form in done.forms)
    assert "8-bit is dynamic" in done.warnings[0]
    assert read_contents(tmp_path / "out").quantized == "dynamic"
    golden.check(load(tmp_path / "out"))
    with pytest.raises(UsageError, match="needs the validation rows"):
        export(bundle, tmp_path / "b", root=tmp_path, wish=Wish(quantize="int8", calibrate="static"), rows=None)


def test_torch_weights_are_exported_as_they_are(model, tmp_path, table):
    bundle, rows = model()
    done = export(bundle, tmp_path / "out", root=tmp_path, wish=Wish(format="torch"), rows=rows)
    assert done.form == "torch"
    loaded = load(tmp_path / "out")
    assert loaded.runtime == "torch"
    np.testing.assert_array_equal(loaded.predict(table()), load(bundle).predict(table()))
    assert native.ready(tmp_path / "out", tmp_path) == tmp_path / "out"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(format="torch", quantize="int8"), "--format torch has no 8-bit"),
        (Wish(calibrate="static"), "--calibrate goes with --quantize"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(model, tmp_path, wish, said):
    bundle, rows = model()
    before = left(tmp_path)
    for call in (plan, lambda *words: export(*words[:2], root=tmp_path, wish=words[2], rows=words[3])):
        with pytest.raises(UsageError, match=said):
            call(bundle, tmp_path / "out", wish, rows)
    assert left(tmp_path) == before


def test_trees_are_not_exported(model, tmp_path):
    bundle, rows = model(model=ModelConfig(type="trees", params={"rounds": 3}))
    for form in ("onnx", "torch"):
        with pytest.raises(UsageError, match="LightGBM's own predictor") as caught:
            export(bundle, tmp_path / "out", root=tmp_path, wish=Wish(format=form), rows=rows)
        assert str(bundle) in caught.value.hint


def test_a_network_that_does_not_export_says_why(model, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(inputs.numbers, outputs)\n"
        "    def forward(self, numbers, categories):\n"
        "        return self.layer(numbers) if numbers.sum() > 0 else -self.layer(numbers)\n"
        "def make(inputs, outputs): return Net(inputs, outputs)\n"
    )
    bundle, rows = model(model=ModelConfig(type="net:make"))
    with pytest.raises(WorkError, match="net:make does not export to ONNX") as caught:
        export(bundle, tmp_path / "out", root=tmp_path, wish=Wish(), rows=rows)
    assert "--format torch" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", ["a file", "a folder", "another model"])
def test_what_is_there_already_is_left_alone(model, trained, tmp_path, there):
    out = tmp_path / "out"
    if there == "a file":
        out.write_text("mine")
    elif there == "a folder":
        (out / "mine").mkdir(parents=True)
    else:
        shutil.move(native.ready(Path(trained("number").bundle), tmp_path), out)
        shutil.rmtree(tmp_path / "bundle")
    bundle, rows = model()
    with pytest.raises(ConflictError, match="is there already, and is something else"):
        export(bundle, out, root=tmp_path, wish=Wish(), rows=rows)
    assert out.exists()


def test_a_plan_writes_nothing(model, tmp_path):
    bundle, rows = model()
    before = sorted(tmp_path.rglob("*"))
    found = plan(bundle, tmp_path / "out", INT8, rows)
    assert found.verb == "export"
    assert any(STATIC in step for step in found.steps)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_loss_counts_in_the_metrics_better_direction():
    assert loss("roc_auc", 0.9, 0.88) == pytest.approx(0.02)
    assert loss("roc_auc", 0.9, 0.91) < 0
    assert loss("rmse", 200.0, 210.0) == pytest.approx(0.05)
    assert loss("log_loss", 0.5, 0.4) < 0
    assert loss("rmse", 0.0, 0.5) == 0.5
    assert loss("roc_auc", 0.9, float("nan")) == float("inf")


def form(name, lost):
    return Form(name=name, size_mb=1, latency_ms=1, latency_p95_ms=1, batch_latency_ms=1, memory_mb=1, loss=lost)


def test_the_8_bit_form_that_loses_less_is_kept_and_static_when_they_are_equal():
    forms = [form("onnx", 0.0), form(STATIC, 0.0102), form(DYNAMIC, 0.0098)]
    assert best(forms, INT8).name == STATIC
    assert best([*forms[:2], form(DYNAMIC, 0.002)], INT8).name == DYNAMIC
    assert best([*forms[:1], form(DYNAMIC, None)], INT8).name == DYNAMIC
    assert refusal(form(STATIC, 0.01), "roc_auc", 0.01) == ""
    assert refusal(form(STATIC, float("nan")), "roc_auc", 0.01)
    assert refusal(form(DYNAMIC, None), "", 0.01) == ""
