#!/usr/bin/env bash
# Pretraining on many nodes: one process for each GPU, data parallel or sharded as train.mesh.fsdp says.
#   STORE=stores/jets CONFIG=quickstart/pretrain OUT=runs/pretrain sbatch --nodes=8 many_nodes.sh
# Submit it again, or let SLURM requeue it, as often as you like: it goes on where it stopped.
#SBATCH --job-name=detfm
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180

STORE=${STORE:-stores/jets}            # written by `detfm ingest`; all nodes must see it, and OUT
CONFIG=${CONFIG:-quickstart/pretrain}  # a shipped preset or a YAML file
OUT=${OUT:-runs/pretrain}              # the run folder
DETFM=${DETFM:-.venv/bin/detfm}        # the command; modules and such may be loaded above this line
SETTINGS=${SETTINGS:-}                 # more settings, e.g. "--cfg.train.steps 100000"

set -uo pipefail
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # srun no longer inherits it

# Preemption: SLURM sends SIGTERM to the training, which writes a checkpoint and ends (it has KillWait, or the
# partition's GraceTime, to do so), and requeues the job. The end of the time limit: SLURM sends SIGUSR1 to this script
# three minutes before, which does the same.
requeue=false
trap 'echo "the time limit is near: checkpoint, then requeue"; requeue=true; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
trap ':' TERM

# shellcheck disable=SC2086  # DETFM and SETTINGS may be several words
srun --kill-on-bad-exit=1 $DETFM pretrain "$STORE" --cfg "$CONFIG" --out "$OUT" --resume $SETTINGS &
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
