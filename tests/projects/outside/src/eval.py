"""A second application beside the one that trains."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="../configs", config_name="eval.yaml")
def main(cfg: DictConfig) -> None:
    """Test a checkpoint."""
    print(f"evaluates {cfg.ckpt_path}")


if __name__ == "__main__":
    main()
