"""The proposer: what the image should change about itself, and why.

A proposer takes the window of logs and the present settings and answers with a proposal or the reason for
none. `turn_budget.py` is the one behind it now.
"""

from temporalio import activity

from activities.optimizer.turn_budget import propose
from messages.loops import OptimizerAnswer, OptimizerRequest


@activity.defn
async def propose_amendment(request: OptimizerRequest) -> OptimizerAnswer:
    """Look at the logs and ask for a change of the settings, or say why not."""
    return propose(request)
