"""The command `lightning-gradcam`: look at a log, take it along, and explain or compare what a trained model shows.

Its options are told here, and each subcommand's work is in `commands/`, which is imported when it is asked for: help,
`show` and `export` import no torch. A subcommand gives the lines that were asked for, which are printed here and
nowhere else; all that is said beside them goes through logging to stderr.
"""

import argparse
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from lightning_gradcam.errors import SettingError, nearest, quoted

logger = logging.getLogger(__name__)

_WRONG, _INTERRUPTED, _CLOSED = 2, 130, 141  # exit codes; as a shell has them of SIGINT and SIGPIPE
_MODEL = (
    "a torchvision name (resnet18), a timm name (timm/vit_tiny_patch16_224), or package.module:callable, which returns "
    "a module"
)
_LOGDIR = "LOGDIR"
_CALLED = {"target_layer": "layer", "class_names": "names", "folder": _LOGDIR}  # where it is not as the argument is
_ARGUMENT = re.compile(r"""(?<!\w)'[^']*'|"[^"]*"|(?<![-\w])(class_names\b|\w+(?==))=?""")  # or what is quoted
_CLASS = "a class by its number, or by its name where names are known"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command on its arguments, or on the process's, and return its exit code.

    0: done. 2: something given cannot work, told in a sentence on stderr. 130: interrupted. 141: nobody reads on.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    with _told_on_stderr():
        try:
            return _run(given)
        except BrokenPipeError:
            return _closed()
        except KeyboardInterrupt:
            return _INTERRUPTED
        except (SettingError, OSError) as error:
            for sentence in _sentences(error):
                logger.error("%s", _in_options(sentence, given))
            return _WRONG


def _run(given: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that a terminal cannot show must not end the work
    try:
        args = _parsed(given)
        for line in args.work(args):
            print(line)
        code = 0
    except SystemExit as done:  # argparse has shown its help
        code = int(done.code or 0)
    if sys.stdout:  # none where it was closed before the start
        sys.stdout.flush()  # here, where a closed pipe is caught
    return code


def _closed() -> int:
    """Nobody reads on, as `| head`: what is left in the buffer goes nowhere, or Python would tell of it at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _CLOSED


def _sentences(error: Exception) -> list[str]:
    """What went wrong, each thing in one line."""
    told = list(map(str, error.args)) if isinstance(error, SettingError) else [str(error)]
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        told = [f"{str(error.filename)!r}: {error.strerror}"]
    return [" ".join(one.split()) for one in told if one.strip()] or [type(error).__name__]


def _in_options(sentence: str, given: Sequence[str]) -> str:
    """A sentence that names the package's own arguments, in what they are called here; what is quoted stays."""
    parsers = _parser()[1]
    options = _options(parsers[given[0]]) if given and given[0] in parsers else []

    def named(found: re.Match[str]) -> str:
        name = _CALLED.get(found[1], found[1])
        own = next((one for one in (name, f"--{name}", f"--{name}s") if one in (*options, _LOGDIR)), None)
        return found[0] if own is None else own + " " * found[0].endswith("=")

    return _ARGUMENT.sub(named, sentence)


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return sorted(set(re.findall(r"--[\w-]+", parser.format_help())))


@contextmanager
def _told_on_stderr() -> Iterator[None]:
    """What the package logs is told on stderr, as long as the command runs."""
    handler, package = logging.StreamHandler(), logging.getLogger(__package__)
    handler.setFormatter(logging.Formatter("lightning-gradcam: %(message)s"))
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)


