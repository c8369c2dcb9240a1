"""What every test shares: shapes are checked at run time, and no test reaches beyond this machine."""

from __future__ import annotations

import os

# set before any of the packages is imported
os.environ.update(
    DO_NOT_TRACK="1",
    DVC_NO_ANALYTICS="1",
    GX_ANALYTICS_ENABLED="False",
    MLFLOW_DISABLE_TELEMETRY="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    HF_HUB_OFFLINE="1",
)

from jaxtyping import install_import_hook

# a wrong shape or dtype anywhere in the equations is an error at the call that made it
install_import_hook(
    ["oltr_core.models", "oltr_core.losses", "oltr_core.samplers", "oltr_core.scores", "oltr_core.learners"],
    "beartype.beartype",
)
