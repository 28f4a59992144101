"""The settings of a run: their sections (`sections`), read from YAML and the command line (`config_file`)."""

from rftt.config.config_file import Config, from_dict, load_config, override

__all__ = ["Config", "from_dict", "load_config", "override"]
