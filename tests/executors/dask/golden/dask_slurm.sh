#!/usr/bin/env bash

#SBATCH -J nasrunner
#SBATCH -e /shared/study/workers/nasrunner-%J.err
#SBATCH -o /shared/study/workers/nasrunner-%J.out
#SBATCH -p gpu
#SBATCH -A astro
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=15G
#SBATCH -t 01:00:00
#SBATCH --no-requeue
#SBATCH --gres=gpu:1
#SBATCH --qos=long
export OMP_NUM_THREADS=8
export MKL_NUM_THREADS=8
export NASRUNNER_PRELOAD=torch,hydra
export DASK_DISTRIBUTED__WORKER__DAEMON=False
export DASK_DISTRIBUTED__WORKER__USE_FILE_LOCKING=False
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False
export DASK_LOGGING__DISTRIBUTED=warning
module load cuda/12
/opt/env/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:40001 --name nasrunner-0 --nthreads 8 --memory-limit 14.90GiB --nanny --death-timeout 120 --local-directory $SCRATCH --no-dashboard --preload nasrunner.executors.preload --preload-nanny nasrunner.executors.dask.nanny --interface ib0
