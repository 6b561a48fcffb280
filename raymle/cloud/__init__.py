"""Work that goes to a cluster, and whether this machine is fit for it."""

from raymle.cloud.submit import check_storage as check_storage
from raymle.cloud.submit import in_job as in_job
