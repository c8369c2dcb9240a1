"""DVC and git: what points at data, how a generation is opened, sealed, verified and made again."""
