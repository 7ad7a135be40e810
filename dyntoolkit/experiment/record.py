"""The record that ties an experiment together: all that command line, dashboard, notebooks and tests see of it."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dyntoolkit.engine.choice import current
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.own_state import in_own_state, own_state
from dyntoolkit.engine.streams import check_seeds
from dyntoolkit.errors import InputError, unknown
from dyntoolkit.experiment.claims import Array, Claim
from dyntoolkit.experiment.config import Config, value_words
from dyntoolkit.experiment.training import to_the_end
from dyntoolkit.figure.panels import Panel
from dyntoolkit.figure.recorded import recorded_panels
from dyntoolkit.figure.sweeps import Rows

FILE_LIMIT = 50_000_000  # bytes of a reader's file of data
HASH = 8  # characters of the hash of its content
Theory = Callable[[Any], float]  # of settings
NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*")


@dataclass(frozen=True)
class Preset:
    """Named settings: what differs from the defaults, and one line on what to see.

    >>> Preset("Converges slowly.", {"lr": 0.01}).changes
    {'lr': 0.01}
    """

    reason: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Map:
    """A quantity over two settings, measured by training every pair of their values; all else stays as it is.

    x, y: fields of the Config; xs, ys: their values. simulate: as the experiment's, perhaps with fewer measurements.
    value(history): (R,) the quantity of each run, also while the runs grow. label: what it is, for the colour bar.
    random: whether it depends on the seed; else its title names none.
    """

    title: str
    label: str
    x: str
    y: str
    xs: Sequence[Any]
    ys: Sequence[Any]
    simulate: Callable[[Sequence[Any], Sequence[int]], Iterator[Frame]]
    value: Callable[[History], Array]
    random: bool = True


@dataclass(frozen=True)
class Actions:
    """What may be done in the middle of a run, in the moments at which its frames ask.

    when: these moments in words, such as "At the next alarm". labels: name of each action -> what its button says.
    """

    when: str
    labels: Mapping[str, str]


def last_values(history: History) -> dict[str, Array]:
    """The last value of every recorded quantity that is one number per run, name -> float64 (R,)."""
    last = {name: np.asarray(history.last(name), dtype=np.float64) for name in history.names()}
    return {name: value for name, value in last.items() if value.ndim == 1}


@dataclass(frozen=True, repr=False)
class Experiment:
    """One experiment. Its name, settings and simulation are enough; everything else has a default to replace.

    name: "phenomenon.experiment", or one word. config: its settings, a subclass of Config.
    simulate(configs, seeds): frames of len(configs) runs that share a loop (they agree on all structural fields).
    title, question (one sentence): default the name, and the first sentence of the Config's docstring.
    paper: arXiv number. seconds: time of the default run, if known.
    presets: the first one is where it starts (default: the fields' own defaults).
    metrics(history): name -> (R,) float64, NaN for "never" or "not measurable" (default: last values).
    claims: sentences to judge finished runs by.
    panels(history): what the figure shows, for one run or a band over several; also for a history that still grows
    (default: a curve for every recorded quantity that is one number per run).
    sweep_panels(rows): what the figure of several finished runs shows; None where claims about single runs say it all.
    map: what to measure over two settings, if there is anything.
    actions: what a reader may do in the middle of a run, if there is anything.
    file(name, content): what becomes of the experiment when a reader brings a file of data, InputError for a wrong one;
    None where data are no matter of the reader's. See `with_file`.
    compare(history, pinned): panels that compare the present run, as far as it is shown, with the one pinned last.
    predictions: name of a metric -> theory(config), the value that theory gives it for these settings, NaN where it
    gives none; drawn dashed where the metric is drawn against a setting.
    borders: what a border is called -> side(config), a number that is positive on one side of it and negative on the
    other, NaN where there is none; where it is 0 a dashed line crosses every map of two settings. Both are called for
    hundreds of settings at once, and should take well below a millisecond.

    network(history): the network whose weights `theta` are, an `MLP`, a `Module`, or one with `shapes` of its blocks.
    data: name of the reader's file that it stands on. data_hash: of that file's content, which tells it from another
    one of the same name.

    Raises InputError for a name, Config or simulation that is none.

    >>> class Descent(Config):
    ...     "How fast does x fall?"
    ...     lr: float = number(0.1, 0.01, 1.0)
    >>> def simulate(configs, seeds):
    ...     lr = per_run(configs, "lr")
    ...     return train(
    ...         Sgd(Stream(seeds, "start").normal(1)),
    ...         lambda state, _: sgd(state, state.theta, lr),
    ...         full_batch,
    ...         evenly(20, 11),
    ...         lambda k, state: {"x": state.theta[:, 0].numpy()},
    ...     )
    >>> Experiment("descent", Descent, simulate)
    Experiment descent: Descent
      How fast does x fall?
      settings: lr 0.1
      presets: default
    """

    name: str
    config: type[Config]
    simulate: Callable[[Sequence[Any], Sequence[int]], Iterator[Frame]]
    title: str = ""
    question: str = ""
    paper: str = ""
    seconds: float | None = None
    presets: Mapping[str, Preset] = field(default_factory=lambda: {"default": Preset("The settings as they come.")})
    metrics: Callable[[History], dict[str, Array]] = last_values
    claims: tuple[Claim, ...] = ()
    panels: Callable[[History], list[Panel]] = recorded_panels
    sweep_panels: Callable[[Rows], list[Panel]] | None = None
    map: Map | None = None
    actions: Actions | None = None
    file: "Callable[[str, bytes], Experiment] | None" = None
    compare: Callable[[History, History], list[Panel]] | None = None
    predictions: Mapping[str, Theory] = field(default_factory=dict)
    borders: Mapping[str, Theory] = field(default_factory=dict)
    network: Callable[[History], Any] | None = None
    data: str = ""
    data_hash: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise InputError(f"name takes words of letters, digits and _ joined by dots, got {self.name!r}.", "name")
        if not (isinstance(self.config, type) and issubclass(self.config, Config)):
            raise InputError(f"config of {self.name} takes a subclass of Config, got {self.config!r}.", "config")
        if not callable(self.simulate):
            raise InputError(f"simulate of {self.name} takes a function, got {self.simulate!r}.", "simulate")
        if not self.presets:
            raise InputError(f"presets of {self.name} needs one preset at least, got none.", "presets")
        for name, preset in self.presets.items():
            if not isinstance(preset, Preset):
                raise InputError(f"preset {name!r} of {self.name} takes a Preset, got {preset!r}.", "presets")
        if not isinstance(self.claims, tuple | list) or not all(isinstance(claim, Claim) for claim in self.claims):
            raise InputError(f"claims of {self.name} takes a tuple of Claim, got {self.claims!r}.", "claims")
        for of in ("predictions", "borders"):
            given = getattr(self, of)
            if not isinstance(given, Mapping) or not all(map(callable, given.values())):
                raise InputError(f"{of} of {self.name} takes a dict, name -> function(config), got {given!r}.", of)
        if not self.title:
            object.__setattr__(self, "title", self.name.replace(".", ": ").replace("_", " ").capitalize())
        if not self.question:
            object.__setattr__(self, "question", _first_sentence(self.config))

    def __repr__(self) -> str:
        """Name, question, settings, presets and claims, on one screen."""
        lines = [f"Experiment {self.name}: {self.title}", f"  {self.question}"] if self.question else []
        lines = lines or [f"Experiment {self.name}: {self.title}"]
        values = ", ".join(f"{name} {value_words(value)}" for name, value in self.configure().asdict().items())
        lines.append(f"  settings: {values}")
        lines.append(f"  presets: {', '.join(self.presets)}")
        if self.claims:
            lines.append(f"  claims: {', '.join(claim.id for claim in self.claims)}")
        return "\n".join(lines)

    def configure(self, preset: str | None = None, **changes: Any) -> Any:
        """The settings of a preset (default: the first one) with changes on top; InputError for wrong ones."""
        name = next(iter(self.presets)) if preset is None else preset
        if name not in self.presets:
            raise unknown("preset", name, self.presets)
        return self.config().replace(**{**self.presets[name].changes, **changes})

    def with_file(self, name: str, content: bytes) -> "Experiment":
        """The experiment on a reader's own data. name, content: of the file.

        Raises InputError for a file that is too large or refused, and for an experiment that takes none.
        """
        if self.file is None:
            raise InputError(f"{self.name} takes no file of data.", "file")
        check_file_size(name, len(content))
        given: Any = self.file(name, content)  # of anybody's code
        if not isinstance(given, Experiment):
            got = type(given).__name__
            raise InputError(f"file of {self.name} must return an Experiment; it returned {got}.", "file")
        return replace(given, data=name, data_hash=hashlib.sha256(content).hexdigest()[:HASH])

    def start(self, configs: Sequence[Any], seeds: Sequence[int]) -> tuple[History, Iterator[Frame]]:
        """An empty history of these runs (one config and one seed each) and the frames to append to it."""
        seeds = check_seeds(seeds)
        with own_state():  # a simulation that is no generator begins to work here
            frames: Any = self.simulate(configs, seeds)  # of anybody's code
        if not isinstance(frames, Iterator):
            got = "None (is a `return` missing?)" if frames is None else type(frames).__name__
            raise InputError(f"simulate of {self.name} must yield or return frames; it returned {got}.", "simulate")
        history, asked = History(self.name, configs, seeds), current()
        history.asked, history.device = asked.engine, asked.device
        return history, in_own_state(frames, self.name)

    def run(self, config: Any = None, seeds: Sequence[int] = (0,)) -> History:
        """Train the settings (default: the first preset) to the end for each seed."""
        config = self.configure() if config is None else config
        return to_the_end(*self.start([config] * len(seeds), seeds))

    def figure(self, history: History) -> Any:
        """The figure of a history as a plotly.graph_objects.Figure, to show, change or export."""
        from dyntoolkit.figure.plotly_figure import plotly_figure  # loaded where it is wanted: it takes a while

        return plotly_figure(self.panels(history))


def check_file_size(name: str, size: int) -> None:
    """InputError for a file of more bytes than are taken."""
    if size > FILE_LIMIT:
        limit = f"a file of data may have {FILE_LIMIT / 1e6:.0f} MB at most"
        raise InputError(f"{name} has {size / 1e6:.1f} MB: {limit}.", "file")


def _first_sentence(config: type[Config]) -> str:
    """The first sentence of a Config's own docstring; "" where it has none (or only the one dataclass makes up)."""
    text = " ".join((config.__dict__.get("__doc__") or "").split())
    if text.startswith(f"{config.__name__}("):
        return ""
    return re.split(r"(?<=[.?!])\s", text, maxsplit=1)[0]
