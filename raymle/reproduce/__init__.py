"""Whether a run comes out the same when it is made again from its raw data and its recorded code."""

from raymle.reproduce.again import plan as plan
from raymle.reproduce.again import rerun as rerun
