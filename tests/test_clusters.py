"""The examples for clusters are well formed, and handle the exit codes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_slurm_script_is_bash_and_requeues_after_75() -> None:
    script = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash" and "#SBATCH --signal=USR1@120" in lines
    ends = lines.index('if [ "$code" -eq 75 ]; then # try again')
    assert lines[ends + 1].strip() == 'scontrol requeue "$SLURM_JOB_ID"'


def test_the_kubernetes_job_tries_again_after_75_and_not_after_2() -> None:
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never", "a podFailurePolicy asks for it"
    assert pod["terminationGracePeriodSeconds"] >= 60
    codes = {
        code: rule["action"]
        for rule in job["spec"]["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
        for code in rule["onExitCodes"]["values"]
    }
    assert codes == {2: "FailJob", 75: "Ignore"}
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment.keys() == {"WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
    assert int(environment["WORLD_SIZE"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert environment["MASTER_ADDR"] == f"{job['metadata']['name']}-0.{pod['subdomain']}"
