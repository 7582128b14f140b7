"""File systems that refuse to write a folder through, as a library that is loaded before all others."""

import shutil
import subprocess
from pathlib import Path

COMPILER = shutil.which("cc")

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The first FOLDERS_SYNCED folders are synced, every later one gives the error FOLDER_SYNC_ERROR. */
static int synced;

int fsync(int handle) {
    struct stat found;
    if (fstat(handle, &found) == 0 && S_ISDIR(found.st_mode) && synced++ >= atoi(getenv("FOLDERS_SYNCED"))) {
        errno = atoi(getenv("FOLDER_SYNC_ERROR"));
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(handle);
}
"""


def without_folder_sync(build: Path, error: int, synced: int = 0) -> dict[str, str]:
    """The environment of a program whose folders cannot be synced, after the first `synced` of them."""
    source, library = build / "failing.c", build / "failing.so"
    source.write_text(_SOURCE)
    compile_it = [str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(compile_it, check=True)
    return {"LD_PRELOAD": str(library), "FOLDER_SYNC_ERROR": str(error), "FOLDERS_SYNCED": str(synced)}
