"""Networks that are code, and factories: imported where they are trusted, as graphs that score alike."""

import hashlib
from pathlib import Path

import pytest
import safetensors.torch
import torch

from budgetc.compiler.training import save_bundle
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.errors import InputRejected, UsageError
from budgetc.load.importing import Imported, import_factory, import_network, import_weights
from budgetc.load.model import load_model
from budgetc.load.onnx_graph import OnnxOptions
from tests.load.outside import foreign

HERE = "tests.load.outside.foreign"


def trusted(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def check_scores(found: Imported, module: foreign.Scores) -> None:
    """Two pictures at once score as the module scores them."""
    pictures = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(found.detector.deployed()(pictures), module.eval()(pictures), rtol=1e-4, atol=1e-5)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A pickled module."""
    torch.save(foreign.Scores().eval(), tmp_path / "whole.pt")
    return tmp_path / "whole.pt"


def test_a_trusted_file(whole: Path, tmp_path: Path) -> None:
    """Its digest goes into the bundle, for the report."""
    found = import_network(whole, OnnxOptions((24, 32)), trust=trusted(whole))
    check_scores(found, foreign.Scores())
    save_bundle(found.detector, tmp_path / "model.pt", found.source)
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.source is not None
    assert (loaded.source.how, loaded.source.sha256) == ("trusted code", trusted(whole).removeprefix("sha256:"))


def test_a_file_that_is_not_trusted(whole: Path) -> None:
    """The refusal holds the line that trusts it; another digest is another file; other words are no digest."""
    with pytest.raises(InputRejected, match=f"budgetc import .*whole.pt --trust-model {trusted(whole)}"):
        import_network(whole, OnnxOptions())
    with pytest.raises(InputRejected, match="another file than the one that was trusted"):
        import_network(whole, OnnxOptions(), trust="sha256:" + "0" * 64)
    with pytest.raises(UsageError, match="expected sha256: and 64"):
        import_network(whole, OnnxOptions(), trust="yes")


def test_a_checkpoint_that_needs_unpickling(tmp_path: Path) -> None:
    """Its tensors go the way of any weights."""
    config = VaeConfig(input_size=(32, 32), widths=(4, 4), hidden=(8,), latents=3, decoder=False)
    weights = {f"encoder.{name}": value for name, value in Vae(config).encoder.state_dict().items()}
    torch.save({"state_dict": weights, "callback": foreign.Scores()}, tmp_path / "v.ckpt")
    with pytest.raises(InputRejected, match="--trust-model"):
        import_weights(tmp_path / "v.ckpt", detector="vae")
    with pytest.raises(UsageError, match="holds weights, not a whole network"):
        import_network(tmp_path / "v.ckpt", OnnxOptions(), trust=trusted(tmp_path / "v.ckpt"))


def test_trust_that_nothing_needs(tmp_path: Path) -> None:
    """What holds no code is told apart, not read as if the option meant something."""
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="holds weights"):
        import_network(tmp_path / "w.safetensors", OnnxOptions(), trust=trusted(tmp_path / "w.safetensors"))
    with pytest.raises(UsageError, match="weights alone, which holds no code; leave the option out"):
        import_weights(tmp_path / "w.safetensors", detector="vae", trust="sha256:" + "0" * 64)
    with pytest.raises(UsageError, match="is for a FILE with weights"):
        import_factory(f"{HERE}:Scores", None, OnnxOptions(), trust="sha256:" + "0" * 64)


def test_a_bundle_is_not_imported_again(tmp_path: Path) -> None:
    """It is said what to do with it instead."""
    found = import_factory(f"{HERE}:Scores", None, OnnxOptions())
    save_bundle(found.detector, tmp_path / "model.pt")
    with pytest.raises(InputRejected, match="is a budgetc bundle already; compile takes it"):
        import_network(tmp_path / "model.pt", OnnxOptions())


def test_a_factory_that_answers_with_weights() -> None:
    """Whatever is written in the name of the child, this process expects a network."""
    with pytest.raises(InputRejected, match="gave weights, expected a network"):
        import_factory(f"{HERE}:forged_weights", None, OnnxOptions())


def test_a_transformer() -> None:
    """torch's own encoder layers are exported without their fused form."""
    check_scores(import_factory(f"{HERE}:Attentive", None, OnnxOptions()), foreign.Attentive())


def test_a_module_that_reads_channels_last() -> None:
    """It is tried with both orders of sides; the detector moves the channels."""
    check_scores(import_factory(f"{HERE}:ChannelsLast", None, OnnxOptions()), foreign.Scores())


def test_a_factory_is_named_as_one_in_what_to_do() -> None:
    """The command of a refusal can be repeated as it stands."""
    with pytest.raises(InputRejected, match=rf"import --detector {HERE}:Classes --score 'output_0\[1\]' -o"):
        import_factory(f"{HERE}:Classes", None, OnnxOptions())


def test_a_factory_with_weights(tmp_path: Path) -> None:
    """The module of the user's package, with weights from a file, scores as it did there."""
    module = foreign.Scores()
    with torch.no_grad():
        module.head.weight.mul_(3)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    found = import_factory(f"{HERE}:Scores", tmp_path / "w.pt", OnnxOptions())
    check_scores(found, module)
    assert found.source.title == f"model source ({HERE}:Scores)"


def test_a_factory_of_two_scores(tmp_path: Path) -> None:
    """The line that chooses one names the factory, and the weights where there are some."""
    factory = "tests.load.outside.foreign:TwoScores"
    with pytest.raises(InputRejected, match=f"budgetc import --detector {factory} --score output_0 -o model.pt"):
        import_factory(factory, None, OnnxOptions())
    torch.save(foreign.Scores().state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputRejected, match=f"budgetc import {tmp_path}/w.pt --detector {factory} --score"):
        import_factory(factory, tmp_path / "w.pt", OnnxOptions())


def test_a_factory_whose_outputs_have_names() -> None:
    """Which is the score is said by name; what is left is named in a note."""
    found = import_factory(f"{HERE}:Named", None, OnnxOptions(score="anomaly", map="heat"))
    check_scores(found, foreign.Scores())
    assert any("label" in note for note in found.notes)
