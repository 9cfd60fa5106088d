#!/usr/bin/env bash

#PBS -N nasrunner
#PBS -q gpu
#PBS -l select=1:ncpus=8:ngpus=1:mem=32gb
#PBS -l walltime=01:00:00
#PBS -e /shared/study/workers/
#PBS -o /shared/study/workers/
#PBS -l place=excl
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
/opt/env/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:40001 --name nasrunner-0 --nthreads 8 --memory-limit 3.73GiB --nanny --death-timeout 120 --no-dashboard --preload nasrunner.executors.preload --preload-nanny nasrunner.executors.dask.nanny
