"""A program for a process of its own, since tfmot turns a whole process to Keras 2.

Run it as `python tfcompress/interop/_tfmot_child SOURCE FOLDER`; `tfmot.py` does.
"""
