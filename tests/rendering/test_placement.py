"""Device and precision: every machine that a user may have, without having it."""

import pytest
import torch

from core.errors import BadInput
from rendering.memory import is_out_of_memory, put
from rendering.placement import Machine, Placement, place
from rendering.settings import RenderSettings

CPU, MAC = Machine(), Machine(mps=True)
NEW, OLD = Machine(("H100", "A10"), bfloat16=True), Machine(("T4",))


def placed(machine, *, transformer=False, **settings):
    return str(place(RenderSettings(**settings), machine, transformer=transformer))


@pytest.mark.parametrize(
    ("machine", "settings", "line"),
    [
        (CPU, {}, "cpu, float32: no CUDA device"),
        (MAC, {}, "cpu, float32: no CUDA device, and mps only on request"),
        (MAC, {"device": "mps"}, "mps, float32: device as set"),
        (CPU, {"dtype": "float64"}, "cpu, float64: no CUDA device; dtype as set"),
        (OLD, {}, "cuda:0, float16: the first CUDA device (T4); half precision is the default there"),
        (NEW, {"device": "cuda:1", "dtype": "float32"}, "cuda:1, float32: device as set (A10); dtype as set"),
        (NEW, {"device": "cpu"}, "cpu, float32: device as set"),
    ],
)
def test_device_and_dtype_are_resolved_with_the_reason(machine, settings, line):
    assert placed(machine, **settings) == line


def test_transformers_are_drawn_in_bfloat16_where_there_is_any():
    assert placed(NEW, transformer=True).startswith("cuda:0, bfloat16: ")
    assert placed(NEW).startswith("cuda:0, float16: ")
    assert placed(OLD, transformer=True).startswith("cuda:0, float16: ")
    assert placed(NEW, transformer=True, offload="model").startswith("cuda:0, bfloat16: ")


@pytest.mark.parametrize(
    ("machine", "settings", "message"),
    [
        (CPU, {"device": "cuda"}, "expected a device of this machine"),
        (NEW, {"device": "cuda:2"}, "expected a device of this machine"),
        (NEW, {"device": "mps"}, "expected a device of this machine"),
        (MAC, {"device": "mps", "dtype": "float64"}, "use float32"),
        (CPU, {"offload": "model"}, "got 'model' on cpu, expected a CUDA device"),
        (MAC, {"device": "mps", "offload": "sequential"}, "got 'sequential' on mps"),
        (NEW, {"device": "cpu", "offload": "model"}, "got 'model' on cpu"),
    ],
)
def test_what_this_machine_cannot_do_is_one_line(machine, settings, message):
    with pytest.raises(BadInput, match=message):
        placed(machine, **settings)


class FakePipeline:
    """Records what is done to it."""

    def __init__(self, error=None):
        self.components = {"unet": object()}
        self.done, self.error = [], error

    def _do(self, what, device):
        if self.error:
            raise self.error
        self.done.append((what, str(device)))

    def to(self, device):
        self._do("to", device)

    def enable_model_cpu_offload(self, device):
        self._do("model", device)

    def enable_sequential_cpu_offload(self, device):
        self._do("sequential", device)


@pytest.mark.parametrize(("offload", "done"), [("none", "to"), ("model", "model"), ("sequential", "sequential")])
def test_a_pipeline_is_put_whole_or_in_parts(offload, done):
    pipeline, settings = FakePipeline(), RenderSettings(offload=offload)
    put(pipeline, place(settings, NEW, transformer=False), settings)
    assert pipeline.done == [(done, "cuda:0")]


def test_what_does_not_fit_or_cannot_be_offloaded_is_one_line():
    where = Placement(torch.device("cuda", 0), torch.float16, "")
    with pytest.raises(BadInput, match=r"does not fit on cuda:0 \(CUDA out of memory\); use render.offload"):
        put(FakePipeline(torch.OutOfMemoryError("CUDA out of memory")), where, RenderSettings())
    with pytest.raises(BadInput, match=r"render.offload: no sequence"):
        put(FakePipeline(ValueError("no sequence")), where, RenderSettings(offload="model"))
    with pytest.raises(BadInput, match=r"render.attention_slicing: FakePipeline has none"):
        put(FakePipeline(), where, RenderSettings(attention_slicing=True))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("anything"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_recognised(error, expected):
    assert is_out_of_memory(error) is expected
