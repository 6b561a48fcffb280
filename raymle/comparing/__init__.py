"""The trade-off table of runs, of which some may have to be trained first."""

from raymle.comparing.names import check as check
from raymle.comparing.names import known as known
from raymle.comparing.names import names_of as names_of
from raymle.comparing.table import compare as compare
from raymle.comparing.table import of_records as of_records
from raymle.comparing.table import plan_runs as plan_runs
from raymle.comparing.table import publish as publish
from raymle.comparing.table import records as records
from raymle.comparing.table import write as write
from raymle.comparing.variants import plan as plan
from raymle.comparing.variants import train as train
from raymle.comparing.variants import variants as variants
