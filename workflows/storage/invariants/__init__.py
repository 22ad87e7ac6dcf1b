"""What must hold over the whole database, as data: a name, and the SQL that finds whoever breaks it.

Every statement selects one text a violation. They read the tables only, never the code that writes them: a judge must not share
the mistakes of the judged, so that even the order of the legs' states is written down here anew.
"""

from workflows.storage.invariants.form import Invariant
from workflows.storage.invariants.money import MONEY
from workflows.storage.invariants.states import STATES
from workflows.storage.invariants.work import RECORDS, WORK

__all__ = ["IN_SQL", "Invariant"]

IN_SQL = MONEY + STATES + WORK + RECORDS
