"""Which way metrics are better, by their usual names."""

from __future__ import annotations

import re

_GREATER = (
    *("accuracy", "accuracy_score", "balanced_accuracy", "balanced_accuracy_score", "recall", "recall_score"),
    *("precision", "precision_score", "f1", "f1_score", "auc", "roc_auc", "roc_auc_score", "pr_auc"),
    *("precision_recall_auc", "average_precision", "r2", "r2_score", "mrr", "ndcg", "map", "score", "mcc"),
    *("true_positives", "true_negatives"),
)
_SMALLER = (
    *("loss", "log_loss", "logloss", "cross_entropy", "error", "mae", "mse", "rmse", "mape", "max_error"),
    *("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "mean_absolute_percentage_error"),
    *("false_positives", "false_negatives", "brier_score", "brier_score_loss", "perplexity"),
)
_PREFIX = re.compile(r"(?:.*[./])?(?:training_|train_|validation_|valid_|val_|eval_|test_|holdout_)?")
_AT_RANK = re.compile(r"(?:ndcg|map|precision|recall|hit_rate|accuracy)(?:_at_|@)\d+\Z")


def is_better_when_greater(metric: str) -> bool | None:
    """Whether more of a metric is better. None if its name does not tell.

    What stands before the name of the metric, such as `val_` or `holdout.`, does not count.
    """
    name = metric.lower()
    for each in (name, name[_matched(name) :]):
        if each in _GREATER or _AT_RANK.match(each):
            return True
        if each in _SMALLER:
            return False
    return None


def _matched(name: str) -> int:
    found = _PREFIX.match(name)
    return found.end() if found else 0
