"""Windows: a task of the Task Scheduler, started when the user logs on. Never run on Windows by its authors.

Decides: the task (its schema is "Task Scheduler Schema", version 1.2) and what schtasks is asked. Does
not know: the daemon.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as Xml

from p2pchat_cli.services.shared import Job, Stands, ask, holds, put, refuse

SCHEMA: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"


class Scheduler:
    """The Task Scheduler, by the account that is logged on."""

    system = "windows"

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        domain, name = environ.get("USERDOMAIN", ""), environ.get("USERNAME", "")
        self._user = f"{domain}\\{name}" if domain else name

    def install(self, job: Job, *, start: bool) -> Stands:
        """See Service."""
        put(self._file(job), task(job, self._user))
        said = ask("schtasks", "/Create", "/TN", job.name, "/XML", str(self._file(job)), "/F")
        if said.code:
            raise refuse("the Task Scheduler does not take it", said, "start it by hand: `p2pchat up`")
        if start:
            ask("schtasks", "/Run", "/TN", job.name)
        return self.stands(job)

    def uninstall(self, job: Job) -> Stands:
        """See Service."""
        if self._file(job).exists():
            ask("schtasks", "/End", "/TN", job.name)
            ask("schtasks", "/Delete", "/TN", job.name, "/F")
            self._file(job).unlink()
        return self.stands(job)

    def stands(self, job: Job) -> Stands:
        """See Service. Whether it runs is told in the user's language, so it is not read."""
        installed = self._file(job).exists()
        known = ask("schtasks", "/Query", "/TN", job.name).code == 0 if installed else False
        current = holds(self._file(job), task(job, self._user))
        return Stands(str(self._file(job)), installed, current, known, None, "login" if installed else "")

    def _file(self, job: Job) -> Path:
        return self._folder / f"{job.name}-task.xml"


def task(job: Job, user: str) -> bytes:
    """The task as XML in UTF-16, which is what schtasks takes.

    A task has no environment, so it is set by the command interpreter where there is one to set.
    """
    program, words = job.words[0], list(job.words[1:])
    if job.environment:
        sets = " && ".join(f'set "{name}={value}"' for name, value in job.environment)
        inner = subprocess.list2cmdline([program, *words])
        program, arguments = "cmd.exe", f'/d /s /c "{sets} && {inner}"'
    else:
        arguments = subprocess.list2cmdline(words)
    root = Xml.Element("Task", {"version": "1.2", "xmlns": SCHEMA})
    _add(root, "RegistrationInfo", Description=job.title)
    _add(_add(root, "Triggers"), "LogonTrigger", Enabled="true", UserId=user)
    principal = _add(
        _add(root, "Principals"),
        "Principal",
        UserId=user,
        LogonType="InteractiveToken",
        RunLevel="LeastPrivilege",
    )
    principal.set("id", "Author")
    settings = _add(
        root,
        "Settings",
        MultipleInstancesPolicy="IgnoreNew",
        DisallowStartIfOnBatteries="false",
        StopIfGoingOnBatteries="false",
        StartWhenAvailable="true",
        ExecutionTimeLimit="PT0S",  # for ever
    )
    _add(settings, "RestartOnFailure", Interval="PT1M", Count="10")
    actions = _add(root, "Actions")
    actions.set("Context", "Author")
    _add(actions, "Exec", Command=program, Arguments=arguments)
    text: str = Xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{text}\n'.encode("utf-16")


def _add(parent: Xml.Element, name: str, **values: str) -> Xml.Element:
    """A child with children of its own that hold text."""
    child = Xml.SubElement(parent, name)
    for key, value in values.items():
        Xml.SubElement(child, key).text = value
    return child
