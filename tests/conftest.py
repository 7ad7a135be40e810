import torch

torch.set_num_threads(1)  # as the command line and the dashboards do: more threads slow such small networks down
