"""Compile the extensions; everything else is declared in ``pyproject.toml``.

The flags depend on the compiler, which a declaration cannot express. Every extension is optional: where it
cannot be compiled the package installs without it and runs on its NumPy reference.

``SKTSNE_BUILD`` names another kind of build, to look for errors with; there a failure to compile is one:

============ =========================================================================================
debug        every access to an array checks its bounds, and that the array is there
sanitize     that, and GCC's or Clang's AddressSanitizer and UndefinedBehaviorSanitizer
============ =========================================================================================
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The part of -ffast-math that lets sums be vectorized. The rest is left out on purpose: NaN and infinity
# keep their meaning, and nothing is linked that would change the floating-point state of the process.
UNIX_FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-freciprocal-math",
]
# "undefined" leaves out the conversion of a float to an integer that does not hold it.
SANITIZERS = ["-fsanitize=address,undefined,float-cast-overflow"]
SANITIZED_FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", *SANITIZERS]

KIND = os.environ.get("SKTSNE_BUILD", "release")
if KIND not in ("release", "debug", "sanitize"):
    raise ValueError(f"SKTSNE_BUILD must be 'release', 'debug' or 'sanitize', got {KIND!r}.")
CHECKED = KIND != "release"


class BuildExtensions(build_ext):
    def build_extensions(self) -> None:
        # The flags with which Python was built ask GCC and Clang for debug information, three quarters of a wheel.
        flags = ["/O2"] if self.compiler.compiler_type == "msvc" else [*UNIX_FLAGS, "-g" if CHECKED else "-g0"]
        for extension in self.extensions:
            extension.extra_compile_args = SANITIZED_FLAGS if KIND == "sanitize" else flags
            extension.extra_link_args = SANITIZERS if KIND == "sanitize" else []
            extension.optional = not CHECKED  # said here because cythonize does not hand it on
        self.force = self.force or CHECKED  # of a build of another kind nothing may stay
        self.parallel = self.parallel or os.cpu_count()
        super().build_extensions()


NATIVE = Path("sktsne", "_native")
EXTENSIONS = [Extension(f"sktsne._native.{path.stem}", [path.as_posix()]) for path in sorted(NATIVE.glob("*.pyx"))]

setup(
    ext_modules=cythonize(
        EXTENSIONS,
        build_dir=f"build/{KIND}" if CHECKED else "build",
        compiler_directives={
            "language_level": 3,
            "boundscheck": CHECKED,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": CHECKED,
            # Without this declaration an import would turn the GIL of a free-threaded interpreter on. The section
            # "Threads" of docs/promises.rst says why the extensions need no GIL.
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildExtensions},
)
