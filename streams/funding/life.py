"""The life of an offer, of a loan and of a line, as tables: state x event -> next state.

An empty cell is a refusal, `wrong_state`. The tests print these tables and try every cell;
ARCHITECTURE.md shows them. Who may cause an event, and what money it moves, stands in
`streams/record.py`.
"""

import numpy as np

from streams.schema import LineAction, LineState, LoanState, LoanStep, OfferEvent, OfferState

_S, _E = OfferState, OfferEvent

OFFER_LIFE = {
    (_S.OFFERED, _E.ACCEPT): _S.ACCEPTED,  # a line's offer goes on to OPENED at once
    (_S.OFFERED, _E.CANCEL): _S.CANCELLED,
    (_S.OFFERED, _E.EXPIRE): _S.EXPIRED,
    (_S.ACCEPTED, _E.CANCEL): _S.CANCELLED,
    (_S.ACCEPTED, _E.EXPIRE): _S.EXPIRED,
    (_S.ACCEPTED, _E.DISBURSE): _S.DRAWN,
    (_S.ACCEPTED, _E.FAIL): _S.FAILED,
    (_S.DRAWN, _E.REPAY): _S.REPAID,
}

_L, _P = LoanState, LoanStep

LOAN_LIFE = {
    (_L.OPEN, _P.DUE): _L.OPEN,
    (_L.OPEN, _P.PAYMENT): _L.OPEN,
    (_L.OPEN, _P.REFUND): _L.OPEN,
    (_L.OPEN, _P.REVERSAL): _L.OPEN,
    (_L.OPEN, _P.WRITTEN_OFF): _L.WRITTEN_OFF,
    (_L.OPEN, _P.CLOSED): _L.CLOSED,
    (_L.WRITTEN_OFF, _P.PAYMENT): _L.WRITTEN_OFF,  # a recovery
    (_L.WRITTEN_OFF, _P.REFUND): _L.WRITTEN_OFF,
    (_L.WRITTEN_OFF, _P.REVERSAL): _L.WRITTEN_OFF,
    (_L.WRITTEN_OFF, _P.CLOSED): _L.CLOSED,
}

_N, _A = LineState, LineAction

# What stands already may be said again: it changes nothing.
LINE_LIFE = {
    (_N.ACTIVE, _A.FREEZE): _N.FROZEN,
    (_N.ACTIVE, _A.UNFREEZE): _N.ACTIVE,
    (_N.ACTIVE, _A.CLOSE): _N.CLOSED,
    (_N.ACTIVE, _A.LIMIT): _N.ACTIVE,
    (_N.FROZEN, _A.FREEZE): _N.FROZEN,
    (_N.FROZEN, _A.UNFREEZE): _N.ACTIVE,
    (_N.FROZEN, _A.CLOSE): _N.CLOSED,
    (_N.FROZEN, _A.LIMIT): _N.FROZEN,
    (_N.CLOSED, _A.CLOSE): _N.CLOSED,
}

OFFER_NEXT = np.full((len(OfferState), len(OfferEvent)), -1, np.int64)
for (_offer_state, _offer_event), _offer_next in OFFER_LIFE.items():
    OFFER_NEXT[_offer_state, _offer_event] = _offer_next

LOAN_NEXT = np.full((len(LoanState), len(LoanStep)), -1, np.int64)
for (_loan_state, _loan_step), _loan_next in LOAN_LIFE.items():
    LOAN_NEXT[_loan_state, _loan_step] = _loan_next

LINE_NEXT = np.full((len(LineState), len(LineAction)), -1, np.int64)
for (_line_state, _line_action), _line_next in LINE_LIFE.items():
    LINE_NEXT[_line_state, _line_action] = _line_next
