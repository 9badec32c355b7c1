"""Batch-hard triplet losses, from pytorch-metric-learning.

B batch, D width.
"""

from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor


def soft_margin_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Mean over the batch of log(1 + exp(farthest positive - nearest negative)), Euclidean, features as they come.

    Hermans et al. 2017 (arXiv 1703.07737), eq. 5 with the soft margin: equals TransReID's and AGW's own. The library's
    defaults would normalise the features.
    """
    return _batch_hard(features_BD, works_B, margin=0.0, smooth=True)


def hard_margin_triplet(features_BD: Tensor, works_B: Tensor, margin: float) -> Tensor:
    """Mean over the batch of max(0, farthest positive - nearest negative + margin).

    Hermans et al. 2017, eq. 5, over all images: the library's own mean leaves out those that are 0 already.
    """
    return _batch_hard(features_BD, works_B, margin=margin, smooth=False)


def _batch_hard(features_BD: Tensor, works_B: Tensor, *, margin: float, smooth: bool) -> Tensor:
    distance = LpDistance(normalize_embeddings=False)
    triplets = BatchHardMiner(distance=distance)(features_BD, works_B)
    triplet_loss = TripletMarginLoss(margin=margin, smooth_loss=smooth, distance=distance, reducer=MeanReducer())
    loss: Tensor = triplet_loss(features_BD, works_B, triplets)
    return loss
