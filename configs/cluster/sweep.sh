#!/usr/bin/env bash
# A sweep of fine-tunings as a job array, one task for each point. `detfm sweep STORE --array` writes a copy of this with
# the paths and the number of points filled in.
# Submit it again as often as you like: points that have finished end at once, others go on where they stopped.
#SBATCH --job-name=detfm
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=02:00:00
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --array=0-11
#SBATCH --signal=B:USR1@180

STORE=${STORE:-stores/jets}            # written by `detfm ingest`; all nodes must see it, and OUT
CONFIG=${CONFIG:-sweep/toplandscape}   # a shipped preset or a YAML file
OUT=${OUT:-runs/sweep}                 # folder of the sweep
DETFM=${DETFM:-.venv/bin/detfm}        # the command; modules and such may be loaded above this line
SETTINGS=${SETTINGS:-}                 # more settings, e.g. "--cfg.evaluate.replicas 200"

set -uo pipefail
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # srun no longer inherits it

# Preemption: SLURM sends SIGTERM to the training, which writes a checkpoint and ends (it has KillWait, or the
# partition's GraceTime, to do so), and requeues the job. The end of the time limit: SLURM sends SIGUSR1 to this script
# three minutes before, which does the same.
requeue=false
trap 'echo "the time limit is near: checkpoint, then requeue"; requeue=true; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
trap ':' TERM

# shellcheck disable=SC2086  # DETFM and SETTINGS may be several words
srun --kill-on-bad-exit=1 $DETFM sweep "$STORE" --cfg "$CONFIG" --out "$OUT" --point "$SLURM_ARRAY_TASK_ID" $SETTINGS &
training=$!
wait $training
status=$?
while kill -0 $training 2>/dev/null; do  # a signal ended the wait, not the training
  wait $training
  status=$?
done
if $requeue && [[ $status != 0 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
