"""Cross-role retrieval metrics, and their expectation for random rankings."""

from trainables.metrics.chance import chance_metrics
from trainables.metrics.cross_role import CrossRoleMetrics, cross_role_metrics

__all__ = ["CrossRoleMetrics", "chance_metrics", "cross_role_metrics"]
