"""Forty members of the Müller-Brown example, decided by a server and trained by workers anywhere.

    phyletic up service_study.py:study service_study.py:train --workers 3

does all of it here. In separate terminals, or on separate machines:

    phyletic serve sqlite:///mueller-brown.db
    python service_study.py grpc://localhost:7070                                  # creates the study
    phyletic worker grpc://localhost:7070 mueller-brown service_study.py:train     # as often as you like
"""

import sys

import phyletic as ph
from phyletic.problems import mueller_brown

train = mueller_brown.train


def make(storage):
    return ph.Study(
        "mueller-brown",
        space=mueller_brown.space(reach=5.0),
        metric="potential",
        mode="min",
        algorithm=ph.PBT(40, 4, explore=ph.Gaussian(0.2), synchronous=True),
        budget=ph.Budget(steps=160),
        storage=storage,
        seed=0,
    )


if __name__ == "__main__":
    print(make(sys.argv[1] if len(sys.argv) > 1 else "grpc://localhost:7070"))
elif "phyletic.cli" in sys.modules:
    study = make("sqlite:///mueller-brown.db")
