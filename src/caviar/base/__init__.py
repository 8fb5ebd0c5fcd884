"""What everything stands on: errors, files, signals, the project's folder, the result of a run."""
