"""usage: python stand_in.py JARS ANDROID FOLDER

Assembles, from Maven Central, enough of Gradle and of an Android SDK to build apps:
FOLDER/dist and FOLDER/sdk.

JARS is the folder with the jars listed in pom.xml, ANDROID is the jar of android-all. The
engine is that of dev.gradleplugins:gradle-api. Gradle finds its modules by the names of
jars, so each gets a separate jar that lists dependencies and is otherwise empty.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

VERSION = "8.11.1"
ENGINE = "gradle-engine.jar"
JAVA = "8"
BEACON = "org/gradle/internal/installation/beacon/InstallationBeacon"
WITHOUT_CONTENT = ("gradle-java-compiler-plugin", "gradle-gradle-cli")
TOOLS = "aapt aapt2 aidl zipalign dexdump split-select llvm-rs-cc bcc_compat".split()
PROPERTIES = {
    "platforms/android-34/source.properties": """Pkg.Desc=Android SDK Platform 14
Platform.Version=14
AndroidVersion.ApiLevel=34
Pkg.Revision=3
Layoutlib.Api=15
Layoutlib.Revision=1
""",
    "platforms/android-34/build.prop": """ro.build.version.sdk=34
ro.build.version.release=14
""",
    "build-tools/34.0.0/source.properties": "Pkg.Revision=34.0.0\n",
}


def make_distribution(jars, folder):
    """Writes Gradle's engine in the layout that its launcher expects."""
    library = folder / "dist/lib"
    (library / "plugins").mkdir(parents=True)
    for path in jars.glob("*.jar"):
        shutil.copy(path, library)
    engine = (library / f"gradle-api-{VERSION}.jar").rename(library / ENGINE)
    # An index of packages: Java would not find what it omits.
    subprocess.run(["zip", "-q", "-d", engine, "META-INF/INDEX.LIST"], check=True)
    others = set()
    with zipfile.ZipFile(engine) as archive:
        for name in archive.namelist():
            if found := re.fullmatch(r"(gradle-.*)-classpath\.properties", name):
                text, needed = _in_engine(archive.read(name).decode())
                others |= needed
                _write_jar(library / f"{found[1]}-{VERSION}.jar", name, text)
    for name in WITHOUT_CONTENT:
        text = "projects=\nruntime=\n"
        _write_jar(
            library / f"{name}-{VERSION}.jar", f"{name}-classpath.properties", text
        )
    for name in others:
        if not (library / name).exists():
            _write_jar(library / name, "empty", "")
    _add_beacon(library / f"gradle-installation-beacon-{VERSION}.jar", folder)


def _in_engine(text):
    """Properties of a module whose code is in the engine, and the jars that it names."""
    lines = [line for line in text.splitlines() if "=" in line and line[0] != "#"]
    properties = dict(line.split("=", 1) for line in lines)
    needed = set(filter(None, properties.get("runtime", "").split(",")))
    properties["runtime"] = ENGINE
    return "".join(f"{key}={value}\n" for key, value in properties.items()), needed


def _add_beacon(jar, folder):
    """Adds the class whose location tells Gradle where it is installed."""
    package, _, name = BEACON.rpartition("/")
    folder = folder / "beacon"
    folder.mkdir()
    source = folder / f"{name}.java"
    source.write_text(
        f"package {package.replace('/', '.')};\npublic class {name} {{}}\n"
    )
    subprocess.run(["javac", "-d", folder, source], check=True)
    with zipfile.ZipFile(jar, "a") as archive:
        archive.write(folder / f"{BEACON}.class", f"{BEACON}.class")


def make_sdk(android, folder):
    """Writes a platform of Android 14 with Java 8, and build tools, never called."""
    sdk = folder / "sdk"
    tools = sdk / "build-tools/34.0.0"
    for part in "lib", "renderscript/include", "renderscript/clang-include":
        (tools / part).mkdir(parents=True)
    for name, text in PROPERTIES.items():
        (sdk / name).parent.mkdir(parents=True, exist_ok=True)
        (sdk / name).write_text(text)
    for name in TOOLS:
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    for name in "core-lambda-stubs.jar", "lib/d8.jar":
        _write_jar(tools / name, "empty", "")
    _write_platform(android, sdk / "platforms/android-34/android.jar")


def _write_platform(android, path):
    """Writes Android's classes, and the signatures of Java's classes."""
    home = pathlib.Path(shutil.which("javac")).resolve().parents[1]
    with (
        zipfile.ZipFile(android) as classes,
        zipfile.ZipFile(home / "lib/ct.sym") as signatures,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as output,
    ):
        # Android first: aapt2 sees at most 65,535 files, and needs the resources.
        content = {
            name: (classes, name) for name in classes.namelist() if name[-1] != "/"
        }
        for name, inside in _java(signatures.namelist()):
            content.setdefault(name, (signatures, inside))
        for name, (source, inside) in content.items():
            output.writestr(name, source.read(inside))


def _java(paths):
    """`(name of a class, path)` in Java 8; ct.sym has `releases/[module/]name.sig`."""
    for path in paths:
        releases, _, name = path.partition("/")
        if JAVA in releases and name.endswith(".sig"):
            first, _, rest = name.partition("/")
            name = rest if "." in first else name
            if name.startswith(("java/", "javax/")):
                yield f"{name.removesuffix('.sig')}.class", path


def _write_jar(path, name, text):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text)


if __name__ == "__main__":
    JARS, ANDROID, FOLDER = map(pathlib.Path, sys.argv[1:])
    make_distribution(JARS, FOLDER)
    make_sdk(ANDROID, FOLDER)
