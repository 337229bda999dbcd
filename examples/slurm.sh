#!/bin/bash
# Pre-training on two machines of eight GPUs. Two minutes before its time is up, or when it is pre-empted, the run saves
# and the job goes back into the queue; it continues there. See docs/processes.md.
#SBATCH --job-name=aasp
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=14
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
WORLD_SIZE=$SLURM_NTASKS
export MASTER_ADDR MASTER_PORT WORLD_SIZE

# srun, unlike torchrun, hands on the exit code of its tasks.
srun bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec \
  python -m aasp pretrain aasp_base --data audioset.parquet --out runs/base --checkpoint-every 20000'
code=$?

if [ "$code" -eq 75 ]; then # try again
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
