"""Pickles of plain data, and of nothing else: what may be in a snapshot that somebody else has written.

A pickle is a program. Ours needs so few of its instructions that all others can be refused before any is
carried out: no name is looked up, nothing is called, nothing is referred to twice. So a pickle is as harmless
as JSON, and what it comes to is bounded by its size.
"""

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, NoReturn

DEEPEST = 64
"""Lists and dicts within each other; a state needs eight."""
FREE_BYTES, BYTES_FOR_A_BYTE = 64 * 1024 * 1024, 16
"""How much memory a pickle may unfold to: so much, and so much for each of its bytes."""

# What an item costs in CPython, and its place in a container.
_PLACE, _CONTAINER, _SCALAR, _TEXT = 8, 80, 40, 72
_KEY = -1  # on the scanner's stack: a text; 0 another scalar, n a container n deep
_SCALARS = {  # the bytes that follow, and what it costs
    pickle.NONE[0]: (0, _PLACE),
    pickle.NEWTRUE[0]: (0, _PLACE),
    pickle.NEWFALSE[0]: (0, _PLACE),
    pickle.BININT1[0]: (1, _PLACE),
    pickle.BININT2[0]: (2, _SCALAR),
    pickle.BININT[0]: (4, _SCALAR),
    pickle.BINFLOAT[0]: (8, _SCALAR),
}
_SIZED = {  # the struct of the length, and what it pushes
    pickle.SHORT_BINUNICODE[0]: ("<B", _KEY),
    pickle.BINUNICODE[0]: ("<I", _KEY),
    pickle.SHORT_BINBYTES[0]: ("<B", 0),
    pickle.BINBYTES[0]: ("<I", 0),
    pickle.LONG1[0]: ("<B", 0),
}


class NotPlain(ValueError):
    """A pickle that is more than plain data, or broken; the message says what stands in it, and where."""


def dump(value: object) -> bytes:
    """A value of dicts with text keys, lists, text, bytes, numbers, booleans and None.

    Written by dill without a memo, so that equal values give equal bytes and nothing refers back. Raises
    NotPlain for any other value: `load` would refuse it.
    """
    import dill  # noqa: PLC0415 (only the process that writes needs it)

    file = io.BytesIO()
    pickler = dill.Pickler(file, protocol=4)
    pickler.fast = True
    pickler.dump(value)
    data = file.getvalue()
    _Scanner(data).run()
    return data


def load(data: bytes) -> Any:
    """The value of a pickle, once a scan has found it plain. Raises NotPlain."""
    _Scanner(data).run()
    try:
        return _Closed(io.BytesIO(data)).load()
    except NotPlain:
        raise
    except Exception as error:
        raise NotPlain(f"it cannot be read ({type(error).__name__}: {error})") from None


class _Closed(pickle.Unpickler):
    """A second lock behind the scan: no name is ever looked up."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise NotPlain(f"it asks for {module_name}.{global_name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise NotPlain("it asks for a persistent object")


class _Scanner:
    """Follows a pickle without carrying it out. Raises NotPlain.

    The stack is one of numbers: `_KEY`, 0 or a depth; `marks` are the places of its marks.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._stack: list[int] = []
        self._marks: list[int] = []
        self._memory = FREE_BYTES + BYTES_FOR_A_BYTE * len(data)
        self._frame_end = 0
        self._collect: dict[int, Callable[[], None]] = {
            pickle.APPEND[0]: lambda: self._put_into(len(self._stack) - 1, pairs=False),
            pickle.SETITEM[0]: lambda: self._put_into(len(self._stack) - 2, pairs=True),
            pickle.APPENDS[0]: lambda: self._put_into(self._mark(), pairs=False),
            pickle.SETITEMS[0]: lambda: self._put_into(self._mark(), pairs=True),
            pickle.MARK[0]: lambda: self._marks.append(len(self._stack)),
            pickle.PROTO[0]: self._read_protocol,
            pickle.FRAME[0]: self._read_frame,
        }

    def run(self) -> None:
        data, stack = self._data, self._stack
        while True:
            if self._at >= len(data):
                self._refuse("it ends too early")
            opcode = data[self._at]
            self._at += 1
            if opcode in _SCALARS:
                size, cost = _SCALARS[opcode]
                self._skip(size)
                self._spend(cost)
                stack.append(0)
            elif opcode in _SIZED:
                self._read_sized(opcode)
            elif opcode in (pickle.EMPTY_DICT[0], pickle.EMPTY_LIST[0]):
                self._spend(_CONTAINER)
                # A list is told from a dict by an offset: only a dict takes keys.
                stack.append(1 if opcode == pickle.EMPTY_DICT[0] else 1 + DEEPEST)
            elif opcode in self._collect:
                self._collect[opcode]()
            elif opcode == pickle.STOP[0]:
                break
            else:
                self._refuse(f"the instruction 0x{opcode:02x} is not one of plain data")
        if len(stack) != 1 or self._marks or self._at != len(data):
            self._refuse("it does not end with one value")

    def _read_sized(self, opcode: int) -> None:
        layout, pushed = _SIZED[opcode]
        size = self._number(layout)
        self._skip(size)
        # A text of one wide character takes four bytes for each of its characters.
        self._spend(_TEXT + 4 * size)
        self._stack.append(pushed)

    def _put_into(self, start: int, pairs: bool) -> None:
        """Items from `start` on go into the container below them."""
        stack = self._stack
        if start < 1 or (self._marks and start < self._marks[-1] + 1):
            self._refuse("it puts something into nothing")
        items, container = stack[start:], stack[start - 1]
        is_dict = 1 <= container <= DEEPEST
        if container < 1 or is_dict is not pairs:
            self._refuse("it puts something into what cannot hold it")
        if pairs and (len(items) % 2 or any(key != _KEY for key in items[::2])):
            self._refuse("a key is not text")
        inner = max((_depth(item) for item in items), default=0)
        depth = max(_depth(container), inner + 1)
        if depth >= DEEPEST:
            self._refuse(f"it is more than {DEEPEST} deep")
        # Twice: a container grows in leaps.
        self._spend(2 * _PLACE * len(items))
        del stack[start:]
        stack[-1] = depth if is_dict else depth + DEEPEST

    def _mark(self) -> int:
        if not self._marks:
            self._refuse("a mark is missing")
        return self._marks.pop()

    def _read_protocol(self) -> None:
        if self._at != 1 or self._number("<B") != 4:
            self._refuse("its protocol is not 4")

    def _read_frame(self) -> None:
        size = self._number("<Q")
        if self._at < self._frame_end or size > len(self._data) - self._at:
            self._refuse("a frame is larger than what holds it")
        self._frame_end = self._at + size

    def _number(self, layout: str) -> int:
        width = struct.calcsize(layout)
        start = self._at
        self._skip(width)
        return int(struct.unpack_from(layout, self._data, start)[0])

    def _skip(self, size: int) -> None:
        if size > len(self._data) - self._at:
            self._refuse("it names more bytes than there are")
        self._at += size

    def _spend(self, size: int) -> None:
        self._memory -= size
        if self._memory < 0:
            self._refuse("it would unfold to far more memory than its size")

    def _refuse(self, why: str) -> NoReturn:
        raise NotPlain(f"{why} (at byte {self._at})")


def _depth(item: int) -> int:
    return 0 if item < 1 else item if item <= DEEPEST else item - DEEPEST
