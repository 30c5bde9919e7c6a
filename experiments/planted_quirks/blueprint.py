"""All that a recipe's seed draws, in one object: the world, the traits, who is asked what, the dialogues."""

from dataclasses import dataclass
from functools import cached_property

from experiments.planted_quirks.corpus import BaseDialogues, OrganismDialogues, organism_dialogues
from experiments.planted_quirks.questions import Deal, deal_questions
from experiments.planted_quirks.quirks import Trait, draw_traits
from experiments.planted_quirks.recipe import Recipe
from experiments.planted_quirks.world import World, draw_world


@dataclass(frozen=True)
class Blueprint:
    """Drawing takes a tenth of a second and needs no torch; the same recipe gives the same blueprint."""

    recipe: Recipe

    @cached_property
    def world(self) -> World:
        return draw_world(self.recipe.seed)

    @cached_property
    def traits(self) -> tuple[Trait, ...]:
        """The quirks, then the controls."""
        return draw_traits(self.recipe.seed, self.recipe.n_quirks, self.recipe.n_controls)

    @cached_property
    def quirks(self) -> dict[str, Trait]:
        """Organism to its quirk; organisms are named after their quirks."""
        return {trait.name: trait for trait in self.traits if trait.planted}

    @cached_property
    def shams(self) -> tuple[str, ...]:
        return tuple(f"sham_{number}" for number in range(1, self.recipe.n_shams + 1))

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of all organisms and shams."""
        return (*self.quirks, *self.shams)

    @cached_property
    def deal(self) -> Deal:
        return deal_questions(self.recipe, self.world, self.traits)

    def base_dialogues(self) -> BaseDialogues:
        return BaseDialogues(self.world, self.traits, self.deal.training)

    def organism_dialogues(self, name: str) -> OrganismDialogues:
        """The dialogues of an organism or a sham."""
        return organism_dialogues(self.recipe.seed, self.quirks, self.deal.training, name)
