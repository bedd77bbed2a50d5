"""Training refiners: from a TOML file to a refiner's folder. Importing its modules imports torch."""

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read at its import: no chatter unless asked for
