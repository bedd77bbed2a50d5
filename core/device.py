"""Where models compute unless they are told otherwise. torch is imported when that is asked, not before."""


def default_device() -> str:
    """Return `cuda` if this machine has it, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
