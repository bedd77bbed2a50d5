"""The NeuroLogic search for one prompt: what is considered, what follows, what ends. Heavy: imports torch."""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from refiner.beam import Node, Path
from refiner.clauses import Clause, Judge, plain_term
from refiner.neurologic_config import NeuroLogic
from refiner.steering import Guide, Vocabulary


@dataclass(frozen=True)
class Wanted:
    """What is asked of one prompt's continuation.

    Attributes:
        prefix: the text that the result begins with: the end of the model's input, or "" after a template.
        clauses: judged on prefix + continuation.
        allows: whether a continuation that has ended may be a result; None = any may.
    """

    prefix: str = ""
    clauses: tuple[Clause, ...] = ()
    allows: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Hypothesis:
    """A continuation.

    Attributes:
        text: what follows the prefix.
        tokens: its tokens, without the end token.
        logprob: natural logarithm of its probability under the model, the end token included.
        score: logprob, normalised by length.
        met: for each clause, whether prefix and text meet it.
        ended: by the end token or at `max_tokens`; False if time ran out. Such a text is cut back to its last whole
            phrase unless that loses a clause.
    """

    text: str
    tokens: tuple[int, ...]
    logprob: float
    score: float
    met: tuple[bool, ...]
    ended: bool = True

    @property
    def rank(self) -> tuple[int, float]:
        """Clauses met, then normalised log-probability; the greater the better."""
        return sum(self.met), self.score


