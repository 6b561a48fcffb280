"""How good a model is: repeatable on validation rows, once on sealed ones."""

from raymle.evaluate.compare import Comparison as Comparison
from raymle.evaluate.compare import Row as Row
from raymle.evaluate.compare import compared as compared
from raymle.evaluate.evaluator import check as check
from raymle.evaluate.evaluator import known as known
from raymle.evaluate.evaluator import measure as measure
from raymle.evaluate.evaluator import on_table as on_table
from raymle.evaluate.evaluator import validation as validation
from raymle.evaluate.forms import Form as Form
from raymle.evaluate.forms import Validation as Validation
from raymle.evaluate.forms import compared_forms as compared_forms
from raymle.evaluate.judged import Evaluated as Evaluated
from raymle.evaluate.ledger import verify as verify
from raymle.evaluate.ledger import was_tested as was_tested
from raymle.evaluate.limits import MEASURED as MEASURED
from raymle.evaluate.limits import Candidate as Candidate
from raymle.evaluate.limits import asked as asked
from raymle.evaluate.limits import first_within as first_within
from raymle.evaluate.unseal import receipt as receipt
from raymle.evaluate.unseal import score as score
