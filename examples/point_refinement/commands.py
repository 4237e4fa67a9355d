"""Find land in pictures of the Earth, eight times finer than the picture, with PointRend.

A network predicts a coarse mask. Where it is uncertain, along the coasts, a small second network looks at single points and decides
anew; the resolution is doubled step by step, and the number of points stays the same. Both are trained together on a picture of
2048 x 1024 pixels and a land mask that is 21 times finer. Instead of the Earth, bring your own pictures and masks (--data).

The program runs in any folder, as `python path/to/examples/point_refinement`, and writes to the folder in which it runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from _common import picture_path, usable_device, whole
from _training import add_training_arguments, team

from . import training
from .data import INSTALL, TILE, cut, load
from .evaluate import evaluate
from .model import STRIDE, read_model
from .picture import draw
from .predict import predict

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torchsample-examples"
CHECKPOINT, RESULTS, PICTURE = Path("point_refinement.pt"), Path("point_refinement_results.json"), "point_refinement.png"
DESCRIPTIONS = {
    "train": "Train the coarse and the point head together. Interrupted, it goes on where it was when it is called again.",
    "predict": "Write the mask of a picture of any size, eight times finer than it: white is what the masks of the training mark.",
    "evaluate": "Train what is missing, for each seed: PointRend with three ways of choosing training points, and a dense head. "
    "Compare them on tiles that were held out; print tables, save the numbers and a picture.",
    "picture": "Draw image, coarse mask, refined mask and truth of a tile that was held out, and the points of each step.",
}
EXAMPLES = {
    "train": """
  {command} train                                        a minute on one core; writes point_refinement.pt
  {command} train --steps 2400                           prolong it: go on from the 1200 steps that it has
  {command} train --strategy uniform --seed 1 --checkpoint uniform.pt
  {command} train --data photos --steps 5000 --device cuda   photos/images/cat.jpg, photos/masks/cat.png, ...
  {torchrun} train          the same result from two processes""",
    "predict": """
  {command} predict map.jpg -o land.png                  after train
  {command} predict map.jpg -o land.png --checkpoint uniform.pt""",
    "evaluate": """
  {command} evaluate                                     twenty minutes on one core
  {command} evaluate --seeds 0 --steps 200 --results quick.json --picture quick.png""",
    "picture": """
  {command} picture -o coast.png                         after train""",
}


def mask_path(text: str) -> Path:
    """An argument type: a picture without losses, to write."""
    if Path(text).suffix.lower() not in (".png", ".tif", ".tiff"):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .png, .tif or .tiff")
    return picture_path(text)


def _add_common(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--device", type=usable_device, default="cpu", help="where to compute: cpu, cuda (default: %(default)s)")
    add("--threads", type=whole(1), default=1, help="CPU threads of each process (default: %(default)s)")


def _add_data(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    wanted = "DIR/images/NAME.jpg and DIR/masks/NAME.png, where white is to be found and the mask may be a whole number of times finer"
    add("--data", type=Path, metavar="DIR", help=f"your own pictures: {wanted} (default: the Earth; {INSTALL})")
    add("--cache", type=Path, default=CACHE, metavar="DIR", help="for a smaller copy of the land mask, 134 MB (default: %(default)s)")


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="FILE", help="of train (default: %(default)s)")


def _add_train(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    ways = "uniform; mild: three quarters are the most uncertain of three times as many; heavy: all are, of ten times as many"
    add("--strategy", choices=list(training.STRATEGIES), default="mild", help=f"training points: {ways} (default: %(default)s)")
    add("--points", type=whole(1), default=training.POINTS, help="training points in each crop (default: %(default)s)")
    add("--crop", type=whole(STRIDE, TILE), default=training.CROP, help=f"side of a crop, a multiple of {STRIDE} (default: %(default)s)")
    add("--seed", type=whole(0, 2**63 - 1), default=0, help="seed of all random numbers (default: %(default)s)")
    add_training_arguments(command, whole, CHECKPOINT, training.STEPS, training.BATCH, training.RATE)
    _add_data(command)


def _add_predict(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("image", type=Path, metavar="IMAGE", help="picture of any size; at the scale of the training pictures it works best")
    add("-o", "--output", "--mask-out", type=mask_path, default="mask.png", metavar="FILE", help="mask to write (default: %(default)s)")
    _add_checkpoint(command)


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--seeds", type=whole(0, 2**63 - 1), nargs="+", default=[0, 1, 2], help="of the trainings (default: 0 1 2)")
    add("--steps", type=whole(1), default=training.STEPS, help="training steps of each model (default: %(default)s)")
    add("--batch", type=whole(1), default=training.BATCH, help="crops in a training step (default: %(default)s)")
    add("--runs", type=Path, default=CACHE / "point_refinement", metavar="DIR", help="for the checkpoints (default: %(default)s)")
    add("--results", type=Path, default=RESULTS, metavar="FILE", help="numbers to write (default: %(default)s)")
    add("--picture", type=picture_path, default=PICTURE, metavar="FILE", help="picture to write (default: %(default)s)")
    _add_data(command)


def _add_picture(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", type=picture_path, default=PICTURE, metavar="FILE", help="picture (default: %(default)s)")
    _add_checkpoint(command)
    _add_data(command)


def run_train(args: argparse.Namespace) -> None:
    pairs, _ = load(args.data, args.cache)
    data = str(args.data.resolve()) if args.data else "earth"
    options = {name: getattr(args, name) for name in ("steps", "batch", "lr", "points", "crop")}
    settings = training.settings_of(args.seed, args.strategy, data, **options)
    with team(args.device) as processes:
        training.train(pairs, settings, processes, args.checkpoint, args.restart, prolong=True)
        if processes.leads:
            print(f"Ready: {args.checkpoint}")


def run_predict(args: argparse.Namespace) -> None:
    model = read_model(args.checkpoint, args.device)
    predict(model, args.image, args.output, args.device)


def run_picture(args: argparse.Namespace) -> None:
    model = read_model(args.checkpoint, args.device)
    draw(model, cut(load(args.data, args.cache)[1]), args.output, args.device)


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None]]] = {
    "train": (run_train, _add_train),
    "predict": (run_predict, _add_predict),
    "evaluate": (evaluate, _add_evaluate),
    "picture": (run_picture, _add_picture),
}


def make_parser(command: str = "python -m point_refinement", torchrun: str = "torchrun -m point_refinement") -> argparse.ArgumentParser:
    """The command line."""
    style = argparse.RawDescriptionHelpFormatter
    examples = {name: text.format(command=command, torchrun=torchrun) for name, text in EXAMPLES.items()}
    every = "examples:" + "".join(examples.values())
    parser = argparse.ArgumentParser(prog=command, description=__doc__, epilog=every, formatter_class=style)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, (call, add_arguments) in COMMANDS.items():
        text, epilog = DESCRIPTIONS[name], f"examples:{examples[name]}"
        subparser = commands.add_parser(name, help=text.split(". ")[0].rstrip("."), description=text, epilog=epilog, formatter_class=style)
        add_arguments(subparser)
        _add_common(subparser)
        subparser.set_defaults(call=call)
    return parser
