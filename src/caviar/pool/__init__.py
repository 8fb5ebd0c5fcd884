"""Trials side by side on one machine, one warm process each: `hydra/launcher=pool`.

    pool.py      which job runs where and when, and what became of it
    process.py   a job in its process, as the driver sees it; the server that forks it
    worker.py    the same from inside: the life of one process, from fork to result
    alone.py     what makes that process like one of a single run
    preload.py   what that server imports, once for all
    machine.py   cores and GPUs, dealt out in slots

What a user can say, such as `hydra.launcher.num_workers=8`, is in `hydra_plugins.caviar.launcher`.
"""
