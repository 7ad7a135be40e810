"""Settings of `cross_task_linearity.decentralized` and its presets."""

from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number, switch
from dyntoolkit.phenomena.cross_task_linearity.deadly_noise import deadly_noise

SCHEDULES = ("gossip_merge", "early", "mid", "late", "full", "none")


class Config(config.Config):
    """Settings of one federation of nodes with unequal data (arXiv 2507.06542)."""

    schedule: str = choice("gossip_merge", SCHEDULES, label="schedule", help="who averages when", main=True)
    gossip_prob: float = number(
        0.2, 0.0, 1.0, label="gossip probability", help="that a pair of nodes averages in a round", main=True
    )
    dirichlet_beta: float = number(
        0.1, 0.1, 100.0, label="evenness of the data β", help="small: few classes per node", log=True, main=True
    )
    lr: float = number(0.05, 0.01, 0.1, label="learning rate η", help="of SGD", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    n_nodes: int = number(16, 4, 32, label="nodes", help="that train side by side", structural=True)
    rounds: int = number(60, 10, 100, label="rounds", help="of training and averaging", structural=True)
    local_steps: int = number(10, 1, 50, label="local steps", help="SGD steps per round", log=True, structural=True)
    window_rounds: int = number(3, 1, 20, label="window", help="full rounds of a window", structural=True)
    batch_size: int = number(32, 8, 64, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.0, 0.0, 0.9, label="momentum", help="restarts in every round")
    shared_init: bool = switch(True, label="shared start", help="one start for all nodes")
    width: int = number(64, 16, 128, label="width", help="units of each hidden layer", log=True, structural=True)
    depth: int = number(2, 1, 3, label="depth", help="hidden layers", structural=True)

    def check(self) -> None:
        """A window of full rounds lies within the run."""
        if self.schedule in ("early", "mid", "late") and self.window_rounds > self.rounds:
            raise InputError(
                f"window_rounds takes at most rounds = {self.rounds}, got {self.window_rounds}.", "window_rounds"
            )

    def warnings(self) -> list[str]:
        """Training that may die."""
        return deadly_noise(self.lr, self.batch_size, self.momentum)

    @property
    def steps(self) -> int:
        """Local steps of a node in all rounds."""
        return self.rounds * self.local_steps

    @property
    def full_rounds(self) -> range:
        """The rounds after which all nodes take the average of all."""
        first = {
            "full": 0,
            "early": 0,
            "mid": (self.rounds - self.window_rounds) // 2,
            "late": self.rounds - self.window_rounds,
            "gossip_merge": self.rounds - 1,
            "none": self.rounds,
        }[self.schedule]
        last = first + self.window_rounds if self.schedule in ("early", "mid", "late") else self.rounds
        return range(first, last)


APART = {"schedule": "none", "shared_init": False}

PRESETS = {
    "one_merge": Preset("Little gossip, and one average of all at the end: it recovers most."),
    "silent": Preset("No message at all before the end.", {"schedule": "none"}),
    "always": Preset("All average in every round: 30 times the messages.", {"schedule": "full"}),
    "early": Preset("Three full rounds at the start, then silence.", {"schedule": "early"}),
    "late": Preset("The same three rounds at the end.", {"schedule": "late"}),
    "iid": Preset("Even data: the nodes need no merge.", {"dirichlet_beta": 100.0}),
    "different_inits": Preset("Silent nodes from different starts: their average knows nothing.", APART),
}
