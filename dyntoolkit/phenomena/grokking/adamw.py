from dyntoolkit.phenomena.grokking._training import adamw as adamw
