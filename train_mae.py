"""Train what a configuration file describes; python, torchrun and deepspeed start it alike.

    python train_mae.py
    torchrun --nproc_per_node=4 train_mae.py --config configs/mae_config_exp1.py
    deepspeed --num_gpus=4 train_mae.py --config configs/mae_config_exp1.py --train.batch-size 8

Every option of `hydromae pretrain` may follow; `--store` and `--out` take the place of the file's `store` and `output`.
"""

import sys
from pathlib import Path

from hydromae.cli.experiment import run_experiment

if __name__ == "__main__":
    sys.exit(run_experiment(sys.argv[1:], Path(__file__).parent / "configs" / "mae_config.py"))
