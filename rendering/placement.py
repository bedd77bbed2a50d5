"""Where a pipeline computes and in which precision: resolved once, with the reason in words."""

from dataclasses import dataclass

import torch

from core.errors import BadInput
from rendering.settings import RenderSettings


@dataclass(frozen=True)
class Machine:
    """The devices that torch can use here.

    Attributes:
        cuda: names of the CUDA devices, in order.
        bfloat16: whether the first of them computes in bfloat16.
        mps: whether there is Apple's GPU.
    """

    cuda: tuple[str, ...] = ()
    bfloat16: bool = False
    mps: bool = False

    @classmethod
    def here(cls) -> "Machine":
        """Look at this machine."""
        mps = torch.backends.mps.is_available()
        if not torch.cuda.is_available():
            return cls(mps=mps)
        names = tuple(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        return cls(names, torch.cuda.is_bf16_supported(including_emulation=False), mps)


@dataclass(frozen=True)
class Placement:
    """A device, a precision, and why."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    def __str__(self) -> str:
        return f"{self.device}, {dtype_name(self.dtype)}: {self.reason}"


def dtype_name(dtype: torch.dtype) -> str:
    """Return `float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def place(settings: RenderSettings, machine: Machine, *, transformer: bool) -> Placement:
    """Resolve `device` and `dtype`.

    Args:
        settings: what the user chose.
        machine: what there is.
        transformer: the denoiser is a transformer (SD3, FLUX), whose activations outgrow float16.

    Raises:
        BadInput: no such device here, or offload without a CUDA device.
    """
    device, why = _device(settings.device, machine)
    if settings.offload != "none" and device.type != "cuda":
        raise BadInput(
            f"render.offload: got {settings.offload!r} on {device}, expected a CUDA device to offload from; "
            "use offload none"
        )
    if settings.dtype == "float64" and device.type == "mps":
        raise BadInput("render.dtype: got float64 on mps, which has none; use float32")
    if settings.dtype != "auto":
        return Placement(device, getattr(torch, settings.dtype), f"{why}; dtype as set")
    if device.type != "cuda":
        return Placement(device, torch.float32, why)
    if transformer and machine.bfloat16:
        return Placement(device, torch.bfloat16, f"{why}; a transformer's values outgrow float16")
    return Placement(device, torch.float16, f"{why}; half precision is the default there")


def _device(name: str, machine: Machine) -> tuple[torch.device, str]:
    if name == "auto":
        if machine.cuda:
            return torch.device("cuda", 0), f"the first CUDA device ({machine.cuda[0]})"
        return torch.device("cpu"), "no CUDA device" + (", and mps only on request" if machine.mps else "")
    device = torch.device(name)
    number = device.index or 0
    there = {"cuda": number < len(machine.cuda), "mps": machine.mps}
    if not there.get(device.type, True):
        raise BadInput(f"render device: got {name!r}, expected a device of this machine; use device auto or cpu")
    return device, f"device as set ({machine.cuda[number]})" if device.type == "cuda" else "device as set"
