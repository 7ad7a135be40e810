"""Settings of `cross_task_linearity.digits`, and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number, switch
from dyntoolkit.phenomena.cross_task_linearity.deadly_noise import deadly_noise

MIXTURE, UPRIGHT, PIXEL_SHUFFLED = "mixture", "upright", "pixel_shuffled"
ANGLES = (-90, -60, -30, 0, 30, 60, 90)  # degrees at which the digits appear in the pretraining mixture


class Config(config.Config):
    """Settings of one pair of networks: shared pretraining, then one fine-tuning per task (arXiv 2402.03660)."""

    pretrain_steps: int = number(
        300,
        0,
        2000,
        label="pretraining steps",
        help="shared training before the split",
        log=True,
        main=True,
        structural=True,
    )
    pretrain_data: str = choice(
        MIXTURE, (MIXTURE, UPRIGHT, PIXEL_SHUFFLED), label="pretraining data", help="what the shared training sees"
    )
    shared_init: bool = switch(True, label="shared start", help="do both start from one network?")
    angle: float = number(60.0, 10.0, 90.0, label="angle", help="rotation of the tasks", unit="°")
    lr: float = number(0.05, 0.003, 0.2, label="learning rate η", help="fine-tuning learning rate", log=True, main=True)
    pretrain_lr: float = number(
        0.05, 0.003, 0.1, label="pretraining learning rate", help="pretraining learning rate", log=True
    )
    steps: int = number(300, 30, 1000, label="fine-tuning steps", help="fine-tuning steps", log=True, structural=True)
    batch_size: int = number(64, 8, 256, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy-ball momentum of both phases")
    width: int = number(128, 32, 512, label="width", help="units of each hidden layer", log=True, structural=True)
    depth: int = number(3, 1, 4, label="depth", help="hidden layers", structural=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    label_noise: float = number(
        0.0, 0.0, 0.5, label="label noise", help="fraction of training labels redrawn at random", main=True
    )
    alpha: float = number(0.5, 0.0, 1.0, label="weight α of network A", help="α·θ_A + (1−α)·θ_B", main=True)
    task_scale: float = number(0.5, 0.0, 1.0, label="task scale λ", help="λ of the task arithmetic")

    def warnings(self) -> list[str]:
        """What misleads: training that may die, tasks between those of the mixture, and a setting without effect."""
        found = deadly_noise(max(self.lr, self.pretrain_lr), self.batch_size, self.momentum)
        if self.pretrain_data == PIXEL_SHUFFLED and self.angle != 60.0:
            found.append("the angle has no effect on the pixel-shuffled task: nothing is rotated there.")
        between = min(abs(self.angle - 30), abs(self.angle - 60)) > 5 and self.angle != 90
        if self.pretrain_data == MIXTURE and self.pretrain_steps and between:
            found.append(
                f"the pretraining mixture shows digits at multiples of 30°, and {self.angle:g}° lies between: "
                "features are less linear there."
            )
        return found


PRESETS = {
    "ctl": Preset("The averaged network's features lie far closer to the averaged features than A's lie to B's."),
    "no_pretraining": Preset("No shared training: the ratio triples.", {"pretrain_steps": 0}),
    "independent": Preset(
        "Two initializations: linearity and merging fail.", {"shared_init": False, "pretrain_steps": 0}
    ),
    "lr_too_high": Preset("Fine-tuning steps too large: what pretraining gave is undone.", {"lr": 0.2}),
    "wrong_pretraining": Preset("Pretraining on other data: worse than none.", {"pretrain_data": UPRIGHT}),
    "arithmetic": Preset(
        "Subtracting a task vector makes the network forget the task.", {"pretrain_steps": 100, "task_scale": 1.0}
    ),
}
