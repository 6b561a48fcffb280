"""From a source to prepared splits: what each column is, who goes where, what a model sees."""

from raymle.data.blocks import read as read
from raymle.data.infer import infer_roles as infer_roles
from raymle.data.infer import words as words
from raymle.data.infer import words_of as words_of
from raymle.data.prepare import prepare as prepare
from raymle.data.series import infer as infer
from raymle.data.series import rewindowed as rewindowed
from raymle.data.shards import garbage as garbage
from raymle.data.source import TABLE as TABLE
from raymle.data.source import Source as Source
from raymle.data.source import fingerprint as fingerprint
from raymle.data.source import is_table as is_table
from raymle.data.source import resolve as resolve
from raymle.data.survey import blame as blame
