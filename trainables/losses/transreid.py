"""TransReID's loss: classification and triplet over the branches.

B batch, D width, N works.
"""

from torch import Tensor
from torch.nn import functional

from trainables.losses.triplet import soft_margin_triplet
from trainables.recipes.transreid import TransReIDRecipe


def transreid_losses(outputs: dict[str, list[Tensor]], works_B: Tensor, recipe: TransReIDRecipe) -> dict[str, Tensor]:
    """`loss` and its parts, `id_loss` and `triplet_loss`, each half global and half the mean of the local branches."""
    id_losses = [functional.cross_entropy(logits_BN.float(), works_B) for logits_BN in outputs["logits"]]
    triplet_losses = [soft_margin_triplet(features_BD, works_B) for features_BD in outputs["features"]]
    id_loss = over_branches(id_losses, recipe.global_weight)
    triplet_loss = over_branches(triplet_losses, recipe.global_weight)
    total = recipe.id_weight * id_loss + recipe.triplet_weight * triplet_loss
    return {"loss": total, "id_loss": id_loss, "triplet_loss": triplet_loss}


def over_branches(losses: list[Tensor], global_weight: float) -> Tensor:
    """The weighted global loss plus the rest of the weight on the mean of the local ones, where there are any."""
    if len(losses) == 1:
        return losses[0]
    local = sum(losses[1:], start=losses[0].new_zeros(())) / (len(losses) - 1)
    return global_weight * losses[0] + (1 - global_weight) * local
