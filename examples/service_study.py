"""Forty members of the Müller-Brown example, decided by a server and trained by workers anywhere.

    phyletic up service_study.py:study phyletic.problems.mueller_brown:train --workers 3

does all of it here. In separate terminals, or on separate machines:

    phyletic serve sqlite:///mueller-brown.db
    python service_study.py grpc://localhost:7070          # creates the study
    phyletic worker grpc://localhost:7070 mueller-brown phyletic.problems.mueller_brown:train     # as often as you like
"""

import sys

import phyletic as ph
from phyletic.problems import mueller_brown

study = ph.Study(
    "mueller-brown",
    space=mueller_brown.space(reach=5.0),
    metric="potential",
    mode="min",
    algorithm=ph.PBT(40, 4, explore=ph.Gaussian(0.2), synchronous=True),
    budget=ph.Budget(steps=160),
    storage=sys.argv[1] if __name__ == "__main__" else "sqlite:///mueller-brown.db",
    seed=0,
)
if __name__ == "__main__":
    print(study)
