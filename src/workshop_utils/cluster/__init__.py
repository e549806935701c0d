"""Where to run: the site, Slurm, requests and jobs."""
