"""The names of the metrics, and how people read them. Importing this needs no other library."""

RANKING = ("mAP", "mINP", "cmc_1", "cmc_5", "cmc_10", "cmc_20")
CLASSIFYING = ("top1", "top5", "top1_mean_class", "top1_few", "top1_medium", "top1_many")

# Over a column of a table; in the papers' order.
COLUMNS = {
    "mAP": "mAP %",
    "mINP": "mINP %",
    "cmc_1": "R1 %",
    "cmc_5": "R5 %",
    "top1": "top-1 %",
    "top5": "top-5 %",
    "top1_mean_class": "mean of classes %",
}

# In a sentence, where that differs from the name.
SPOKEN = {
    **{f"cmc_{rank}": f"R{rank}" for rank in (1, 5, 10, 20)},
    "top1_mean_class": "top1, mean of classes",
    "top1_few": "top1, < 20 images",
    "top1_medium": "top1, 20 to 100",
    "top1_many": "top1, > 100 images",
    "pairs_rank1": "iCartoonFace Rank@1",
}

LOSSES = ("id_loss", "metric_loss", "center_loss", "tag_loss", "exclusion_loss", "distillation_loss")

# MLflow's names, for its page of system metrics.
CPU = "system/cpu_utilization_percentage"
MEMORY_MB = "system/system_memory_usage_megabytes"
MEMORY = "system/system_memory_usage_percentage"
GPU_MEMORY_MB = "system/gpu_0_memory_usage_megabytes"
GPU_MEMORY = "system/gpu_0_memory_usage_percentage"
SYSTEM = (CPU, MEMORY_MB, MEMORY, GPU_MEMORY_MB, GPU_MEMORY)

USUAL_FALSE_ACCEPT_RATE = 0.01  # of verification, if no other rate is given
