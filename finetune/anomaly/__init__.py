"""Anomaly triggers: the normal is learnt from unlabelled crossings, and every crossing gets a score."""
