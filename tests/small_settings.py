"""Settings of any experiment that train quickly."""

from contextlib import suppress

from dyntoolkit.errors import InputError


def small(experiment):
    """Those of the last preset, sizes and lengths a thirtieth of their default, or as near as is allowed."""
    config = experiment.configure(list(experiment.presets)[-1])
    for name, slider in config.sliders().items():
        value = getattr(config, name)
        if slider.structural and isinstance(value, int) and not isinstance(value, bool):
            with suppress(InputError):
                config = config.replace(**{name: max(int(slider.low), value // 30)})
    return config
