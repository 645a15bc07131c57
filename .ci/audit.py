"""Known vulnerabilities of the installed versions, by pip-audit, and how many of them it could look up at all.

pip-audit calls a package that its service does not know "skipped", and ends well when it had to skip every one, as
behind a mirror that answers for downloads only: that is no audit, and is said so.
"""

from __future__ import annotations

import json
import subprocess
import sys

COMMAND = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off", "--timeout", "15"]


def main() -> int:
    done = subprocess.run([*COMMAND, "--format", "json"], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"no audit: the vulnerability service cannot be reached from here ({last[:200]})")
        return 1
    known = [package for package in packages if "vulns" in package]
    if not known:
        print(
            f"no audit: the vulnerability service cannot be asked from here (0 of {len(packages)} packages known to it)"
        )
        return 1
    found = [(package, one) for package in known for one in package["vulns"]]
    for package, one in found:
        mended = ", ".join(one.get("fix_versions") or ["none yet"])
        print(f"{package['name']} {package['version']}: {one['id']}, mended in {mended}")
    unknown = len(packages) - len(known)
    print(f"{len(found)} known vulnerabilities in {len(known)} packages; {unknown} could not be looked up")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
