"""Where a run is recorded: a local journal first, MLflow as soon as it can be reached."""

from raymle.tracking.code import tee_stdout as tee_stdout
from raymle.tracking.facts import describe as describe
from raymle.tracking.facts import describe_inputs as describe_inputs
from raymle.tracking.facts import record_result as record_result
from raymle.tracking.facts import record_study as record_study
from raymle.tracking.facts import reopen as reopen
from raymle.tracking.origin import has_changed as has_changed
from raymle.tracking.origin import is_described as is_described
from raymle.tracking.run import JournalRun as JournalRun
from raymle.tracking.run import MemoryRun as MemoryRun
from raymle.tracking.run import Run as Run
from raymle.tracking.run import new_id as new_id
from raymle.tracking.run import recorded_steps as recorded_steps
from raymle.tracking.run import send_pending as send_pending
from raymle.tracking.run import start as start
