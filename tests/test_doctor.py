"""The doctor's findings on made-up machines, and its real report of this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from insight import _cuda, doctor
from insight.doctor import attempt, gpus, horovod_build, packages, trial
from insight.doctor import hardware as machine
from insight.doctor.findings import FAIL, OK, WARN, Check, DoctorReport
from insight.machine.child import Ended
from insight.machine.usage import Load, Process

ROOT = Path(__file__).resolve().parent.parent
GOOD = {stage: {"found": "fine"} for stage in ("opencv", "mxnet", "operator", "train")}


def gpu(*capability, name="RTX", memory=24 << 30):
    return {"name": name, "capability": list(capability), "memory": memory}


def statuses(checks):
    return {check.name: check.status for check in checks}


def remedies(checks):
    return {check.name: check.remedy for check in checks if check.status != OK}


class TestGpus:
    def check(self, *cards, builds=("mxnet-cu112",), cuda=(12, 2), on_bus=True):
        return list(gpus.check_gpus({"gpus": list(cards), "cuda": list(cuda)}, list(builds), on_bus))

    def test_a_supported_card(self):
        checks = self.check(gpu(8, 6, name="RTX 3090"))
        assert statuses(checks) == {"driver": OK, "gpu(0)": OK}
        assert checks[1].found == "RTX 3090, 24 GiB, compute capability 8.6"

    def test_a_card_without_code(self):
        checks = self.check(gpu(8, 0), gpu(9, 0, name="H100"))
        assert statuses(checks) == {"driver": OK, "gpu(0)": OK, "gpu(1)": FAIL}
        assert "H100" in remedies(checks)["gpu(1)"]

    def test_the_cpu_build_does_not_use_a_card(self):
        checks = self.check(gpu(8, 6), builds=["mxnet"])
        assert statuses(checks)["gpu(0)"] == WARN
        assert remedies(checks)["gpu(0)"] == "run: pip uninstall -y mxnet, then pip install -e '.[cu112]'"

    @pytest.mark.parametrize(
        ("cuda", "status", "version"),
        [((10, 2), FAIL, "450.80.02"), ((11, 0), WARN, "520.61.05"), ((11, 7), WARN, "520.61.05"), ((11, 8), OK, None)],
    )
    def test_driver(self, cuda, status, version):
        checks = self.check(gpu(8, 6), cuda=cuda)
        assert statuses(checks)["driver"] == status
        assert version is None or version in remedies(checks)["driver"]

    def test_none(self):
        assert statuses(self.check(builds=["mxnet"], on_bus=False)) == {"NVIDIA": OK}

    @pytest.mark.parametrize(
        ("builds", "on_bus"), [(["mxnet"], True), (["mxnet-cu112"], False), (["mxnet-cu112"], True)]
    )
    def test_a_cuda_build_without_a_usable_gpu(self, builds, on_bus):
        asked = {"gpus": [], "error": "libcuda.so.1: cannot open shared object file"}
        (check,) = gpus.check_gpus(asked, builds, on_bus)
        assert check.status == WARN
        assert "libcuda.so.1" in check.found
        assert "apt-get install nvidia-driver" in check.remedy
        assert ("'.[cpu]'" in check.remedy) == (builds == ["mxnet-cu112"])

    def test_devices_to_try(self):
        asked = {"gpus": [gpu(9, 0), gpu(8, 6), gpu(3, 5), gpu(8, 9)]}
        assert gpus.devices_to_try(asked, ["mxnet-cu112"]) == ["gpu(1)", "gpu(3)"]
        assert gpus.devices_to_try(asked, ["mxnet"]) == []

    def test_a_driver_that_hangs(self, monkeypatch):
        monkeypatch.setattr(gpus, "run_child", lambda code, seconds: Ended([], None, "gave no answer within 60 s", ""))
        assert gpus.query_gpus() == {"error": "asking the driver gave no answer within 60 s", "gpus": []}


class TestLibraries:
    def test_all_there(self):
        (check,) = packages.check_libraries(True, lambda soname: True)
        assert (check.status, check.found) == (OK, "all 22 found")

    @pytest.mark.parametrize(("soname", "package"), [(so, p) for so, (p, _) in packages.SYSTEM_LIBRARIES.items()])
    def test_debian_package(self, soname, package):
        (check,) = packages.check_libraries(False, lambda name: name != soname)
        assert (check.name, check.status, check.remedy) == (soname, FAIL, f"apt-get install {package}")

    def test_nvidia_wheels(self, monkeypatch):
        monkeypatch.setattr(_cuda.Library, "path", lambda self: None)
        checks = list(packages.check_libraries(True, lambda name: name in packages.SYSTEM_LIBRARIES))
        assert [check.name for check in checks] == ["libz.so.1", *(lib.soname for lib in _cuda.LIBRARIES)]
        assert "nvidia-cudnn-cu11" in remedies(checks)["libcudnn.so.8"]
        assert remedies(checks)["libz.so.1"] == "apt-get install zlib1g"


class TestPackages:
    LINES = ("numpy<2,>=1.23", "rich>=12", 'mxnet==1.9.1; extra == "cpu"', 'mxnet-cu112==1.9.1; extra == "cu112"')

    def check(self, **versions):
        return list(packages.check_packages(list(self.LINES), lambda name: versions.get(name.replace("-", "_"))))

    def test_good(self):
        assert statuses(self.check(numpy="1.26.4", rich="15.0", mxnet="1.9.1")) == dict.fromkeys(
            ("numpy", "rich", "mxnet"), OK
        )

    def test_bad(self):
        checks = self.check(numpy="2.1.0", mxnet="1.8.0")
        assert statuses(checks) == {"numpy": FAIL, "rich": FAIL, "mxnet": WARN}
        assert remedies(checks)["numpy"] == "run: pip install 'numpy<2,>=1.23'"
        assert {check.name: check.found for check in checks}["rich"] == "missing, needs >=12"

    def test_a_checkout_that_is_not_installed(self):
        (check,) = packages.check_packages([], lambda name: None)
        assert (check.status, check.remedy) == (WARN, "run: pip install -e '.[cpu]'")

    @pytest.mark.parametrize(
        ("builds", "status"), [([], FAIL), (["mxnet"], OK), (["mxnet-cu112"], OK), (["mxnet", "mxnet-cu112"], FAIL)]
    )
    def test_builds(self, builds, status):
        (check,) = packages.check_builds(builds)
        assert check.status == status
        assert bool(check.remedy) == (status == FAIL)

    @pytest.mark.parametrize(
        ("name", "owns"),
        [("mxnet", True), ("mxnet-cu112", True), ("mxnet-cu102mkl", True), ("mxnet-model-server", False)],
    )
    def test_which_packages_are_builds(self, name, owns):
        assert bool(packages.BUILDS.fullmatch(name)) == owns


class TestMachine:
    @pytest.fixture(autouse=True)
    def idle(self, monkeypatch):
        """Sets the load of other processes on eight CPUs; initially 0."""

        def take(cores, *processes):
            load = None if cores is None else Load(cores, [Process(*process) for process in processes])
            monkeypatch.setattr(machine.usage, "watch", lambda seconds: load)

        monkeypatch.setattr(machine, "physical_cores", lambda: 8)
        monkeypatch.setattr(machine.usage, "allowed_cpus", lambda: set(range(8)))
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        take(0.3)
        return take

    def load(self):
        (check,) = [check for check in machine.check_resources() if check.name == "load"]
        return check

    def test_an_idle_machine(self):
        assert (self.load().status, self.load().found) == (OK, "other processes take 0.3 of 8 CPUs")
        assert self.load().remedy == ""

    def test_a_busy_machine_lists_processes_and_the_remedy(self, idle):
        idle(2.4, ("python", 12, 1.02), ("cc1plus", 7, 0.94), ("ld", 9, 0.3), ("sh", 3, 0.1))
        check = self.load()
        assert check.status == WARN
        assert check.found == (
            "other processes take 2.4 of 8 CPUs: python (pid 12) 1.0, cc1plus (pid 7) 0.9, ld (pid 9) 0.3"
        )
        assert check.remedy.endswith("stop other processes, or train with OMP_NUM_THREADS=6")
        idle(2.4)  # hidden from this user
        assert self.load().found == "other processes take 2.4 of 8 CPUs"

    def test_where_the_load_is_unknown(self, idle):
        idle(None)
        assert "load" not in statuses(machine.check_resources())

    @pytest.mark.parametrize(("threads", "status"), [("6", OK), ("8", OK), ("5", WARN)])
    def test_fewer_threads_are_right_on_a_busy_machine(self, idle, monkeypatch, threads, status):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        idle(2.4)
        assert statuses(machine.check_resources())["threads"] == status
        idle(0.1)
        assert statuses(machine.check_resources())["threads"] == (OK if threads == "8" else WARN)

    def test_hyper_threads_leave_room(self, idle, monkeypatch):
        """Four cores of eight CPUs: four threads get one each beside two others."""
        monkeypatch.setattr(machine, "physical_cores", lambda: 4)
        idle(2.0)
        assert self.load().remedy.endswith("stop other processes")

    def test_threads(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        assert statuses(machine.check_resources())["threads"] == OK
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        checks = list(machine.check_resources())
        assert remedies(checks)["threads"].endswith("the physical cores: 8")
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert statuses(machine.check_resources())["threads"] == OK

    def test_little_memory(self, monkeypatch):
        monkeypatch.setattr(machine, "_available_memory", lambda: 1 << 30)
        assert statuses(machine.check_resources())["memory"] == WARN
        monkeypatch.setattr(machine, "_available_memory", lambda: None)  # unknown
        assert "memory" not in statuses(machine.check_resources())

    @pytest.mark.parametrize("version", [(3, 8, 18), (3, 13, 0)])
    def test_wrong_python(self, monkeypatch, version):
        monkeypatch.setattr(sys, "version_info", version)
        assert statuses(machine.check_machine())["python"] == FAIL

    def test_no_wheel(self, monkeypatch):
        monkeypatch.setattr(machine.platform, "machine", lambda: "riscv64")
        assert statuses(machine.check_machine())["platform"] == FAIL

    def test_settings(self, monkeypatch):
        monkeypatch.setenv("MXNET_ENGINE_TYPE", "NaiveEngine")
        monkeypatch.setenv("SECRET_OMP_KEY", "x")
        monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX2")
        value = {check.name: check.found for check in machine.check_machine()}["settings"]
        assert "MXNET_ENGINE_TYPE=NaiveEngine" in value and "DNNL_MAX_CPU_ISA=AVX2" in value
        assert "SECRET" not in value


class TestTrial:
    def check(self, device, timeout=300.0, **stages):
        return list(trial.check_trial(device, stages, timeout))

    def test_good(self):
        checks = self.check("cpu", **GOOD, end={})
        assert statuses(checks) == dict.fromkeys(("cpu opencv", "cpu mxnet", "cpu operator", "cpu train"), OK)
        assert trial.trains({**GOOD, "end": {}})

    @pytest.mark.parametrize(
        ("error", "remedy"),
        [
            ("ImportError: libGL.so.1: cannot open shared object file: No such file", "apt-get install libgl1"),
            (
                "ImportError: libfoo.so.3: cannot open shared object file",
                "find its package: apt-file search libfoo.so.3",
            ),
            ("ModuleNotFoundError: No module named 'cv2'", "in insight's checkout run: pip install -e '.[cpu]'"),
            ("MXNet is not installed; run: pip install -e '.[cpu]'", ""),
        ],
    )
    def test_remedies(self, error, remedy):
        (check,) = self.check("cpu", opencv={"error": error})
        assert (check.status, check.remedy) == (FAIL, remedy)
        assert not trial.trains({**GOOD, "opencv": {"error": error}})

    @pytest.mark.parametrize("stage", ["opencv", "train"])
    def test_training_needs(self, stage):
        assert not trial.trains({name: facts for name, facts in GOOD.items() if name != stage})

    def test_a_gpu_that_hangs(self):
        checks = self.check("gpu(0)", mxnet={"found": "1.9.1"}, death="gave no answer within 300 s")
        assert statuses(checks) == {"gpu(0) mxnet": OK, "gpu(0)": FAIL}
        assert checks[-1].found == "gave no answer within 300 s, after: mxnet"
        assert "try --timeout 1200" in checks[-1].remedy

    @pytest.mark.parametrize(
        ("death", "remedy"), [("died of SIGILL", "newer processor"), ("died of SIGKILL", "memory")]
    )
    def test_signals(self, death, remedy):
        (check,) = self.check("cpu", death=death)
        assert "after: nothing" in check.found
        assert remedy in check.remedy

    def test_each_failure_on_a_gpu_has_a_remedy(self):
        (check,) = self.check("gpu(0)", operator={"error": "MXNetError: no kernel image is available"})
        assert "CUDA_VISIBLE_DEVICES=" in check.remedy

    @pytest.mark.parametrize(
        ("half", "value"),
        [
            (1.0, "convolves 2.0 times as fast as in float32"),
            (8.0, "convolves 0.2 times as fast as in float32: train in float32"),
            (None, "not on this processor: train in float32"),
        ],
    )
    def test_bfloat16(self, monkeypatch, half, value):
        seconds = [2.0, half]  # of float32 first

        def quickest(mx, data, weight):
            duration = seconds.pop(0)
            if duration is None:
                raise mx.MXNetError("could not create a primitive descriptor iterator")
            return duration

        monkeypatch.setattr(attempt, "_quickest", quickest)
        assert attempt._bfloat16("cpu") == value

    def test_a_network_that_does_not_learn(self, monkeypatch):
        monkeypatch.setattr(attempt, "_step", lambda *args: float("nan"))
        with pytest.raises(ArithmeticError, match="loss does not fall"):
            attempt._train("cpu")


class TestHorovod:
    def check(self, monkeypatch, version, *answer):
        monkeypatch.setattr(horovod_build, "run_child", lambda code, timeout: Ended(*answer))
        (check,) = horovod_build.check_horovod(version)
        return check

    def test_not_installed(self, monkeypatch):
        check = self.check(monkeypatch, None)
        assert (check.status, check.remedy) == (OK, "")
        assert "make_environment distributed" in check.found

    def test_installed(self, monkeypatch):
        check = self.check(monkeypatch, "0.28.1", [{"controllers": ["MPI", "Gloo"], "nccl": True}], 0, "", "")
        assert check.status == OK
        assert check.found == "0.28.1, ranks are connected by MPI and Gloo, and add up on GPUs by NCCL"

    def test_does_not_load(self, monkeypatch):
        check = self.check(monkeypatch, "0.28.1", [], 1, "failed: ImportError: mpi_lib", "")
        assert (check.status, check.found) == (WARN, "0.28.1, does not load: failed: ImportError: mpi_lib")
        assert "make_environment distributed" in check.remedy


class TestReport:
    @pytest.fixture
    def quick(self, monkeypatch):
        """No child processes: the CPU trains, one GPU fits and hangs."""
        answers = {"cpu": {**GOOD, "end": {}}, "gpu(0)": {"death": "gave no answer within 300 s"}}
        monkeypatch.setattr(doctor, "probe", lambda device, timeout: answers[device])
        monkeypatch.setattr(doctor, "query_gpus", lambda: {"gpus": [gpu(8, 6)], "cuda": [12, 2]})
        monkeypatch.setattr(doctor, "installed_builds", lambda: ["mxnet-cu112"])
        return answers

    def test_trains_on_lists_devices_that_trained(self, quick):
        report = doctor.examine()
        assert report.trains_on == ["cpu"]
        assert statuses(report.checks)["gpu(0)"] == FAIL
        quick["gpu(0)"] = {**GOOD, "end": {}}
        assert doctor.examine().trains_on == ["cpu", "gpu(0)"]

    @pytest.mark.parametrize(
        "name", ["check_machine", "check_resources", "requirements", "query_gpus", "installed_builds"]
    )
    def test_a_check_that_raises_is_a_line(self, quick, monkeypatch, name):
        def broken():
            raise PermissionError("sealed")

        monkeypatch.setattr(doctor, name, broken)
        report = doctor.examine()
        assert any(check.found == "failed: PermissionError: sealed" for check in report.checks)
        assert report.trains_on == ["cpu"]

    def test_plain_lines(self):
        from insight.cli.doctor import _lines

        report = DoctorReport(
            [Check("machine", "python", OK, "3.11"), Check("libraries", "libGL.so.1", FAIL, "missing", "do")], []
        )
        assert list(_lines(report)) == [
            "ok    machine    python      3.11",
            "FAIL  libraries  libGL.so.1  missing",
            "                             -> do",
            "Training cannot run here.",
        ]

    def test_table(self, capsys):
        pytest.importorskip("rich")
        from insight.cli.doctor import _print_table

        assert _print_table(
            DoctorReport([Check("trial", "cpu", FAIL, "found [bold]this[/bold]", "do that")], ["gpu(0)"])
        )
        out = capsys.readouterr().out
        assert "found [bold]this[/bold]" in out  # a path in brackets is not markup
        assert "→ do that" in out
        assert "Training runs on: gpu(0)" in out


def run_doctor(*args, **environment):
    code = "import sys; from insight.cli import main; sys.exit(main(['doctor', *sys.argv[1:]]))"
    path = os.pathsep.join([environment.pop("PYTHONPATH", ""), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": path},
    )


class TestThisMachine:
    def test_trains_on_the_cpu(self):
        done = run_doctor("--json")
        report = json.loads(done.stdout)
        assert done.returncode == 0, report
        assert report["can_train"] is True
        assert "cpu" in report["trains_on"]
        (half,) = [check for check in report["checks"] if check["name"] == "cpu bfloat16"]
        assert half["status"] == "ok" and ("convolves" in half["found"] or "not on this processor" in half["found"])
        assert {"section", "name", "status", "found", "remedy"} == set(report["checks"][0])

    def test_where_nothing_is_installed(self, tmp_path):
        (tmp_path / "sitecustomize.py").write_text(
            "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p and 'dist-packages' not in p]"
        )
        done = run_doctor(PYTHONPATH=str(tmp_path))
        assert (done.returncode, done.stderr) == (1, "")
        assert "MXNet is not installed; run: pip install -e '.[cpu]'" in done.stdout
        assert done.stdout.endswith("Training cannot run here.\n")

    def test_where_mxnet_lacks_a_library(self, tmp_path):
        (tmp_path / "mxnet").mkdir()
        (tmp_path / "mxnet/__init__.py").write_text("raise OSError('libquadmath.so.0: cannot open shared object file')")
        done = run_doctor(PYTHONPATH=str(tmp_path))
        assert (done.returncode, done.stderr) == (1, "")
        assert "-> apt-get install libquadmath0\n" in done.stdout

    @pytest.mark.parametrize("timeout", ["0", "-1", "nan"])
    def test_bad_timeout(self, timeout):
        done = run_doctor("--timeout", timeout)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