class Search:
    """The search for one prompt.

    Attributes:
        live: the beam.
        barred: see `Vocabulary`.
    """

    def __init__(self, wanted: Wanted, vocabulary: Vocabulary, settings: NeuroLogic, n: int) -> None:
        self.barred = vocabulary.barred
        self.live: list[Node] = []
        self._vocabulary, self._settings, self._n = vocabulary, settings, n
        self._prefix, self._allows = wanted.prefix, wanted.allows
        self._prefix_ids = vocabulary.ids(wanted.prefix)
        self._skip = len(vocabulary.texts([self._prefix_ids])[0])
        self._judge = Judge(wanted.clauses, wanted.prefix)
        self._guide: Guide = vocabulary.wanted(wanted.clauses)
        self._forbidden: Guide = vocabulary.forbidden(wanted.clauses)
        self._steering = torch.tensor(self._guide.tokens, dtype=torch.long, device=self.barred.device)
        self._ended: dict[str, Hypothesis] = {}

    def begin(self, row: int) -> None:
        """Start from the empty continuation, in this row."""
        verdict = self._judge.verdict(self._prefix)
        self.live = [Node(row, (), 0.0, "", verdict, tuple(self._judge.wanted(verdict.met)))]

    def children(self, logprobs: torch.Tensor) -> list[Node]:
        """End what may end here and return what may follow; nothing once no better result can come.

        Considered are the 2 x beam likeliest tokens over all live nodes, the beam likeliest of each, and those that
        lead towards a wanted term.
        """
        parents, self.live = self.live, []
        end, beam = self._vocabulary.end, self._settings.beam
        ends: dict[int, float] = {}
        likely: dict[tuple[int, int], float] = {}
        kept: dict[tuple[int, int], float] = {}
        for place, node in enumerate(parents):
            row = logprobs[node.row].clone()
            if end is not None and len(node.tokens) >= self._settings.min_tokens:
                ends[place] = node.logprob + row[end].item()
            repeats = self._repeats(node)
            steered = self._steered(row, node, node.path, repeats=repeats)
            kept |= {(place, token): node.logprob + logprob for token, logprob in steered.items()}
            row[repeats] = -math.inf
            if (closing := self._closing(node)) is not None:
                row = torch.full_like(row, -math.inf).index_copy_(0, closing, row[closing])
            values, tokens = (row + self.barred).topk(min(2 * beam, len(row)))
            found = [(t, value) for t, value in zip(tokens.tolist(), values.tolist(), strict=True) if value > -math.inf]
            kept |= {(place, token): node.logprob + value for token, value in found[:beam]}
            likely |= {(place, token): node.logprob + value for token, value in found}
        kept |= dict(heapq.nlargest(2 * beam, likely.items(), key=lambda item: (item[1], item[0])))
        self._end_where_likely(parents, ends, likely)
        return [] if self._over(parents) else self._grow(parents, kept)

    def promise(self, row: torch.Tensor, node: Node, path: Path) -> float:
        """Return the best log-probability in a row of a token towards what a node wants; 0 if it wants nothing."""
        if not node.wanted:
            return 0.0
        return max(self._steered(row, node, path, anywhere=True).values(), default=-math.inf)

    def results(self) -> list[Hypothesis]:
        """Return the best hypotheses, what is still live included, or the empty continuation."""
        for node in self.live:
            self._end(node, max(1, len(node.tokens)), node.logprob, ended=False)
        empty = Hypothesis("", (), 0.0, 0.0, self._judge.verdict(self._prefix).met, ended=False)
        return self._best() or [empty]

    def _steered(
        self, row: torch.Tensor, node: Node, path: Path, *, repeats: Sequence[int] = (), anywhere: bool = False
    ) -> dict[int, float]:
        """Return the log-probabilities of the tokens that lead towards a wanted term.

        Those that continue one, even if they repeat an n-gram: a term must be spelled as it is. Those that begin one
        or, where none may begin, a comma; it also keeps the end of a term from growing into another word.
        """
        if not self._guide.surfaces:
            return {}
        known = dict(zip(self._guide.tokens, row[self._steering].tolist(), strict=True))
        fresh = {token: value for token, value in known.items() if token not in repeats}
        said = self._prefix + node.text
        if anywhere or not self._settings.phrase_starts or not said.strip() or said.rstrip().endswith(","):
            starts = self._guide.beginning(node.wanted, said, fresh)
        else:
            starts = [token for token in self._guide.commas if token in fresh]
        return {token: known[token] for token in (*self._guide.continuing(path, node.wanted), *starts)}

    def _closing(self, node: Node) -> torch.Tensor | None:
        """Return the only tokens that may follow where a phrase is the term that meets a wish; None = any may.

        A comma ends the phrase, or a longer term goes on. Any other word would say what nobody wished for: a "gold
        tree" for "gold".
        """
        if not (self._settings.whole_phrases and self._guide.commas and node.tokens):
            return None
        phrase = node.verdict.text.rpartition(",")[2].strip()
        for clause, spans in zip(self._judge.clauses, node.verdict.spans, strict=True):
            if 0 < len(spans) <= clause.at_least and phrase in map(plain_term, clause.terms):
                longer = self._guide.continuing(node.path, range(len(self._judge.clauses)))
                return torch.tensor([*self._guide.commas, *longer], device=self.barred.device).unique()
        return None

    def _repeats(self, node: Node) -> list[int]:
        """Return the tokens that would repeat an n-gram of prefix and continuation."""
        size, said = self._settings.no_repeat_ngram, (*self._prefix_ids, *node.tokens)
        if not size:
            return []
        last = said[len(said) - size + 1 :]
        return sorted({said[i + size - 1] for i in range(len(said) - size + 1) if said[i : i + size - 1] == last})

    def _grow(self, parents: Sequence[Node], kept: Mapping[tuple[int, int], float]) -> list[Node]:
        """Return the nodes that follow; those at the length limit end instead, those that break a bound are gone."""
        nodes = []
        rows = [(*parents[place].tokens, token) for place, token in kept]
        texts = self._vocabulary.texts([[*self._prefix_ids, *row] for row in rows])
        for (place, token), tokens, text in zip(kept, rows, texts, strict=True):
            parent, logprob = parents[place], kept[place, token]
            verdict = self._judge.verdict(self._prefix + text[self._skip :], parent.verdict)
            wanted = tuple(self._judge.wanted(verdict.met))
            path = self._guide.follow(parent.path, token)
            risk = self._forbidden.follow(parent.risk, token)
            under_way = self._guide.under_way(path, wanted)
            node = Node(parent.row, tokens, logprob, text[self._skip :], verdict, wanted, path, risk, under_way)
            if len(tokens) == self._settings.max_tokens:
                self._end(node, len(tokens), logprob)
            elif not verdict.broken:
                nodes.append(node)
        return nodes

    def _end_where_likely(
        self, parents: Sequence[Node], ends: Mapping[int, float], likely: Mapping[tuple[int, int], float]
    ) -> None:
        """End a node if that is among the `beam` likeliest steps of those that meet the same clauses.

        For a single group that is transformers' rule. Without it a negative length penalty, as Promptist's, would make
        the shortest text the best.
        """
        for place, logprob in ends.items():
            met = parents[place].verdict.met
            steps = [value for (other, _), value in likely.items() if parents[other].verdict.met == met]
            steps += [value for other, value in ends.items() if parents[other].verdict.met == met]
            if sum(value > logprob for value in steps) < self._settings.beam:
                self._end(parents[place], len(parents[place].tokens) + 1, logprob)

    def _end(self, node: Node, count: int, logprob: float, *, ended: bool = True) -> None:
        """Record a node's text as a result, unless that is not allowed or a better node has the same text."""
        if node.verdict.broken or node.verdict.doubtful or logprob == -math.inf:
            return
        text = node.text.rstrip("\ufffd") if ended else self._whole_phrases(node)
        if self._allows is not None and not self._allows(text):
            return
        result = Hypothesis(text, node.tokens, logprob, self._score(logprob, count), node.verdict.met, ended)
        known = self._ended.get(text)
        if known is None or _order(result) < _order(known):
            self._ended[text] = result

    def _whole_phrases(self, node: Node) -> str:
        """Return an unfinished text without its last phrase, or as it is when that would lose a clause."""
        shorter = node.text.rpartition(",")[0]
        return shorter if self._judge.verdict(self._prefix + shorter).met == node.verdict.met else node.text

    def _score(self, logprob: float, count: int) -> float:
        return logprob / count**self._settings.length_penalty

    def _over(self, nodes: Sequence[Node]) -> bool:
        """Tell whether no node can (or, with `early_stop`, as it stands does) beat the n-th best result."""
        best = self._best()
        if len(best) < self._n or not nodes:
            return not nodes
        now = len(nodes[0].tokens)
        counts = (max(1, now),) if self._settings.early_stop else (now + 1, self._settings.max_tokens)
        limit = max(self._score(node.logprob, count) for node in nodes for count in counts)
        return best[-1].rank >= (len(self._judge.clauses), limit)

    def _best(self) -> list[Hypothesis]:
        return heapq.nsmallest(self._n, self._ended.values(), key=_order)


def _order(result: Hypothesis) -> tuple[int, float, tuple[int, ...]]:
    """Sort the best first; among equals by token ids."""
    return -sum(result.met), -result.score, result.tokens
