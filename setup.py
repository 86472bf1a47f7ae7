"""Package metadata and the native build.

The version and the dependencies are stated here only.
"""

import subprocess
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

TENSORBOARD = ["tensorboard>=2.20"]
SEARCH = ["cmaes>=0.11", "gymnasium>=1.1", "optuna>=5"]
SCALE = ["psycopg[binary]>=3.2", "ray>=2.50", *SEARCH]
DOCS = ["mkdocs-material>=9.7", "mkdocstrings-python>=2"]
NOTEBOOKS = ["ipykernel>=7", "matplotlib>=3.10", "nbclient>=0.10"]
TFMOT = ["tensorflow-model-optimization>=0.8.1", "tf_keras>=2.21"]


class NativeCore(build_ext):
    """Builds the C core with CMake; without a compiler the rest still installs."""

    def build_extension(self, extension):
        """Puts the library next to the sources, or to their copy in the wheel."""
        source = Path("tfcompress/native").resolve()
        build = Path(self.build_temp).resolve() / "native"
        packaged = Path(self.get_ext_fullpath(extension.name)).resolve().parent
        target = source if self.editable_mode else packaged
        try:
            configure = ["cmake", "-S", source, "-B", build, "-G", "Ninja"]
            subprocess.run([*configure, "-DCMAKE_BUILD_TYPE=Release"], check=True)
            subprocess.run(["cmake", "--build", build], check=True)
            install = ["cmake", "--install", build, "--prefix", target, "--strip"]
            subprocess.run(install, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(f"the native core was not built: {error}") from error


class Wheel(bdist_wheel):
    """A wheel for one platform and any Python: the core does not link to Python."""

    def get_tag(self):
        """`py3-none-<platform>`."""
        return "py3", "none", super().get_tag()[2]


setup(
    name="tfcompress",
    version="0.1.0",
    description="Network compression for Keras 3 on TensorFlow",
    long_description=(Path(__file__).parent / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords="keras tensorflow tflite pruning quantization distillation compression",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    ext_modules=[Extension("tfcompress.native.core", sources=[], optional=True)],
    cmdclass={"build_ext": NativeCore, "bdist_wheel": Wheel},
    # Once installed, the command line is a package next to tfcompress: importing
    # tfcompress.cli would import TensorFlow before the first line of --help.
    packages=[
        *find_packages(include=["tfcompress*"], exclude=["tfcompress.cli"]),
        "tfcompress_cli",
    ],
    package_dir={"tfcompress_cli": "tfcompress/cli"},
    package_data={
        "": ["*.pyi"],
        "tfcompress": [
            "py.typed",
            "measuring/*.html",
            "interop/_tfmot_child/*.py",
            "recipes/files/*.yaml",
        ],
        "tfcompress.native": ["CMakeLists.txt", "*.[ch]", "*/*.[ch]"],
    },
    install_requires=[
        "absl-py",
        "ai-edge-litert>=2.3",
        "h5py",
        "keras>=3.15",
        "numpy",
        "pyyaml",
        "rich",
        "scikit-learn",
        "scipy",
        "tensorflow>=2.21",
        "tensorly",
    ],
    extras_require={
        # TensorFlow no longer installs it, and tf.summary raises without it.
        "tensorboard": TENSORBOARD,
        # The Keras 2 toolkit, to compare with ours; it needs absl-py below 2.
        "tfmot": TFMOT,
        # Engines of tfc.search that learn.
        "search": SEARCH,
        # Searches on many machines: a driver for PostgreSQL, and Ray.
        "scale": SCALE,
        # To open notebooks/ with Jupyter, or to execute them.
        "notebooks": NOTEBOOKS,
        "all": SCALE + TENSORBOARD + TFMOT,
        # tflite-micro: an independent decoder of our files.
        "test": [
            "pytest>=8",
            "pytest-xdist",
            "tflite-micro",
            *SCALE,
            *TENSORBOARD,
            *TFMOT,
            *NOTEBOOKS,
        ],
        # The documentation site.
        "docs": DOCS,
        "dev": [
            "clang-format",
            "codespell",
            "import-linter",
            "mypy",
            "pre-commit",
            "ruff",
            *DOCS,
        ],
    },
    entry_points={"console_scripts": ["tfcompress = tfcompress_cli.main:run"]},
)
