"""What can be examined: our models and stems, a user's, transformers models; and the errors for everything else."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from aasp.encoders import EncoderAdapter, LogMelAdapter, open_adapter
from aasp.encoders.vectors import clip_vectors
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.aape import AaPEConfig

OWN = '''
import torch
from torch import nn
from aasp.stems.contract import Stem
from aasp.stems.conv import ConvConfig, ConvStem

WAVE = 7

class Mean(Stem):
    """Mean of each patch."""
    def __init__(self):
        super().__init__(1, 32, (8, 16))
    def forward(self, mel, valid=None):
        return self.cut(mel).mean((3, 4)).flatten(1, 2)[..., None]

class Short(Mean):
    def forward(self, mel, valid=None):
        return super().forward(mel, valid)[:, 1:]

class Breaks(Mean):
    def forward(self, mel, valid=None):
        return mel @ torch.ones(7)

def conv():
    return ConvStem(8, 64, ConvConfig(patch=(10, 16)))

class Framed(nn.Module):
    sample_rate = 8000
    def __init__(self):
        super().__init__()
        self.conv, self.drop = nn.Conv1d(1, 3, 700, 333), nn.Dropout()
    def forward(self, wave):
        return self.drop(self.conv(wave[:, None]).transpose(1, 2))

class Stated(Framed):
    token_rate = 25.0

class Clip:
    def __call__(self, wave):
        return torch.stack([wave.mean(1), wave.std(1)], 1).numpy()

class Same:
    def __call__(self, wave):
        return wave

class Ten:
    def __call__(self, wave):
        return torch.ones(len(wave), 10, 3)

class NeedsWidth:
    def __init__(self, width, *, depth=2): ...

class Fails:
    def __init__(self):
        raise OSError("weights.bin is gone\\nand more")

class FailsLater:
    def __call__(self, wave):
        raise RuntimeError("expected 44100")

class Four:
    def __call__(self, wave):
        return wave[:, None, None]

class Text:
    def __call__(self, wave):
        return "vectors"

class NotFinite:
    def __call__(self, wave):
        return torch.full((len(wave), 3), float("nan"))

def number():
    return 3

class Both:
    """HEAR's interface, of an object."""
    sample_rate = 16000
    def get_timestamp_embeddings(self, audio, model):
        frames = audio.unfold(1, 400, 800)
        ms = (torch.arange(frames.shape[1]) * 50.0 + 12.5).expand(len(audio), -1)
        return frames, ms
    def get_scene_embeddings(self, audio, model):
        return audio[:, :5]
