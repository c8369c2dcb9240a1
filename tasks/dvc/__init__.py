"""DVC and git: data are added and pushed, stages brought up to date, generations opened, sealed and made again."""
