"""Students of anomaly models: one score over hardware integers, unsigned and saturating."""
