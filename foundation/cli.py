"""`detfm`: a table of subcommands, each imported only when called, so that `detfm --help` answers at once."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from foundation.compilation_cache import keep_compiled

COMMANDS: dict[str, tuple[str, str]] = {
    "simulate": ("foundation.simulate.command:COMMAND", "generate labelled jets or whole events with Pythia 8"),
    "ingest": ("foundation.store.ingest:COMMAND", "detector files -> store"),
    "inspect": ("foundation.inspect:COMMAND", "what is inside a file, a store or a run"),
    "tokenize": ("pretrain.tokenizer.command:COMMAND", "store -> codes for tokens, by k-means or VQ-VAE"),
    "pretrain": ("pretrain.command:COMMAND", "store -> encoder, without labels"),
    "generate": ("pretrain.generate:COMMAND", "pretrain run with next_token -> new examples, against real ones"),
    "publish": ("pretrain.publish:COMMAND", "encoder -> one folder with a model card, for others to start from"),
    "plan": ("pretrain.plan:COMMAND", "memory, FLOPs, time and loader rate of a pretraining, before it is queued"),
    "scaling": ("pretrain.scaling:COMMAND", "pretrainings of many sizes -> scaling law, and what a budget deserves"),
    "embed": ("finetune.embed:COMMAND", "encoder + store -> embeddings as Parquet and ROOT"),
    "finetune": ("finetune.command:COMMAND", "encoder (or store, from scratch) + labels -> tagger or regressor"),
    "anomaly": ("finetune.anomaly.command:COMMAND", "fit, score, rates, display: anomaly triggers without labels"),
    "sweep": ("finetune.sweep:COMMAND", "labels x starting points x modes x seeds -> one table and plot"),
    "evaluate": ("distill_to_fpga.evaluate:COMMAND", "tagger, student -> metrics, plots, predictions"),
    "compare": ("finetune.compare:COMMAND", "evaluations of the same rows -> side by side, differences with errors"),
    "onnx": ("finetune.onnx:COMMAND", "tagger -> ONNX and StableHLO for the high-level trigger"),
    "distill": ("distill_to_fpga.command:COMMAND", "tagger -> tiny, quantised, pruned student"),
    "search": ("distill_to_fpga.search.command:COMMAND", "many students of one teacher -> the Pareto front"),
    "export": (
        "distill_to_fpga.export:COMMAND",
        "student -> firmware: HLS, RTL, hls4ml, conifer, emulator, board, bundle",
    ),
    "verify": ("distill_to_fpga.verify:COMMAND", "prove the exported firmware bit-exact"),
    "partition": ("distill_to_fpga.partition.command:COMMAND", "a network too big for one chip -> a system of many"),
    "report": ("distill_to_fpga.imported.command:COMMAND", "runs -> one HTML page; Vivado's reports beside estimates"),
    "quickstart": ("distill_to_fpga.quickstart:COMMAND", "the whole line on the shipped sample"),
}


def usage() -> str:
    from foundation import __version__

    lines = [
        f"detfm {__version__}: detector data -> foundation model -> trigger firmware",
        "",
        "usage: detfm COMMAND ...",
    ]
    lines += ["", *(f"  {name:<11} {text}" for name, (_, text) in COMMANDS.items())]
    return "\n".join([*lines, "", "`detfm COMMAND --help` explains a command; `--print_config` shows its settings."])


def dispatch(name: str, argv: Sequence[str]) -> None:
    """Imports a command and runs it; errors pass through."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    keep_compiled()
    module, attribute = COMMANDS[name][0].split(":")
    getattr(importlib.import_module(module), attribute)(name, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, 2 for an error of the user's, 130/143 when interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        from foundation import __version__

        print(__version__)
        return 0
    from foundation.errors import DetfmError, close_names

    name, rest = argv[0], argv[1:]
    try:
        if name not in COMMANDS:
            print(f"detfm: unknown command '{name}'; {close_names(name, COMMANDS)}", file=sys.stderr)
            return 2
        dispatch(name, rest)
    except DetfmError as error:
        print(f"detfm {name}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:  # of no file or folder that the user named
            raise
        print(f"detfm {name}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"detfm {name}: {str(stopped) or 'interrupted'}", file=sys.stderr)
        return 128 + getattr(stopped, "number", 2)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
