"""The names of the metrics. Reading this needs neither torch nor numpy."""

RANKING = ("mAP", "mINP", "cmc_1", "cmc_5", "cmc_10", "cmc_20")
CLASSIFYING = ("top1", "top5", "top1_mean_class", "top1_few", "top1_medium", "top1_many")
