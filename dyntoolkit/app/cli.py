"""The command line: list, run, rerun, sweep, show, serve, site, warm, lab."""

import argparse
import errno
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from dyntoolkit import __version__
from dyntoolkit.app.data_file import with_file
from dyntoolkit.app.outputs import outputs
from dyntoolkit.app.rerun_command import rerun_command
from dyntoolkit.app.setting_options import setting_options
from dyntoolkit.app.show_command import show_command
from dyntoolkit.app.site_command import site_command, site_options
from dyntoolkit.app.sweep_command import sweep_command, sweep_options
from dyntoolkit.errors import InputError, whole_number
from dyntoolkit.whole_file import write_whole

if TYPE_CHECKING:  # these import torch, which takes a second: only where something is trained
    from dyntoolkit.engine.history import Frame, History
    from dyntoolkit.experiment import Experiment
    from dyntoolkit.experiment.claims import Claim
    from dyntoolkit.experiment.config import Config
    from dyntoolkit.experiment.judging import Verdict

CLAIMS_FAIL, BAD_INPUT, NOT_REPORTED, STOPPED = 1, 2, 3, 130
EXIT_CODES = (
    "exit codes: 0 done, and every expected claim holds; 1 a claim fails; 2 wrong input, or --out cannot be written; "
    "3 an error, or standard output cannot be written; 130 stopped by Ctrl-C"
)
MOST_SEEDS = 1000
MOST_SESSIONS = 10_000


class Parser(argparse.ArgumentParser):
    """argparse, with one sentence instead of the usage for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (default: the process's own arguments); returns its exit code."""
    with outputs() as written:
        try:
            code = _obey(arguments)
        except SystemExit as end:  # argparse's, after --help or a wrong command line
            if end.code:
                raise
            code = 0
        sys.stdout.flush()
        lost = written and written.lost
        if not lost or code not in (0, CLAIMS_FAIL):
            return code
        if lost.errno != errno.EPIPE:  # `| head`: who reads no further knows it
            print(f"dyntoolkit: standard output cannot be written: {lost.strerror}.", file=sys.stderr)
        return NOT_REPORTED


