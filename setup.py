"""The `bottleneck-features` distribution.

Beam's remote workers build and install it from here as well (`--setup_file`), so this file reads nothing
but itself. The exact versions that are developed and tested against are in `requirements.lock`.
"""

from setuptools import find_packages, setup

setup(
    name="bottleneck-features",
    version="0.1.0",
    description="Run Inception V3 once over a set of images; train small models from the stored features.",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    # Said outright, it makes the editable install a plain path, which new packages need no set-up for.
    package_dir={"": "."},
    packages=find_packages(include=["features*", "heads*", "pipelines*"]),
    entry_points={"console_scripts": ["bottlenecks = pipelines.cli:run"]},
    install_requires=[
        "apache-beam>=2.72,<3",
        "deltalake>=1.6,<2",
        "duckdb>=2,<3",
        "h5py>=3.11,<4",
        "keras>=3.12,<4",
        "numpy>=2.1,<3",
        "opencv-python-headless>=4.11,<6",
        "openvino>=2025.3",
        "pandas>=2.2,<4",
        "pillow>=11.3,<13",
        "pillow-heif>=1,<2",
        "pooch>=1.8,<2",
        "pyarrow>=20",
        "requests>=2.31,<3",
        "scikit-learn>=1.9,<2",
        "simplejpeg>=1.8,<2",
        "skops>=0.12,<1",
        # 2.21 is the first TensorFlow without TensorBoard and what comes with it: ask for no older one.
        "tensorflow>=2.21,<3",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        # setuptools builds the editable install, without isolation: see `setup` in the Makefile.
        "dev": [
            "mypy>=1.14",
            "packaging>=24",
            "polars>=1.20",
            "pytest>=8.3",
            "ruff>=0.9",
            "setuptools>=77",
        ],
        # tf2onnx is what Keras exports to ONNX with.
        "bench": ["onnxruntime>=1.20", "tf2onnx>=1.17"],
    },
)