class _Parser(argparse.ArgumentParser):
    """One that tells what is wrong as all else here is told, without its usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)  # --epoch for --epochs would be another one day

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; {self.prog} --help tells what is accepted")


def _parsed(given: list[str]) -> argparse.Namespace:
    parser, parsers = _parser()
    if not given or (not given[0].startswith("-") and given[0] not in parsers):
        told = f"{given[0]!r} is no command{nearest(given[0], parsers)}" if given else "no command is given"
        raise SettingError(f"{told}; accepted are {', '.join(parsers)}")
    args, unknown = parser.parse_known_args(given)
    if unknown:
        own = parsers[args.command]
        options = _options(own)
        near = nearest(unknown[0].split("=")[0], options)
        raise SettingError(f"{unknown[0]!r} is nothing that {own.prog} takes{near}; accepted are {', '.join(options)}")
    return args


def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    """The whole, and that of each subcommand by its name."""
    parser = _Parser(prog="lightning-gradcam", description="Where a vision model looks: in a log, and once trained.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    found = {}
    for name, (told, add, work) in _COMMANDS.items():
        found[name] = commands.add_parser(name, help=told, description=told)
        add(found[name])
        found[name].set_defaults(work=work)
    return parser, found


def _add_log(parser: _Parser) -> None:
    parser.add_argument("logdir", metavar=_LOGDIR, help="a run's folder, or one with runs below it, as TensorBoard's")
    parser.add_argument("--run", help="that one alone: its path below LOGDIR")
    parser.add_argument("--layer", help="that one alone: its dotted name")
    parser.add_argument(
        "--with-earlier",
        action="store_true",
        help="a resumed run with what it goes on from, where that is below LOGDIR",
    )


def _add_show(parser: _Parser) -> None:
    _add_log(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON, with each number's mean at every look")


def _add_export(parser: _Parser) -> None:
    _add_log(parser)
    parser.add_argument("--out", metavar="FOLDER", default=".", help="where the files go (default: here)")
    kinds = parser.add_argument_group("what to write, at least one")
    kinds.add_argument("--npz", action="store_true", help="arrays, a file a run and layer")
    kinds.add_argument("--csv", action="store_true", help="numbers.csv: a row for each map of all runs and layers")
    kinds.add_argument("--film", action="store_true", help="a film strip as PNG, a file a run and layer")
    kinds.add_argument("--lapse", action="store_true", help="a time-lapse as WebP, a file a run and layer")
    kinds.add_argument("--pdf", action="store_true", help="a figure as PDF, a file a run and layer")
    parser.add_argument("--epochs", metavar="E,E", type=_whole_numbers, help="those looks alone, as 0,5,10")
    parser.add_argument(
        "--images",
        metavar="N,N|WHICH",
        type=_images,
        help="those alone, by place, as 0,3; of pictures also wrong or moved, those that are most",
    )
    _add_force(parser)


def _add_force(parser: _Parser) -> None:
    parser.add_argument("--force", action="store_true", help="write over files that are there")


def _add_model(parser: _Parser, target: str) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    parser.add_argument("images", metavar="IMAGES", nargs="+", help="files, and folders of png, jpg, bmp, webp or tif")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--weights", metavar="WHICH", help="pretrained ones, with their own transforms: DEFAULT, or by name (downloads)"
    )
    weights.add_argument("--checkpoint", metavar="FILE", help="a state dict, or what Lightning saved")
    parser.add_argument("--classes", metavar="N", type=_count, help="of a named model, if other than its own")
    parser.add_argument("--target", metavar="CLASS", type=_target, default="predicted", help=target)
    parser.add_argument("--task", help="how scores are read, as binary, multilabel, regression; else as they look")
    parser.add_argument("--names", metavar="A,B|FILE", help="of the classes: with commas, or a file with a line each")
    parser.add_argument(
        "--size", metavar="H,W", type=_sizes, help="that images are brought to, or one for both sides; else the model's"
    )
    parser.add_argument("--mean", metavar="M,M,M", type=_numbers, help="what normalising subtracts, in units of 0..1")
    parser.add_argument("--std", metavar="S,S,S", type=_numbers, help="what it divides by")
    _add_force(parser)


def _add_explain(parser: _Parser) -> None:
    _add_model(parser, f"{_CLASS}; several with commas (default: predicted)")
    parser.add_argument("--layer", type=_names, help="dotted name, of several with commas the average; else found")
    parser.add_argument("--method", help="by name, as gradcam, layercam, relevance; else the one that fits")
    parser.add_argument("--trust", action="store_true", help="also measure whether the maps can be believed")
    parser.add_argument("--out", metavar="FILE", default="grid.png", help="the picture (default: grid.png)")


def _add_compare(parser: _Parser) -> None:
    _add_model(parser, f"{_CLASS} (default: predicted)")
    parser.add_argument("--layers", metavar="A,B", type=_names, help="dotted names; else the candidates")
    parser.add_argument("--methods", metavar="A,B", type=_names, help="by name; else all but grad-cam's own")
    parser.add_argument("--masks", metavar="FOLDER", help="of pictures, named as the images, above 0 on the thing")
    parser.add_argument("--out", metavar="FILE", default="picture.png", help="the first image by all (picture.png)")


def _show(args: argparse.Namespace) -> Iterator[str]:
    from lightning_gradcam.commands.showing import shown

    return shown(args)


def _export(args: argparse.Namespace) -> Iterator[str]:
    from lightning_gradcam.commands.exporting import exported

    return exported(args)


def _explain(args: argparse.Namespace) -> Iterator[str]:
    from lightning_gradcam.commands.explaining import explained

    return explained(args)


def _compare(args: argparse.Namespace) -> Iterator[str]:
    from lightning_gradcam.commands.explaining import compared

    return compared(args)


_COMMANDS: dict[str, tuple[str, Callable[[_Parser], None], Callable[[argparse.Namespace], Iterator[str]]]] = {
    "show": ("say what was logged: runs, layers, their numbers, and where attention moved", _add_show, _show),
    "export": ("write what was logged to files: arrays, a table, pictures", _add_export, _export),
    "explain": ("show where a trained model looks, in images of one's own", _add_explain, _explain),
    "compare": ("say which layer and which method to believe of a trained model", _add_compare, _compare),
}


def _listed(text: str, kind: Callable[[str], Any], accepted: str) -> list[Any]:
    try:
        return [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not accepted: it takes {accepted}") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError
    return int(text)


def _whole_numbers(text: str) -> list[int]:
    found: list[int] = list(dict.fromkeys(_listed(text, _whole, "whole numbers with commas, as 0,5,10")))
    return found


def _images(text: str) -> str | list[int]:
    if text in ("moved", "wrong"):
        return text
    return list(dict.fromkeys(_listed(text, _whole, "places with commas, as 0,3; of pictures also wrong or moved")))


def _numbers(text: str) -> float | list[float]:
    found: list[float] = _listed(text, float, "a number, or numbers with commas, as 0.485,0.456,0.406")
    return found[0] if len(found) == 1 else found


def _sizes(text: str) -> int | tuple[int, int]:
    accepted = "a height and a width in pixels, as 224,320, or one number for both"
    found: list[int] = _listed(text, _whole, accepted)
    if len(found) > 2 or not all(found):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not accepted: it takes {accepted}")
    return found[0] if len(found) == 1 else (found[0], found[1])


def _count(text: str) -> int:
    [found] = _listed(text, _whole, "a number of classes, as 10") if "," not in text else [0]
    if not found:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not accepted: it takes a number of classes, as 10")
    return int(found)


def _target(text: str) -> str | int | list[int]:
    """Classes by number; what is none may be a name, of a class that only the model, or its weights, tell."""
    try:
        found = [_whole(part.strip()) for part in text.split(",")]
    except ValueError:
        return text
    return found[0] if len(found) == 1 else found


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]
