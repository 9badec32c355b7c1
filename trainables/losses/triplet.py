"""The soft-margin batch-hard triplet loss, from pytorch-metric-learning.

B batch, D width.
"""

from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch import Tensor


def soft_margin_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Mean over the batch of log(1 + exp(farthest positive - nearest negative)), Euclidean, features as they come.

    Hermans et al. 2017 (arXiv 1703.07737), eq. 5 with the soft margin: equals TransReID's and AGW's own. The library's
    defaults would normalise the features. Computed in float32, for distances cancel in bfloat16; the loop calls it
    outside autocast.
    """
    distance = LpDistance(normalize_embeddings=False)
    features_BD = features_BD.float()
    triplets = BatchHardMiner(distance=distance)(features_BD, works_B)
    loss: Tensor = TripletMarginLoss(margin=0, smooth_loss=True, distance=distance)(features_BD, works_B, triplets)
    return loss