def _obey(arguments: Sequence[str] | None) -> int:
    """The same, in a terminal where printing cannot fail; SystemExit after --help or a wrong command line."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is a Ctrl-C
    try:
        options = parser().parse_args(arguments)
        code: int = options.command(options)
    except InputError as error:
        print(f"dyntoolkit: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("dyntoolkit: stopped.", file=sys.stderr)
        return STOPPED
    except Exception:
        sys.excepthook(*sys.exc_info())  # as Python would, but its exit code says that claims fail
        return NOT_REPORTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return code


def parser() -> Parser:
    """The options of every command."""
    top = Parser(
        prog="dyntoolkit", description="See small neural networks learn.", epilog=EXIT_CODES, allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"dyntoolkit {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, what: str, obey: Callable[[argparse.Namespace], int], epilog: str | None = None) -> Any:
        made = commands.add_parser(name, help=what, epilog=epilog, allow_abbrev=False)
        made.set_defaults(command=obey)
        return made

    listing = command("list", "the experiments, their questions and presets", list_command)
    listing.add_argument("target", nargs="?", metavar="FILE.py", help="those of a file or module of your own")
    listing.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _run_options(command("run", "train an experiment without a window and judge its claims", run_command, EXIT_CODES))
    rerun = command(
        "rerun",
        "train a run again from a file of it, and compare",
        lambda options: rerun_command(options, _bar),
        "exit codes: 0 every number is the same; 1 some differ; 2 wrong input; 130 stopped by Ctrl-C",
    )
    rerun.add_argument(
        "run", metavar="FILE", help="what --out or a dashboard has written: data, figure, weights, report"
    )
    rerun.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file that defines the experiment, or the file of data that the run stands on",
    )
    sweep = "train a grid of settings in batches that survive whatever happens"
    sweep_options(command("sweep", sweep, lambda o: sweep_command(o, dict(map(_assignment, o.set))), EXIT_CODES))
    show = command("show", "a sweep as tables, and in a browser", lambda o: show_command(o, partial(serve_command, o)))
    show.add_argument("folder", metavar="DIR", help="its directory, the --out of `sweep`")
    show.add_argument("--print", action="store_true", help="print the tables, and no more")
    _server_options(show)
    _server_options(command("serve", "the gallery as dashboards in a browser", serve_command))
    site_options(command("site", "all notebooks with sliders that move, as files without a server", site_command))
    command("warm", "compile what the default settings train with, so that nobody waits for it", warm_command)
    lab = command("lab", "the notebooks in JupyterLab", lab_command)
    lab.add_argument("--port", type=_port, default=8888, help="default 8888")
    lab.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return top


def _server_options(serve: argparse.ArgumentParser) -> None:
    """Where a server of dashboards is, and who reaches it."""
    serve.add_argument("--port", type=_port, default=8866, help="default 8866")
    serve.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: this machine only")
    serve.add_argument("--no-browser", action="store_true", help="do not open a browser")
    serve.add_argument("--token", help="what a visitor must know; made up if the host is not this machine")
    serve.add_argument(
        "--max-sessions", metavar="N", type=_sessions, help="pages live at once; others wait for a place"
    )
    serve.add_argument("--base-url", metavar="PATH", default="/", help="path below which it answers, such as /dyn/")
    serve.add_argument("--allow-host", metavar="NAME", action="append", help="a name of this server, behind a proxy")
    serve.add_argument("--frame-ancestors", metavar="URL", action="append", help="a page that may embed it")
    serve.add_argument("--trust-proxy", action="store_true", help="believe the proxy's X-Forwarded-For and -Proto")


def _run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "name",
        metavar="NAME",
        help="experiment, such as label_noise.linear (see `dyntoolkit list`), or my_file.py, or package.module:NAME",
    )
    setting_options(run)
    run.add_argument("--seed", nargs="+", action="extend", metavar="S", help="these seeds (default: 0)")
    run.add_argument("--seeds", metavar="N", help="the seeds 0 to N-1")
    run.add_argument(
        "--claims",
        nargs="+",
        action="extend",
        metavar="ID",
        help="judge these claims (or: all) with their controls, sweeps and presets, and train what that takes",
    )
    run.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default) or cuda, a GPU")
    run.add_argument(
        "--out",
        metavar="FILE",
        help="keep the run: what was recorded (.nc, .csv, .json), the figure (.svg, .png, .html), the weights "
        "(.safetensors), a page to print (.report.html), what to cite (.bib)",
    )
    run.add_argument("--json", action="store_true", help="one JSON document on stdout")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1 to 65535, got {text!r}")
    return int(text)


def _sessions(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SESSIONS:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1 to {MOST_SESSIONS}, got {text!r}")
    return int(text)


def list_command(options: argparse.Namespace) -> int:
    """`dyntoolkit list`."""
    from dyntoolkit.app import printout
    from dyntoolkit.catalog import registry

    known = registry.load(options.target) if options.target else registry.experiments()
    for sentence in () if options.target else registry.problems():
        print(f"dyntoolkit: note: {sentence}", file=sys.stderr)
    if options.json:
        print(json.dumps(printout.experiments_document(known), allow_nan=False))
    else:
        print(printout.experiments_table(known))
    return 0


def serve_command(options: argparse.Namespace, page: Path | None = None) -> int:
    """`dyntoolkit serve`. page: a notebook to show in place of the gallery and all others."""
    from dyntoolkit.app.door import Door
    from dyntoolkit.app.preparation import prepare

    door = Door(
        base_url=options.base_url,
        allow_hosts=tuple(options.allow_host or ()),
        frame_ancestors=tuple(options.frame_ancestors or ()),
        trust_proxy=options.trust_proxy,
        max_sessions=options.max_sessions,
    )
    prepare(options.host, options.port)
    from dyntoolkit.app.serve import serve

    return serve(options.port, options.host, not options.no_browser, options.token, door, page)


def warm_command(options: argparse.Namespace) -> int:
    """`dyntoolkit warm`."""
    from dyntoolkit.app.warm import warm
    from dyntoolkit.engine.choice import has_jax

    if not has_jax():
        print("dyntoolkit: JAX is not installed here, so there is nothing to compile.", file=sys.stderr)
        return 0
    seconds = 0.0
    for name, took in warm():
        seconds += took
        print(f"{name}: {took:.1f} s", flush=True)
    print(f"Everything is compiled{f', in {seconds:.0f} s' if seconds else ''}.")
    return 0


def lab_command(options: argparse.Namespace) -> int:
    """`dyntoolkit lab`."""
    from dyntoolkit.app.preparation import prepare

    prepare("127.0.0.1", options.port)
    from dyntoolkit.app.serve import lab

    return lab(port=options.port, browser=not options.no_browser)


def run_command(options: argparse.Namespace) -> int:
    """`dyntoolkit run`: train, save, judge, print."""
    from dyntoolkit.catalog.registry import load_one
    from dyntoolkit.engine.choice import asking, check_asked
    from dyntoolkit.experiment.claims import select

    asked = check_asked(options.engine, options.device)
    experiment = load_one(options.name)
    if options.file is not None:
        experiment = with_file(experiment, Path(options.file))
    config = experiment.configure(options.preset, **dict(map(_assignment, options.set)))
    seeds = _seeds(options)
    claims = select(experiment.claims, options.claims or ["all"])
    if options.out is not None:
        _check_out(Path(options.out))
    for sentence in config.warnings():
        print(f"dyntoolkit: note: {sentence}", file=sys.stderr)
    with asking(asked):
        return _train_and_report(options, experiment, config, seeds, claims)


def _assignment(text: str) -> tuple[str, str]:
    """`lr=.1` -> ("lr", ".1")."""
    name, sign, value = text.partition("=")
    if not sign:
        raise InputError(f"--set takes FIELD=VALUE, got {text!r}.", name)
    return name, value


def _seeds(options: argparse.Namespace) -> tuple[int, ...]:
    """The seeds of --seed or --seeds."""
    from dyntoolkit.engine.streams import check_seeds

    if options.seed is not None and options.seeds is not None:
        raise InputError("--seed lists seeds and --seeds counts them: give one of the two.", "seeds")
    if options.seeds is not None:
        return tuple(range(whole_number("--seeds", options.seeds, 1, MOST_SEEDS)))
    seeds = check_seeds(options.seed or ["0"])
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise InputError(f"seed {seed} is given more than once.", "seed")
    return seeds


def _train_and_report(
    options: argparse.Namespace,
    experiment: "Experiment",
    config: "Config",
    seeds: Sequence[int],
    claims: Sequence["Claim"],
) -> int:
    import torch

    from dyntoolkit.app import printout
    from dyntoolkit.engine.own_state import use_one_thread
    from dyntoolkit.experiment.judging import judge_history, run_metrics, succeeded
    from dyntoolkit.experiment.plan import Plan
    from dyntoolkit.experiment.training import to_the_end

    use_one_thread()
    began = time.perf_counter()
    plan = Plan(experiment, config, seeds, claims)
    history, frames = experiment.start([config] * len(seeds), seeds)
    try:
        with _interrupts() as interrupted, _bar() as bar:

            def watch(label: str, frame: "Frame") -> None:
                bar(label, frame)
                if interrupted:  # after a whole frame, so what is there is consistent
                    raise KeyboardInterrupt

            to_the_end(history, frames, partial(watch, experiment.name))
            failure = _save(experiment, history, options.out)
            if options.claims:
                label = "runs for the claims, loop {}/" + str(len(plan.stages))
                trained = [
                    to_the_end(*stage(), partial(watch, label.format(i))) for i, stage in enumerate(plan.stages, 1)
                ]
                verdicts = plan.verdicts([history, *trained])
                if options.out is not None and options.out.lower().endswith(".report.html"):  # now with the controls
                    failure = _save(experiment, history, options.out, verdicts)
            else:
                verdicts = judge_history(experiment, history, claims)
    except KeyboardInterrupt:
        return _stopped(experiment, history, options.out)
    seconds = time.perf_counter() - began
    own = run_metrics(experiment, history)
    if options.json:
        preset = options.preset or next(iter(experiment.presets))
        threads = torch.get_num_threads()
        document = printout.run_document(preset, history, seconds, own, verdicts, threads, options.device)
        print(json.dumps(document, allow_nan=False))
    else:
        print(printout.heading(history, seconds))
        print(printout.verdicts_table(verdicts) if experiment.claims else printout.metrics_table(own))
    if failure:
        raise InputError(failure, "out")
    return 0 if succeeded(verdicts) else CLAIMS_FAIL


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of raising; the second one raises KeyboardInterrupt at once."""
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bar() -> Iterator[Callable[[str, "Frame"], None]]:
    """A progress bar on stderr, a new one for each new label; without a terminal it is drawn every few seconds only."""
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}

    def watch(label: str, frame: "Frame") -> None:
        if label not in bars:
            for bar in bars.values():
                bar.close()
            pause = 0.1 if sys.stderr.isatty() else 5.0
            bars[label] = tqdm(total=frame.total, desc=label, unit="step", file=sys.stderr, mininterval=pause)
        bars[label].update(frame.step - bars[label].n)

    try:
        yield watch
    finally:
        for bar in bars.values():
            bar.close()


