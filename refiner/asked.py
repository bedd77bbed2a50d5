"""What every answer of a refiner is asked to hold, and what became of it; for every model. Imports no torch."""

from dataclasses import dataclass

from core.records import Refinement
from core.seeding import derive_seed
from refiner.clauses import Clause, Judge
from refiner.constraints import Categories, Satisfaction, Wishes, clauses, laws, satisfaction
from refiner.neurologic_config import NeuroLogic


@dataclass(frozen=True)
class Asked:
    """Standing wishes.

    Attributes:
        wishes: what is asked for.
        categories: terms that `auto` chooses from.
    """

    wishes: Wishes
    categories: Categories

    def check(self) -> None:
        """Find out whether the wishes can be honoured.

        Raises:
            BadInput: they contradict each other, or name a category without terms.
        """
        clauses(self.wishes, self.categories)

    def clauses(self, prompt: str, seed: int) -> tuple[Clause, ...]:
        """Return what the answer to a prompt is asked to hold."""
        return tuple(clauses(self.wishes, self.categories, prompt, seed=derive_seed("wishes", seed, prompt)))

    def allows(self, prompt: str, refined: str) -> bool:
        """Tell whether a whole refined prompt has no forbidden term more often than the user's prompt has it.

        A search judges what a model writes. What is made of that can differ: repeated phrases are left out, and a
        forbidden "red, sky" may meet there.
        """
        return all(Judge(laws(self.wishes, prompt)).verdict(refined).met)

    def satisfaction(self, refinement: Refinement, seed: int) -> list[Satisfaction]:
        """Return what became of the wishes for one refinement."""
        return satisfaction(refinement.text, self.clauses(refinement.naive, seed))

    def search(self, own: NeuroLogic | None, longest: int) -> NeuroLogic | None:
        """Return how answers are searched for; None = they are written token by token.

        Args:
            own: the refiner's search; where it has none, wishes are met by one with the defaults.
            longest: tokens of an answer that is written token by token.
        """
        return own or (NeuroLogic(max_tokens=longest) if self.wishes else None)
