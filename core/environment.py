"""Switches that must be set before torch, diffusers, langgraph or litellm are imported."""

import os

_SWITCHES = {
    "LANGGRAPH_STRICT_MSGPACK": "true",  # a checkpoint is data: it may not name a callable
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",  # nor may a model folder bring code
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download at import
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "OPENBLAS_NUM_THREADS": "1",  # small matrices; and the last bits of a sum depend on the number of threads
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads of two processes on the same cores stall each other
}


def set_switches() -> None:
    """Set the switches that the user has not set."""
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
