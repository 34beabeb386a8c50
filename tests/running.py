"""A `resultsfw controller` as a process, whose log and status pages are at hand."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request

CONTROLLER = (sys.executable, "-W", "error", "-m", "resultsfw.cli", "controller")


class Running:
    """A controller process."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        self.lines = []
        self.said = threading.Condition()
        self.ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.said:
                self.lines.append(line)
                self.said.notify_all()
        with self.said:
            self.ended = True
            self.said.notify_all()

    def wait_for(self, text, seconds=15, times=1):
        """Until so many lines say that; the first, decoded."""
        with self.said:
            assert self.said.wait_for(
                lambda: self.ended or sum(text in one for one in self.lines) >= times, seconds
            ), self.lines
            found = [one for one in self.lines if text in one]
            assert len(found) >= times, self.lines
            return json.loads(found[0])

    def page(self, path):
        port = self.wait_for("status pages on port")["message"].rpartition(" ")[2]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def signal(self, number, seconds=25):
        """Send a signal, and wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds=25):
        status = self.process.wait(seconds)
        self._reader.join(5)
        self.process.stderr.close()
        return status