def _stopped(experiment: "Experiment", history: "History", out: str | None) -> int:
    """Save what there is after Ctrl-C, and say what became of it."""
    failure = _save(experiment, history, out)
    if not history.names():
        kept = "Nothing was computed yet."
    elif failure:
        kept = failure
    else:
        kept = "The curves so far were not kept (no --out)." if out is None else f"The curves so far are in {out}."
    where = f"at step {history.step} of {history.total}" if not history.done else "after the run, before its claims"
    print(f"dyntoolkit: stopped {where}. {kept} The claims were not judged.", file=sys.stderr)
    return STOPPED


def _check_out(path: Path) -> None:
    """InputError unless a file can be put there; leaves nothing behind and an existing file as it is."""
    try:
        if path.is_dir():
            raise InputError(f"--out takes a file, but {path} is a directory.", "out")
        if path.exists() and not path.is_file():
            raise InputError(f"--out takes a file, but {path} is a device or the like.", "out")
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(f"--out: {path} is there already and write-protected.", "out")
        if not path.resolve().parent.is_dir():
            raise InputError(f"--out: there is no directory {path.resolve().parent}.", "out")
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise InputError(f"--out: {path} cannot be written: {error.strerror}.", "out") from None
    from dyntoolkit.dashboard.save import suffix_of

    suffix_of(path.name)


def _save(
    experiment: "Experiment", history: "History", out: str | None, verdicts: Sequence["Verdict"] | None = None
) -> str:
    """Write the history, if asked and there is any; returns what went wrong, or "" (results go on)."""
    if out is None or not history.names():
        return ""
    from dyntoolkit.dashboard.save import Finished, content

    try:
        write_whole(Path(out).resolve(), content(Finished(experiment, history, verdicts), Path(out).name))
    except InputError as refusal:
        return f"--out: {refusal}"
    except (OSError, MemoryError) as error:
        return f"--out: {out} could not be written: {getattr(error, 'strerror', None) or 'out of memory'}."
    return ""
