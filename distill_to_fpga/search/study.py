"""The trials of a search as an optuna study, kept in a journal of JSON lines that processes may share.

A sampler's random numbers depend on the number of a trial alone, so that a search interrupted and resumed draws what it
would have drawn. A trial that was interrupted is repeated with its settings under a new number.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.search.measures import MEASURES
from distill_to_fpga.search.space import Dimension, SearchConfig, whole
from foundation.errors import RunError, missing_extra

try:
    import optuna
except ImportError as error:
    raise missing_extra("optuna", "search", "`detfm search`") from error
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

REPEATS = "repeats"  # attribute of a trial that has the settings of another, which was interrupted
JOURNAL, NAME = "journal.jsonl", "search"
ERROR, RECORD = "error", "record"  # attributes of a trial that has ended by itself
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Reseeded(BaseSampler):
    """A sampler that is made anew for every trial, seeded by how many trials have begun before it."""

    def __init__(self, cfg: SearchConfig):
        self.cfg = cfg
        self.inner = _sampler(cfg, 0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner = _sampler(self.cfg, ordinal(study, trial.number))
        self.inner.before_trial(study, trial)
        if REPEATS in trial.user_attrs:  # optuna does not ask for settings that are given; a generation is told by this
            self.inner.sample_relative(study, trial, self.inner.infer_relative_search_space(study, trial))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.inner.after_trial(study, trial, state, values)


def _sampler(cfg: SearchConfig, number: int) -> BaseSampler:
    seed = int(np.random.default_rng([cfg.seed, number]).integers(2**31))
    if cfg.sampler == "tpe":
        return TPESampler(n_startup_trials=cfg.startup, multivariate=True, constant_liar=True, seed=seed)
    if cfg.sampler == "nsga2":
        return NSGAIISampler(population_size=cfg.startup, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # says that its arguments may change
        return NSGAIIISampler(population_size=cfg.startup, seed=seed)


def open_study(folder: Path, cfg: SearchConfig) -> Study:
    """The study in a run folder, made if need be.

    Raises:
        RunError: its journal is damaged.
    """
    path = folder / JOURNAL
    try:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            sampler=Reseeded(cfg),
            directions=["maximize" if MEASURES[name].more else "minimize" for name in cfg.objectives],
            study_name=NAME,
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise RunError(f"{path} is damaged ({error}); begin the search anew with --overwrite") from error


def mend(folder: Path) -> None:
    """Cuts off a last line that was not written to its end; only while no other process writes."""
    path = folder / JOURNAL
    if path.is_file() and not (written := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(written[: written.rfind(b"\n") + 1])


def interrupted(trial: FrozenTrial) -> bool:
    """Whether a trial was ended from outside; one that failed by itself says why."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def ordinal(study: Study, number: int) -> int:
    """Number of a trial, those not counted that were interrupted before it."""
    return number - sum(interrupted(each) for each in study.get_trials(deepcopy=False) if each.number < number)


def begun(study: Study) -> int:
    """Trials that have ended by themselves or are running."""
    return sum(
        each.state in (TrialState.COMPLETE, TrialState.RUNNING) or ERROR in each.user_attrs
        for each in study.get_trials(deepcopy=False)
    )


def running(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def repeat(study: Study, number: int) -> None:
    """Ends a trial that was interrupted, and puts its settings first in the queue."""
    trial = study.get_trials(deepcopy=False)[number]
    study.enqueue_trial(trial.params, user_attrs={REPEATS: number})
    study.tell(number, state=TrialState.FAIL)


def drawn(trial: Trial, space: Mapping[str, Dimension]) -> dict[str, Any]:
    """A value for every dimension, also for those that have no meaning in this trial: a sampler learns most from
    trials that are alike."""
    return {name: _drawn(trial, name, dimension) for name, dimension in space.items()}


def _drawn(trial: Trial, name: str, dimension: Dimension) -> Any:
    if dimension.choices:
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in dimension.choices]))
    assert dimension.low is not None
    assert dimension.high is not None
    if whole(name):
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def tell(study: Study, trial: Trial, cfg: SearchConfig, record: dict[str, Any]) -> None:
    """Ends a trial with what became of it. A figure that is an objective and is not there makes it a failure."""
    values = [record["figures"].get(name) for name in cfg.objectives]
    if not record["error"]:
        bad = [name for name, value in zip(cfg.objectives, values) if value is None or not np.isfinite(value)]
        record["error"] = f"no figure {', '.join(bad)} on val" if bad else ""
    trial.set_user_attr(RECORD, record)
    if record["error"]:
        trial.set_user_attr(ERROR, record["error"])
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, [float(value) for value in values])


def records(study: Study) -> list[dict[str, Any]]:
    """What became of the trials that ended by themselves, in their order."""
    return [dict(each.user_attrs[RECORD]) for each in study.get_trials(deepcopy=False) if RECORD in each.user_attrs]
