"""Tracking: experiments, runs, their params, tags and metrics, and the datasets that they used.

Owns the tables `experiments`, `experiment_tags`, `runs`, `participants`, `heartbeats`, `params`, `tags`,
`metric_chunks`, `metric_summaries`, `metric_writers`, `datasets`, `dataset_inputs`, `tracking_requests`,
`tracking_secrets`. Asks `access` whether a workspace exists, and for its quotas.

Always true:
- an acknowledged point is committed;
- a summary row agrees with the chunks of its series;
- a param never changes;
- a run is lost only if it had a heartbeat, and a server has watched for another one for two periods;
- a batch of a writer is stored once, and only together with all batches before it.
"""
