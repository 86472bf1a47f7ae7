"""What a device reports about itself."""

import re

_PROPERTIES = {
    "abi": "ro.product.cpu.abi",
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "release": "ro.build.version.release",
    "api": "ro.build.version.sdk",
    "soc_maker": "ro.soc.manufacturer",
    "soc": "ro.soc.model",
    "board": "ro.board.platform",
}
_CONDITIONS = {
    "thermal_status": (r"Thermal Status: (\d+)", 1),
    "battery_percent": (r"\n\s*level: (\d+)", 1),
    "battery_celsius": (r"\n\s*temperature: (-?\d+)", 10),
}


def device_facts(adb):
    """The description of the device for result files."""
    names = list(_PROPERTIES.values())
    asked = "; ".join(f'echo "[$(getprop {name})]"' for name in names)
    found = re.findall(r"^\[(.*)\]\s*$", adb.checked(asked), re.MULTILINE)
    value = dict(zip(_PROPERTIES, (text.strip() for text in found), strict=True))
    cores = adb.checked("grep -c ^processor /proc/cpuinfo || true").strip()
    memory = re.search(r"MemTotal:\s*(\d+)", adb.checked("cat /proc/meminfo"))
    soc = f"{value['soc_maker']} {value['soc']}".strip() or value["board"]
    return {
        "kind": "android",
        "name": f"{value['manufacturer']} {value['model']}".strip() or adb.serial,
        "soc": soc or None,
        "system": f"Android {value['release']} (API {value['api']})",
        "abi": value["abi"],
        "num_cores": int(cores) if cores.isdigit() and int(cores) else 1,
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
    }


def conditions(adb, at_ms):
    """Heat and battery, as far as this version of Android reports them."""
    _, text = adb.shell("dumpsys thermalservice 2>&1; echo; dumpsys battery 2>&1")
    found = {
        name: re.search(pattern, text) for name, (pattern, _) in _CONDITIONS.items()
    }
    values = {
        name: match and int(match[1]) / _CONDITIONS[name][1]
        for name, match in found.items()
    }
    status = values.pop("thermal_status")
    return {
        "at_ms": at_ms,
        "thermal_status": None if status is None else int(status),
        **values,
    }
