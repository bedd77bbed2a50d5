"""The offline Gradient Calculator: weighs the results of the message and puts the weights into words."""

from collections.abc import Mapping

from agents.contrasts import read_results
from agents.offline.evidence import weigh
from agents.offline.wording import write_evidence


def critique(parts: Mapping[str, str]) -> str:
    """Return the textual gradient for a Gradient Calculator message."""
    evidence = weigh(read_results(parts["results"]))
    if evidence is None:
        return "No result added any phrase to the user's prompt, so nothing is known about phrases yet: add some."
    return write_evidence(evidence)
