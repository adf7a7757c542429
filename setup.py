"""Compile the extensions; everything else is declared in ``pyproject.toml``.

The flags depend on the compiler, which a declaration cannot express. Every extension is optional: where it
cannot be compiled the package installs without it and runs on its NumPy reference.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The part of -ffast-math that lets sums be vectorised. The rest is left out on purpose: NaN and infinity
# keep their meaning, and nothing is linked that would change the floating-point state of the process.
UNIX_FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-freciprocal-math",
]


class BuildExtensions(build_ext):
    def build_extensions(self) -> None:
        flags = ["/O2"] if self.compiler.compiler_type == "msvc" else UNIX_FLAGS
        for extension in self.extensions:
            extension.extra_compile_args = flags
            extension.optional = True  # said here because cythonize does not hand it on
        super().build_extensions()


NATIVE = Path("sktsne", "_native")
EXTENSIONS = [Extension(f"sktsne._native.{path.stem}", [path.as_posix()]) for path in sorted(NATIVE.glob("*.pyx"))]

setup(
    ext_modules=cythonize(
        EXTENSIONS,
        build_dir="build",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    ),
    cmdclass={"build_ext": BuildExtensions},
)
