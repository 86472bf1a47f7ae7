"""Packs the object form of a `.tflite` model into bytes, each part once."""

import hashlib

import flatbuffers
import numpy as np
from flatbuffers.number_types import UOffsetTFlags

# What the schema demands of constants.
_BUFFER_ALIGNMENT = 16


class Packer(flatbuffers.Builder):
    """A builder that writes equal vectors, strings and tables once.

    Parts of a flatbuffer refer to others by offsets, and several may refer to the same.
    Parts are written before those that refer to them, so that tables are equal if their
    fields are. Fields are ordered by size, which leaves the fewest gaps.

    Args:
        size: bytes to start with; the builder doubles them, with a copy, whenever they are
            too few.
    """

    def __init__(self, size):
        super().__init__(size)
        self._places = {}
        self._fields = []
        self._targets = []
        self._start = self._alignment = self._length = 0

    def StartObject(self, numfields):
        super().StartObject(numfields)
        self._fields = []

    def PrependSlot(self, flags, o, x, d):
        if x != d:
            self._fields.append((flags, o, x))

    def PrependUOffsetTRelativeSlot(self, o, x, d):
        self.PrependSlot(UOffsetTFlags, o, x, d)

    def EndObject(self):
        fields, num_fields = tuple(self._fields), len(self.current_vtable)
        self.nested = False
        if fields not in self._places:
            self._places[fields] = self._write_table(fields, num_fields)
        return self._places[fields]

    def _write_table(self, fields, num_fields):
        by_size = sorted(fields, key=lambda field: -field[0].bytewidth)
        # Tables share the description of their layout if they begin aligned.
        self.Prep(by_size[0][0].bytewidth if by_size else 1, 0)
        super().StartObject(num_fields)
        for flags, slot, value in by_size:
            if flags is UOffsetTFlags:
                super().PrependUOffsetTRelative(value)
            else:
                self.Prepend(flags, value)
            self.Slot(slot)
        return super().EndObject()

    def StartVector(self, elemSize, numElems, alignment):
        self._begin(alignment, elemSize * numElems)
        return super().StartVector(elemSize, numElems, alignment)

    def PrependUOffsetTRelative(self, off):
        self._targets.append(off)
        super().PrependUOffsetTRelative(off)

    def CreateString(self, s, encoding="utf-8", errors="strict"):
        content = s.encode(encoding, errors) if isinstance(s, str) else s
        # With the zero that ends it.
        self._begin(1, len(content) + 1)
        return super().CreateString(content)

    def CreateNumpyVector(self, x):
        if x.dtype != np.uint8:
            return super().CreateNumpyVector(x)
        # Without the copy that the builder makes.
        self.StartVector(1, x.size, _BUFFER_ALIGNMENT)
        self.head -= x.size
        memoryview(self.Bytes)[self.head : self.head + x.size] = np.ascontiguousarray(x)
        return self.EndVector()

    def EndVector(self, numElems=None):
        content = memoryview(self.Bytes)[self.head : self.head + self._length]
        # Offsets depend on where they are written, what they lead to does not.
        what = tuple(self._targets) or hashlib.sha256(content).digest()
        content.release()
        key = self._alignment, self.vectorNumElems, what
        place = super().EndVector()
        if key in self._places:
            self.head = len(self.Bytes) - self._start
        return self._places.setdefault(key, place)

    def _begin(self, alignment, length):
        self._start, self._alignment, self._length = self.Offset(), alignment, length
        self._targets = []