'''
HEAR = """
import torch
class Model:
    sample_rate = 16000
    scale = 2.0
def load_model(model_file_path=""):
    return Model()
def get_timestamp_embeddings(audio, model):
    frames = model.scale * audio.unfold(1, 400, 800)
    return frames, (torch.arange(frames.shape[1]) * 50.0 + 12.5).expand(len(audio), -1)
def get_scene_embeddings(audio, model):
    return model.scale * audio[:, :5]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with modules of a user's in it."""
    (tmp_path / "own_encoders.py").write_text(OWN)
    (tmp_path / "own_hear.py").write_text(HEAR)
    (tmp_path / "own_broken.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "own_syntax.py").write_text("def (:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield tmp_path
    for module in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[module]


def noise(clips: int, seconds: float, rate: int = 16_000) -> torch.Tensor:
    return 0.1 * torch.randn(clips, round(seconds * rate), generator=torch.Generator().manual_seed(1))


def holds_together(adapter: EncoderAdapter, seconds: float = 2.0) -> None:
    """One vector a token, evenly `token_rate` a second, inside the clip, and no clip depends on another."""
    waves = noise(2, seconds, adapter.rate)
    found = adapter.embed_waveform(waves)
    clips, tokens, _ = found.timestamps.shape
    assert (clips, tokens, len(found.clip)) == (2, len(found.seconds), 2)
    assert found.seconds[0] >= 0 and found.seconds[-1] <= seconds
    torch.testing.assert_close(found.seconds.diff(), torch.full((tokens - 1,), 1 / adapter.token_rate))
    assert abs(tokens - seconds * adapter.token_rate) <= 3
    torch.testing.assert_close(found.timestamps[1:], adapter.embed_waveform(waves[1:]).timestamps, atol=1e-4, rtol=1e-4)


def test_our_models(folder: Path) -> None:
    config = AudioEncoderConfig(LogMelConfig(mels=32), encoder=EncoderConfig(16, 1, 2), stem=AaPEConfig(states=2))
    AudioEncoder(config).save("runs/small/model")
    adapter = open_adapter("runs/small")
    assert isinstance(adapter, LogMelAdapter) and adapter.name == "small" and adapter.token_rate == 6.25
    assert open_adapter("runs/small/model").name == "small"
    holds_together(adapter)


def test_an_untrained_stem_by_its_configuration() -> None:
    adapter, again = open_adapter("stem=aape,phase=even,taps=48"), open_adapter("stem=aape,phase=even,taps=48")
    assert isinstance(adapter, LogMelAdapter) and adapter.stem.config == AaPEConfig(phase="even", taps=48)
    assert all(a.equal(b) for a, b in zip(adapter.stem.parameters(), again.stem.parameters(), strict=True))
    holds_together(adapter)
    conv = open_adapter("stem=conv")
    assert not torch.allclose(
        adapter.embed_waveform(noise(1, 1)).timestamps, conv.embed_waveform(noise(1, 1)).timestamps
    )


def test_a_user_defined_stem(folder: Path) -> None:
    adapter = open_adapter("own_encoders:Mean")
    assert isinstance(adapter, LogMelAdapter) and adapter.frontend.config.mels == 32 and adapter.token_rate == 12.5
    holds_together(adapter)
    mel = torch.randn(1, 24, 32)
    found = adapter.embed_logmel(mel)
    patches = mel.reshape(1, 3, 8, 2, 16).mean((2, 4))
    torch.testing.assert_close(found.timestamps, patches)
    torch.testing.assert_close(found.clip, torch.cat([patches.mean(1), patches.std(1, correction=0)], 1))
    assert open_adapter("own_encoders:conv").token_rate == 10


def test_a_user_defined_encoder(folder: Path) -> None:
    adapter = open_adapter("own_encoders:Framed")
    assert not isinstance(adapter, LogMelAdapter) and adapter.rate == 8000
    assert adapter.token_rate == pytest.approx(8000 / 333, rel=1e-6)
    holds_together(adapter)
    assert open_adapter("own_encoders:Stated").token_rate == 25.0
    # The centre of a vector is the middle of what the convolution sees, here to a rounding of the clip's length.
    found = adapter.embed_waveform(noise(1, 2, 8000))
    assert found.seconds[0] == pytest.approx(350 / 8000, abs=333 / 8000 / 2)
    torch.testing.assert_close(found.clip, found.timestamps.mean(1))


def test_an_encoder_that_gives_one_vector_a_clip(folder: Path) -> None:
    adapter = open_adapter("own_encoders:Clip")
    found = adapter.embed_waveform(noise(3, 2))
    assert adapter.token_rate == 0 and found.clip.shape == (3, 2) and found.timestamps.shape == (3, 1, 2)
    assert found.seconds.tolist() == [1.0]
    for n, seconds in enumerate((1.0, 0.5)):
        soundfile.write(folder / f"{n}.wav", noise(1, seconds)[0].numpy(), 16_000)
    same = open_adapter("own_encoders:Same")
    with pytest.raises(
        AaspError, match=r"1\.wav: its vector has 8,000 numbers, and 16,000 for a clip of another length"
    ):
        clip_vectors(same, [str(folder / f"{n}.wav") for n in range(2)], [])


@pytest.mark.parametrize(("name", "scale"), [("own_hear:load_model", 2.0), ("own_encoders:Both", 1.0)])
def test_the_hear_interface(folder: Path, name: str, scale: float) -> None:
    adapter = open_adapter(name)
    holds_together(adapter)
    assert adapter.token_rate == pytest.approx(20)
    waves = noise(2, 1)
    torch.testing.assert_close(adapter.embed_waveform(waves).clip, scale * waves[:, :5])


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("own_nothing:Mean", "can't import own_nothing: No module named 'own_nothing'; check its name"),
        ("own_encoders.inner:Mean", "can't import own_encoders.inner: .*; check its name"),
        ("own_broken:Mean", "can't import own_broken: .*; it needs nowhere_to_be_found"),
        ("own_syntax:Mean", "can't import own_syntax: SyntaxError"),
        ("own_encoders:Meen", "own_encoders has no Meen; did you mean 'Mean'?"),
        ("own_encoders:WAVE", "7 is not a callable object; name a class or function"),
        ("own_encoders:", "own_encoders has no ; known"),
        ("own_encoders:NeedsWidth", "missing a required argument: 'width'; name a class or function that"),
        ("own_encoders:Fails", "fails with OSError: weights.bin is gone;"),
        ("own_encoders:FailsLater", "fails with RuntimeError: expected 44100"),
        ("own_encoders:number", "makes an int, which can't be called"),
        ("own_encoders:Text", r"returns a str; return \(B, G, D\) or \(B, D\)"),
        ("own_encoders:NotFinite", "not finite"),
        ("own_encoders:Ten", "gives 10 vectors for 1 s and 10 for 4 s"),
        ("own_encoders:Short", r"gives \(2, 7, 1\) for 2 clips of 4 time patches x 2 subbands"),
        ("own_encoders:Breaks", "own_encoders:Breaks: fails with RuntimeError"),
        ("stem=convolution", "'convolution' is not one of conv, lowpass, aape"),
        ("stem=aape,taps", "'taps' has no value"),
        ("stem=aape,tap=48", "unknown field 'tap'; did you mean 'taps'"),
        ("stem=aape,taps=47", "taps 47 must be"),
        ("nothing/here/at/all", "no such directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_examined_is_one_line(folder: Path, name: str, complaint: str) -> None:
    with pytest.raises(AaspError, match=complaint) as error:
        open_adapter(name)
    assert "\n" not in str(error.value)


needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs transformers, in the test extra"
)


def tiny_ast(folder: Path) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ASTModel(ASTConfig(**sizes, max_length=204, num_mel_bins=48)).save_pretrained(folder)
    ASTFeatureExtractor(max_length=204, num_mel_bins=48).save_pretrained(folder)


class Code:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('code was run')",)


def tiny_wav2vec2(folder: Path, kind: str = "Wav2Vec2", **fields: object) -> None:
    import transformers

    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    layers = dict(conv_dim=(8,) * 3, conv_kernel=(10, 8, 8), conv_stride=(5, 8, 8), num_conv_pos_embedding_groups=2)
    config = getattr(transformers, f"{kind}Config")(**sizes, **layers, num_conv_pos_embeddings=8, **fields)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)


@needs_transformers
def test_an_audio_spectrogram_transformer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tiny_ast(tmp_path / "ast")
    adapter = open_adapter(tmp_path / "ast")
    assert (adapter.name, adapter.rate, adapter.token_rate) == ("ast", 16_000, 10.0)
    holds_together(adapter, seconds=1.5)
    waves = noise(2, 1.5)
    found = adapter.embed_waveform(waves)
    assert found.seconds[:2].tolist() == pytest.approx([0.08, 0.18])  # 16 frames, then 10 further
    # Frequency-major tokens: the first time step is every T-th of them, T = (204 - 16) / 10 + 1.
    inputs = adapter.extractor(list(waves.numpy()), sampling_rate=16_000, return_tensors="pt").input_values
    hidden = adapter.model(inputs).last_hidden_state
    torch.testing.assert_close(found.timestamps[:, 0], hidden[:, 2::19].mean(1))
    assert (hidden.shape[1] - 2) % 19 == 0 and found.timestamps.shape[1] == 15
    # Three seconds are longer than its 2.055: two windows of 1.5, side by side.
    long = noise(2, 3)
    found, halves = adapter.embed_waveform(long), [adapter.embed_waveform(half) for half in long.chunk(2, dim=1)]
    torch.testing.assert_close(found.clip, (halves[0].clip + halves[1].clip) / 2)
    torch.testing.assert_close(found.timestamps, torch.cat([half.timestamps for half in halves], 1))
    assert found.seconds[15:17].tolist() == pytest.approx([1.58, 1.68])
    with torch.inference_mode():
        inner = adapter.model(inputs, output_hidden_states=True).hidden_states[1][:, 2:].unflatten(1, (-1, 19)).mean(1)
    wanted = torch.cat([inner[:, :15].mean(1), inner[:, :15].std(1, correction=0)], 1)
    torch.testing.assert_close(adapter.embed_waveform(waves).layers["layer 1"], wanted, rtol=0, atol=1e-5)
    with pytest.raises(AaspError, match=r"ast: takes at least 25 ms, not 24.9375 ms; leave shorter clips out"):
        adapter.embed_waveform(noise(1, 399 / 16_000))
    first, second = adapter.embed_waveform(noise(2, 400 / 16_000)).clip
    assert not torch.equal(first, second)


@needs_transformers
@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
@pytest.mark.parametrize(("norm", "normalised"), [("group", True), ("layer", False)])
def test_an_encoder_behind_strided_convolutions(tmp_path: Path, kind: str, norm: str, normalised: bool) -> None:
    import transformers

    torch.manual_seed(0)
    tiny_wav2vec2(tmp_path / "model", kind, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalised).save_pretrained(tmp_path / "model")
    adapter = open_adapter(tmp_path / "model")
    assert (adapter.rate, adapter.token_rate) == (16_000, 50.0)
    holds_together(adapter)
    # Each clip through the model alone, normalised by hand as its extractor does.
    model = getattr(transformers, f"{kind}Model").from_pretrained(tmp_path / "model").eval()
    waves = noise(3, 0.7)
    for n, wave in enumerate(waves):
        given = (wave - wave.mean()) / torch.sqrt(wave.var(correction=0) + 1e-7) if normalised else wave
        with torch.inference_mode():
            output = model(given[None], output_hidden_states=True)
        torch.testing.assert_close(
            adapter.embed_waveform(waves).timestamps[n], output.last_hidden_state[0], rtol=0, atol=1e-5
        )
        found = adapter.embed_waveform(waves)
        torch.testing.assert_close(found.clip[n], output.last_hidden_state[0].mean(0), rtol=0, atol=1e-5)
        assert list(found.layers) == ["layer 0", "layer 1"]
        wanted = torch.cat([output.hidden_states[0][0].mean(0), output.hidden_states[0][0].std(0, correction=0)])
        torch.testing.assert_close(found.layers["layer 0"][n], wanted, rtol=0, atol=1e-5)
    model.half().save_pretrained(tmp_path / "model")  # transformers would load it in half precision
    torch.testing.assert_close(
        open_adapter(tmp_path / "model").embed_waveform(waves).clip, found.clip, atol=1e-2, rtol=0
    )
    with pytest.raises(AaspError, match=r": takes at least 20.3125 ms, not 20.25 ms; leave shorter clips out"):
        adapter.embed_waveform(noise(1, 324 / 16_000))
    assert adapter.embed_waveform(noise(1, 325 / 16_000)).timestamps.shape == (1, 1, 16)


@needs_transformers
def test_other_sounds_in_a_batch_change_no_vector(tmp_path: Path) -> None:
    """Sounds of several lengths in one call: none is padded, since group norms would see the padding."""
    tiny_wav2vec2(tmp_path / "model")
    adapter = open_adapter(tmp_path / "model")
    waves = [noise(1, seconds)[0].numpy() for seconds in (0.5, 0.9, 0.5, 0.7)]
    for n, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{n}.wav", wave, 16_000, subtype="FLOAT")
    found = clip_vectors(adapter, [str(tmp_path / f"{n}.wav") for n in range(4)], [])
    for n, wave in enumerate(waves):
        alone = adapter.embed_waveform(torch.from_numpy(wave)[None]).clip[0].numpy()
        np.testing.assert_allclose(found["own"][n], alone, rtol=0, atol=1e-6)


@needs_transformers
@pytest.mark.parametrize("fused", [False, True])
def test_clap_reads_ten_seconds_at_48_khz(tmp_path: Path, fused: bool) -> None:
    import transformers

    torch.manual_seed(0)
    sizes = dict(patch_embeds_hidden_size=8, depths=[1, 1], num_attention_heads=[2, 2], hidden_size=16)
    audio = dict(sizes, spec_size=64, num_mel_bins=16, patch_size=4, patch_stride=[4, 4], enable_fusion=fused)
    text = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=12, hidden_size=8)
    transformers.ClapModel(config).save_pretrained(tmp_path / "clap")
    truncation = "fusion" if fused else "rand_trunc"
    extractor = transformers.ClapFeatureExtractor(feature_size=16, max_length_s=1, truncation=truncation)
    extractor.save_pretrained(tmp_path / "clap")
    adapter = open_adapter(tmp_path / "clap")
    # 101 frames stretched over 256 columns, of which each step has 8: 32 steps of 1.01 s.
    assert adapter.rate == 48_000 and adapter.token_rate == pytest.approx(32 / 1.01)
    waves = torch.cat([noise(1, 0.6, 48_000), 0.1 * noise(1, 0.6, 48_000).flip(1)])
    found = adapter.embed_waveform(waves)
    assert found.clip.shape == (2, 12) and found.timestamps.shape == (2, 19, 16)
    model = transformers.ClapModel.from_pretrained(tmp_path / "clap").eval()
    for n, wave in enumerate(waves):  # alone, and as transformers does it, but with no random "longer" for fused models
        inputs = extractor(wave.numpy(), sampling_rate=48_000, return_tensors="pt")
        with torch.inference_mode():
            output = model.get_audio_features(inputs.input_features, is_longer=torch.zeros(1, 1, dtype=torch.bool))
        torch.testing.assert_close(found.clip[n], output.pooler_output[0], rtol=0, atol=1e-5)
        wanted = output.last_hidden_state[0].mean(1).T[:19]
        torch.testing.assert_close(found.timestamps[n], wanted, rtol=0, atol=1e-5)
    transformers.ClapFeatureExtractor(feature_size=16).save_pretrained(tmp_path / "clap")  # of ten seconds
    with pytest.raises(AaspError, match="its feature extractor makes 1001 frames, and its encoder takes 256; copy"):
        open_adapter(tmp_path / "clap")
    long = noise(1, 1.5, 48_000)
    halves = [adapter.embed_waveform(half).clip for half in long.chunk(2, dim=1)]
    torch.testing.assert_close(adapter.embed_waveform(long).clip, (halves[0] + halves[1]) / 2)


@needs_transformers
def test_weights_of_pytorch_are_read_where_they_hold_no_code(tmp_path: Path) -> None:
    tiny_wav2vec2(tmp_path / "model")
    wave, adapter = noise(1, 0.5), open_adapter(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    torch.save(load_file(weights), tmp_path / "model" / "pytorch_model.bin")
    weights.unlink()
    torch.testing.assert_close(
        open_adapter(tmp_path / "model").embed_waveform(wave).clip, adapter.embed_waveform(wave).clip
    )
    torch.save({"masked_spec_embed": Code()}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(AaspError, match="a file of weights holds code, which is never run; give a model with") as error:
        open_adapter(tmp_path / "model")
    assert "\n" not in str(error.value) and not (tmp_path / "ran").exists()
    tensors = {name: tensor for name, tensor in adapter.model.state_dict().items() if "attention.k_proj" not in name}
    torch.save(tensors, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(AaspError, match=r"2 weights are missing, the first encoder.*k_proj.bias; copy"):
        open_adapter(tmp_path / "model")


def change(**fields: object) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return rewrite


@needs_transformers
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (change(model_type="bert"), "is a bert model; AST, CLAP and encoders of waveforms"),
        (change(model_type="no_such"), "not to be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "not to be loaded"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "not to be loaded"),
    ],
)
def test_a_transformers_model_that_can_not_be_read(tmp_path: Path, spoil: Callable, complaint: str) -> None:
    tiny_ast(tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(AaspError, match=complaint) as error:
        open_adapter(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_without_transformers_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AaspError, match="pip install transformers"):
        open_adapter(tmp_path)


@pytest.mark.parametrize("name", ["own_lazy:make", "own_lazy.py:make"])
def test_an_encoder_finds_the_modules_beside_it_when_it_is_called(folder: Path, name: str) -> None:
    (folder / "own_net.py").write_text("def encode(waves):\n    return waves[:, :5]\n")
    (folder / "own_lazy.py").write_text(
        "import own_net\n\n\ndef make():\n    def encode(waves):\n        from own_net import encode\n\n"
        "        return encode(waves)\n\n    return encode\n"
    )
    assert open_adapter(name).embed_waveform(noise(2, 0.5)).clip.shape == (2, 5)
