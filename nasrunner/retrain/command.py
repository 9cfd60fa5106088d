"""The command ``nasrunner-retrain``: trains the best children of a study to convergence."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nasrunner.command_line import is_answered, one_sentence, sentence
from nasrunner.core.screen.text import printable

if TYPE_CHECKING:
    from nasrunner.retrain.session import Session

_OF_A_SWEEP = ("top=1", "seeds=1", "mlp_classifier=false")
"""What is asked for of each study of a sweep, unless the user says otherwise."""

HELP = """\
nasrunner-retrain: trains the best children of a study to convergence, tests each network once

  from=STUDY              a study's folder, or runs:/ID, its run in the tracker
  from=SWEEP              a multirun's folder: every study of it, with top=1 seeds=1 unless given;
                          nasrunner-report then compares their test scores
  top=3                   how many of its best architectures
  reward=val_loss         the best by another reward that was recorded; reward.mode=…, objectives=…
                          and scalarization=… likewise, see nasrunner-report --help
  seeds=3                 how many networks of each, with first weights of their own
  start=scratch           from first weights
        child             goes on with the weights that the child's reward is of, for
                          trainer.max_epochs more; optimizer and schedule begin again
  on=train_and_validation also on the validation examples, and on all of both where data.train_share
                          left some out; the last epoch's weights are tested
     train                as in the search; of the epochs, trainer.checkpoint=best keeps the best
  grid=NAME, grid={…}     training settings to search for each architecture before: an option of
                          conf/grid, or keys with lists of values (oneof, linspace, logspace, …)
  folder=FOLDER           where they go; else retrained/ in the study's folder,
                          retrained-rescored/ of another reward, retrained-NAME/ of other data
  tracking_uri=URI        where the tracker keeps the run; else as its option in conf/tracker says
  trust=true              also a stranger's study that names classes which could run any code
  mlp_classifier=true     scikit-learn's MLPClassifier beside them, where the space is an MLP

Changes of the study's configuration, everything else stays what it was in the search:

  trainer.* optimizer.* scheduler.* executor.* tracker.*   as for nasrunner, also scheduler=cosine
  data.batch_size data.eval_batch_size data.drop_last data.pad data.cutout data.root
  data=NAME another data set, with its own settings (data.*=…) and splits: the networks end in its
            outputs, are trained with the study's task, optimizer, scheduler and trainer, and go to
            retrained-NAME/; data=a,b trains on each
  space.*   what was fixed in the search, such as how many cells are stacked and their filters; a
            decision may become a fixed value, and all that stays is answered as it was

With a grid, every point of it is trained on the training examples and rewarded on the validation
examples, as in the search; then each architecture's networks are trained with the settings that
were best for it. A key that the study's space searched cannot be in a grid: every child has a
value of its own. A point that failed is not tried again.

The test examples are read once for each network, after its training. What is trained and tested
is not done again: the same command goes on where it was stopped, and more seeds= or a higher top=
add networks.

Examples:

  nasrunner-retrain from=outputs/STUDY/TIME top=3 seeds=3 trainer.max_epochs=50
  nasrunner-retrain from=outputs/STUDY/TIME on=train trainer.max_epochs=200 trainer.stop_patience=20
  nasrunner-retrain from=outputs/STUDY/TIME top=1 start=child trainer.max_epochs=50
  nasrunner-retrain from=outputs/STUDY/TIME scheduler=cosine optimizer.lr=0.01 folder=outputs/cosine
  nasrunner-retrain from=outputs/STUDY/TIME top=1 seeds=1 trainer.max_epochs=50 grid=nasrl
  nasrunner-retrain from=outputs/STUDY/TIME 'grid={optimizer.lr: [0.05, 0.1]}'
  nasrunner-retrain from=outputs/STUDY/TIME top=1 space.concat.0.cell_stack.times=6
  nasrunner-retrain from=outputs/STUDY/TIME top=1 data=mnist data.batch_size=96
  nasrunner-retrain from=outputs/multirun/TIME trainer.max_epochs=50
  nasrunner-retrain from=runs:/0123456789abcdef0123456789abcdef top=1

The folder holds retrain.json and retrain.csv, and a folder for each network like a child's:
proposal.json, config.yaml, curves.jsonl, best.ckpt or last.ckpt, outcome.json, tested.json. The
points of a child's grid lie in grid/0007, without weights.
"""


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and we tell it better
    arguments = sys.argv[1:]
    if is_answered(arguments, HELP):
        return
    with one_sentence("nasrunner-retrain", "stopped at once; the same command goes on", _explain):
        _run(arguments)


def _run(arguments: list[str]) -> None:
    from nasrunner.retrain.request import parse  # these import torch: seconds that --help saves
    from nasrunner.retrain.session import Session
    from nasrunner.retrain.source import is_sweep, study_of, sweep_of

    request = parse(arguments)
    is_of_sweep = is_sweep(Path(request.source))
    if is_of_sweep:
        each_data = parse([*_OF_A_SWEEP, *arguments]).for_each_data()
        found = [pair for each in each_data for pair in sweep_of(each, _warn)]
    else:
        found = [(study_of(each), each) for each in request.for_each_data()]
    sessions = [Session(*each) for each in found]  # all are looked at before any is trained
    outcomes = [_retrain(session) for session in sessions]
    if is_of_sweep:
        sys.stdout.write(f"Compare them: nasrunner-report from={request.source}\n")
    if not all(outcomes):
        sys.exit(1)


def _retrain(session: "Session") -> bool:
    """Retrains one study's children; returns whether all networks could be trained."""
    from nasrunner.retrain.run import run
    from nasrunner.retrain.show import Display
    from nasrunner.retrain.tracking import track

    display = Display(Console(highlight=False), session.metric)
    for warning in session.warnings():
        display.warn(warning)
    results = run(session, display)
    display.close(results)
    if reason := track(session, results):
        display.warn(
            f"the tracker lacks these networks; the same command writes them again: {reason}"
        )
    if results.is_interrupted:
        sys.exit(130)
    is_hopeless = any(grid.is_hopeless for grid in results.grids)
    return not (is_hopeless or any(row.num_failed for row in results.rows))


def _warn(message: str) -> None:
    sys.stderr.write(f"nasrunner-retrain: warning: {printable(message)}\n")


def _explain(error: Exception) -> str:
    """Without where Hydra has looked."""
    return re.sub(r" (Config search path:|See https://hydra).*", "", sentence(error))


if __name__ == "__main__":
    main()
