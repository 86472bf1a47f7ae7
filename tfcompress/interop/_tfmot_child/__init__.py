"""A program for a separate process, since tfmot switches a whole process to Keras 2.

Run it as `python tfcompress/interop/_tfmot_child SOURCE FOLDER`; `tfmot.py` does.
"""
