"""Package metadata. The version and the dependencies are stated here only."""

from pathlib import Path

from setuptools import find_packages, setup

TENSORBOARD = ["tensorboard>=2.20"]
TFMOT = ["tensorflow-model-optimization>=0.8.1", "tf_keras>=2.21"]

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
    packages=find_packages(include=["tfcompress", "tfcompress.*"]),
    package_data={
        "tfcompress": ["runtime/*.html", "interop/_tfmot_child/*.py"],
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
        # The Keras 2 toolkit, to measure beside ours; it holds absl-py below 2.
        "tfmot": TFMOT,
        "all": TENSORBOARD + TFMOT,
        "test": ["pytest>=8", *TENSORBOARD, *TFMOT],
        "dev": ["ruff"],
    },
    entry_points={"console_scripts": ["tfcompress = tfcompress.cli.main:run"]},
)
