"""Stand-ins for `hpsv2`, `hpsv3` and their torch, written to a folder that goes on a child's PYTHONPATH.

The values are made from the picture's mean and the prompt's letters; a prompt that says "fail" raises, "die" ends the
process, "nan" gives NaN.
"""

import textwrap
from pathlib import Path

TORCH = """
    import contextlib, types
    __version__ = "0+fake"
    _threads = 7
    def set_num_threads(n):
        global _threads
        _threads = n
    def get_num_threads():
        return _threads
    def load(path, map_location, weights_only):
        assert weights_only and map_location == "cpu"
        return {"state_dict": open(path, "rb").read()}
    cuda = types.SimpleNamespace(is_available=lambda: False)
    inference_mode = contextlib.nullcontext
    @contextlib.contextmanager
    def autocast(kind, enabled):
        assert kind == "cuda" and not enabled
        yield
"""
VALUE = """
    import math, os
    import numpy as np
    def value(picture, prompt):
        if "fail" in prompt:
            raise RuntimeError("shape\\nmismatch")
        if "die" in prompt:
            print("killed by the memory guard", flush=True)
            os._exit(9)
        if "nan" in prompt:
            return math.nan
        pixels = np.asarray(picture, dtype=float)
        assert pixels.ndim == 3 and pixels.shape[2] == 3
        return pixels.mean() / 1000 + sum(map(ord, prompt)) % 997 / 10000
"""
OPEN_CLIP = """
    import numpy as np
    from fake_value import value
    from . import factory
    class Tensor:
        def __init__(self, content):
            self.content = content
        def __getitem__(self, key):
            assert key is None
            return self
        def to(self, device):
            assert device == "cpu"
            return self
    class Model:
        def __init__(self, name):
            self.name = name
        def load_state_dict(self, state):
            assert state
        def eval(self):
            return self
        def __call__(self, pixels, tokens):
            found = value(pixels.content, tokens.content)
            return {"image_features": np.array([[found]]), "text_features": np.array([[1.0]])}
    def create_model_and_transforms(name, pretrained, precision, device, light_augmentation, output_dict):
        assert pretrained is None and precision == "amp" and light_augmentation and output_dict
        assert name == "ViT-H-14" or name in factory.added
        print("a package that talks on stdout")
        return Model(name), None, Tensor
    def get_tokenizer(name):
        return lambda texts: Tensor(texts[0])
"""
FACTORY = """
    import os
    added = set()
    def add_model_config(path):
        added.add(os.path.splitext(os.path.basename(path))[0])
"""
HPSV3 = """
    from fake_value import value
    class HPSv3RewardInferencer:
        def __init__(self, config_path=None, checkpoint_path=None, device="cuda", differentiable=False):
            assert open(checkpoint_path, "rb").read() and device == "cpu"
        def reward(self, {signature}):
            assert len(prompts) == len(image_paths) == 1
            return [[8 + value(image, prompt), 0.5] for image, prompt in zip(image_paths, prompts)]
"""
SIGNATURES = ("image_paths, prompts", "prompts, image_paths")
"""Of `reward`: in hpsv3 1.0.0, and in its repository since."""


def write(folder: Path, signature: str = SIGNATURES[0]) -> Path:
    """Write all of them and return the folder."""
    files = {
        "torch.py": TORCH,
        "torchvision.py": "",
        "fake_value.py": VALUE,
        "hpsv2/__init__.py": "",
        "hpsv2/src/__init__.py": "",
        "hpsv2/src/open_clip/__init__.py": OPEN_CLIP,
        "hpsv2/src/open_clip/factory.py": FACTORY,
        "hpsv3.py": HPSV3.replace("{signature}", signature),
        "hpsv2-1.2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: hpsv2\nVersion: 1.2.0\n",
        "hpsv3-1.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: hpsv3\nVersion: 1.0.0\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder
