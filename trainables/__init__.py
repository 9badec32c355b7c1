"""Models, losses and the training loop; runs with torch, timm, numpy and pytorch-metric-learning alone."""
