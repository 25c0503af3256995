"""`detfm anomaly`: from zero-bias data to a score for every crossing."""

from foundation.command import CommandGroup

COMMAND = CommandGroup(
    commands={
        "fit": ("finetune.anomaly.fit:COMMAND", "store (or encoder) -> anomaly run: what is normal, without labels"),
        "score": ("finetune.anomaly.score:COMMAND", "anomaly run + data -> a score beside run and event, streaming"),
        "rates": (
            "finetune.anomaly.rates:COMMAND",
            "scores of zero bias -> thresholds and rates in kHz, beside a menu",
        ),
        "display": ("finetune.anomaly.display:COMMAND", "the most anomalous crossings, and what made them so"),
    },
    description="Learns the normal from unlabelled crossings, scores every crossing, fixes the rate.",
)
