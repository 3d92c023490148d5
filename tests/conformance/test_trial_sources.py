"""Every source of trials gives the same trials and keeps the promises of the training loop."""

from pathlib import Path
from urllib.parse import quote

import checkpoint_server
import pytest
from checkpoint_server import serving

from phyletic.checkpoints import Checkpoints
from phyletic.checkpoints.cached_blobs import CachedBlobs
from phyletic.checkpoints.http_blobs import HttpBlobs
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.credentials import Credentials
from phyletic.service.stored_checkpoints import StoredCheckpoints
from phyletic.study.study import Study
from phyletic.testing.trial_sources import SameTrialsConformance, TrialSourceConformance
from phyletic.workers.detached import detached_source


class TestThisProcessDirectly(TrialSourceConformance):
    here = True
    supervised = False

    def run(self, study, train, reload="changed"):
        train(study if reload == "changed" else study.source(reload=reload))


class TestDetachedSession(TrialSourceConformance):
    here = True
    supervised = False
    detached = True

    def run(self, study, train, reload="changed"):
        channel = OwnerChannel(study.owner)
        with (
            study,
            detached_source(
                channel,
                store=study.checkpoints,
                space=study.space,
                worker="far",
                lease_seconds=2.0,
                reload=reload,
                upload=self.upload,
            ) as trials,
        ):
            train(trials)


class TestDetachedSessionUploadingInTheBackground(TestDetachedSession):
    upload = "background"


class TestDetachedSessionWithCheckpointsOfAService(TrialSourceConformance):
    """The server decides from what the study has stored which checkpoints this worker may read and write."""

    here = True
    supervised = False
    detached = True

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path_factory, monkeypatch):
        self.folder = tmp_path_factory.mktemp("service")
        monkeypatch.setenv(
            "PYTHONPATH", str(Path(checkpoint_server.__file__).parent)
        )  # of processes that a test starts

    def run(self, study, train, reload="changed"):
        with study, serving(self.folder, studies=StoredCheckpoints(study.owner.database)) as server:
            address = f"{server.url}/v1/studies/{quote(study.name, safe='')}/checkpoints"
            remote = HttpBlobs(address, Credentials(server.token(study=study.name)))
            store = Checkpoints(CachedBlobs(remote, self.folder / "cache"))
            with detached_source(
                OwnerChannel(study.owner),
                store=store,
                space=study.space,
                worker="far",
                lease_seconds=2.0,
                reload=reload,
                upload=self.upload,
            ) as trials:
                train(trials)
            assert not server.sent, "this machine made all that it loaded"


class TestDetachedSessionUploadingToAServiceInTheBackground(TestDetachedSessionWithCheckpointsOfAService):
    upload = "background"


class TestRunInThisProcess(TrialSourceConformance):
    here = True

    def run(self, study, train, reload="changed"):
        study.run(train, workers=0, reload=reload, upload=self.upload, verbose=0)


class TestRunInThisProcessUploadingInTheBackground(TestRunInThisProcess):
    upload = "background"


class TestTwoWorkers(TrialSourceConformance):
    concurrent = 2

    def run(self, study, train, reload="changed"):
        study.run(train, workers=2, reload=reload, upload=self.upload, verbose=0)


class TestTwoWorkersUploadingInTheBackground(TestTwoWorkers):
    upload = "background"


@pytest.mark.parametrize("workers", [1, 3])
class TestOtherNumbersOfWorkers(SameTrialsConformance):
    @pytest.fixture(autouse=True)
    def count(self, workers):
        self.concurrent = workers

    def run(self, study, train, reload="changed"):
        study.run(train, workers=self.concurrent, reload=reload, verbose=0)


class OverTheService(TrialSourceConformance):
    """A server in this process, which owns the study's file meanwhile, and a client's study of it."""

    __test__ = False

    detached = True

    def run(self, study, train, reload="changed"):
        pytest.importorskip("grpc")
        from phyletic.service.server import serving

        study.close()
        with serving(study.storage, http_port=0) as server, Study(study.name, storage=self.url(server)) as remote:
            remote.owner.keep_trying(lease_seconds=2.0)
            self.train(remote, train, reload)

    def url(self, server):
        return server.url

    def train(self, remote, train, reload):
        raise NotImplementedError


class TestTwoWorkersOfTheService(OverTheService):
    __test__ = True
    concurrent = 2

    def train(self, remote, train, reload):
        remote.run(train, workers=2, reload=reload, upload=self.upload, verbose=0)


class TestTwoWorkersOfTheServiceUploadingInTheBackground(TestTwoWorkersOfTheService):
    upload = "background"


class TestThisProcessAsAWorkerOfTheService(OverTheService):
    __test__ = True
    here = True

    def train(self, remote, train, reload):
        remote.run(train, workers=0, reload=reload, verbose=0)


class TestALoopOverAStudyOfTheService(OverTheService):
    __test__ = True
    here = True
    supervised = False

    def train(self, remote, train, reload):
        train(remote if reload == "changed" else remote.source(reload=reload))


class TestTwoWorkersOverHttp(TestTwoWorkersOfTheService):
    def url(self, server):
        return server.http_url


class TestALoopOverHttp(TestALoopOverAStudyOfTheService):
    def url(self, server):
        return server.http_url
