"""What a terminal and a server need: the command line, its output, the gallery, Voila and JupyterLab."""
