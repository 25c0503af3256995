#!/usr/bin/env bash
# A search for students as a job array: every task takes trials until there are enough. `detfm search TEACHER --array N`
# writes a copy of this with the paths and the number of tasks filled in.
# A task that is preempted gives its trial back to the others, and goes on when SLURM starts it again.
#SBATCH --job-name=detfm
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=02:00:00
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --array=0-7
#SBATCH --signal=B:USR1@60

TEACHER=${TEACHER:-runs/finetune}      # a finetune or anomaly run; all nodes must see it, its data and OUT
CONFIG=${CONFIG:-quickstart/search}    # a shipped preset or a YAML file
OUT=${OUT:-runs/search}                # folder of the search
DETFM=${DETFM:-.venv/bin/detfm}        # the command; modules and such may be loaded above this line

set -uo pipefail
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # srun no longer inherits it

# The end of the time limit: SLURM sends SIGUSR1 to this script a minute before, which ends the search as preemption
# does (SIGTERM), and queues the task again.
requeue=false
trap 'echo "the time limit is near: stop, then requeue"; requeue=true; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
trap ':' TERM

# shellcheck disable=SC2086  # DETFM may be several words
srun --kill-on-bad-exit=1 $DETFM search "$TEACHER" --cfg "$CONFIG" --out "$OUT" --join &
search=$!
wait $search
status=$?
while kill -0 $search 2>/dev/null; do  # a signal ended the wait, not the search
  wait $search
  status=$?
done
if $requeue && [[ $status != 0 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
