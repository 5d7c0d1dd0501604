"""Public weights, at random and small: their shapes, their files, and that nothing is unpickled."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from bestpapers.feedback import model, public  # noqa: E402, after what may be absent
from bestpapers.lab.files import FormatError  # noqa: E402

IMAGE = dict(model_name="vit_tiny_patch16_224", patch_size=8, embed_dim=16, depth=1, num_heads=2)
TEXT = dict(vocab_size=12, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
CONFIG = model.Config(
    size=32, patch=8, width=16, heads=2, decoder_layers=1, longest=4, maps=(8, 8, 8), scores=(8,),
    vocabulary=("a", "red", "cat"),
)  # fmt: skip
PIECES = [[3], [4, 5], [6]]
PROMPTS = ["a red cat", "cat"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def pictures(size=32):
    return np.random.default_rng(0).integers(0, 255, (2, size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize("variant", model.VARIANTS)
def test_a_model_on_it_gives_all_outputs_and_all_of_it_learns(variant):
    config = replace(CONFIG, variant=variant)
    rahf = model.RAHF(config, public.PublicTrunk(config, IMAGE, TEXT, PIECES))
    tokens = rahf.vocabulary(PROMPTS)
    target = rahf.vocabulary.target(tokens, torch.zeros(tokens.shape, dtype=torch.bool))
    out = rahf(model.as_batch(pictures()), tokens, target)
    assert {name: tuple(x.shape) for name, x in out.maps.items()} == dict.fromkeys(model.MAPS, (2, 32, 32))
    assert out.written.shape == (2, 5, 2 * rahf.vocabulary.size)
    (sum(x.sum() for x in out.scores.values()) + out.misaligned.sum()).backward()
    for part in (rahf.trunk.image.patch_embed.proj, rahf.trunk.text.get_input_embeddings(), rahf.trunk.join):
        assert part.weight.grad.abs().sum() > 0


def test_a_word_is_the_mean_of_its_pieces_and_padding_is_not_seen():
    trunk = public.PublicTrunk(CONFIG, IMAGE, TEXT, PIECES).eval()
    other = public.PublicTrunk(CONFIG, IMAGE, TEXT, [[3], [7], [6]]).eval()
    other.load_state_dict(trunk.state_dict())
    tokens = model.Vocabulary(CONFIG.vocabulary, 4)(PROMPTS)
    with torch.no_grad():
        table = other.text.get_input_embeddings().weight
        table[7] = table[4:6].mean(0)
        seen = trunk.see(model.as_batch(pictures()))
        found, there = trunk.fuse(seen, tokens, "words")
        same, _ = other.fuse(seen, tokens, "words")
        short, _ = trunk.fuse(seen[1:], tokens[1:, :1], "words")
    assert seen.shape == (2, 16, 16)
    assert there.sum(1).tolist() == [16 + 3, 16 + 1]
    torch.testing.assert_close(found, same)
    torch.testing.assert_close(found[1:, :17], short, atol=1e-5, rtol=1e-4)


def test_what_does_not_fit_is_refused():
    for wrong in (replace(CONFIG, width=32), replace(CONFIG, size=64, patch=16, maps=(8,) * 4)):
        with pytest.raises(ValueError, match="config wants"):
            public.PublicTrunk(wrong, IMAGE, TEXT, PIECES)
    for pieces in (PIECES[:2], [[3], [], [6]], [[3], [4], [12]]):
        with pytest.raises(ValueError, match="pieces"):
            public.PublicTrunk(CONFIG, IMAGE, TEXT, pieces)


def test_a_saved_model_is_the_same_model(tmp_path):
    rahf = model.RAHF(CONFIG, public.PublicTrunk(CONFIG, IMAGE, TEXT, PIECES)).eval()
    public.save(rahf, tmp_path / "model.safetensors")
    again = public.load(tmp_path / "model.safetensors")
    for a, b in zip(rahf.predict(pictures(), PROMPTS), again.predict(pictures(), PROMPTS), strict=True):
        assert a.scores == pytest.approx(b.scores, abs=0.01)
        np.testing.assert_allclose(a.misaligned, b.misaligned, atol=0.01)
    model.RAHF(replace(CONFIG, size=32, patch=8)).save(tmp_path / "plain.safetensors")
    with pytest.raises(FormatError, match="weights of this kind"):
        public.load(tmp_path / "plain.safetensors")


NAME = "test_vit"  # of timm's own tests
READ = replace(CONFIG, size=32, patch=16, maps=(8,) * 4)


@pytest.fixture
def published(tmp_path):
    """A ViT of another size with its classifier, and a whole T5, as their authors lay them out."""
    vit = timm.create_model(NAME, img_size=64, num_classes=10)
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    folder = tmp_path / "t5"
    folder.mkdir()
    t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**TEXT, decoder_start_token_id=0))
    state = {name: x.clone() for name, x in t5.state_dict().items() if "embed_tokens" not in name}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(t5.config.to_json_string())
    words = tokenizers.models.WordLevel({"a": 3, "red": 4, "[UNK]": 2}, unk_token="[UNK]")
    tokenizers.Tokenizer(words).save(str(folder / "tokenizer.json"))
    return tmp_path / "vit.safetensors", folder, vit, state


def test_weights_of_others_are_read(published):
    image, folder, vit, state = published
    trunk = public.PublicTrunk.read(READ, NAME, image, folder)
    torch.testing.assert_close(trunk.image.patch_embed.proj.weight, vit.patch_embed.proj.weight)
    assert trunk.image.pos_embed.shape[1] < vit.pos_embed.shape[1]  # resampled
    torch.testing.assert_close(trunk.text.get_input_embeddings().weight, state["shared.weight"])
    last = "encoder.block.1.layer.1.DenseReluDense.wo.weight"
    torch.testing.assert_close(trunk.text.state_dict()[last], state[last])
    assert trunk.about["pieces"] == [[3], [4], [2]]
    assert trunk.see(model.as_batch(pictures())).shape == (2, 4, 16)


def test_files_that_are_none_are_refused_and_no_pickle_is_opened(published):
    image, folder, _, state = published

    def refused(what):
        with pytest.raises(FormatError, match=what):
            public.PublicTrunk.read(READ, NAME, image, folder)

    save_file({name: x for name, x in state.items() if "block.1" not in name}, folder / "model.safetensors")
    refused(r"model.safetensors: tensors: .* found no encoder.block.1")
    save_file(state | {"shared.weight": torch.zeros(12, 8)}, folder / "model.safetensors")
    refused("model.safetensors: tensors: .*shared.weight")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    refused("model.safetensors: file")
    (folder / "tokenizer.json").write_text("{}")
    refused("tokenizer.json: file: expected a tokenizer")
    given = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in given.items() if k != "d_model"}))
    refused("config.json: d_model")
