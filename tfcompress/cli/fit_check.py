"""usage: tfcompress fit-check FILE [flags]

Shows which microcontrollers a .tflite file fits with TFLite Micro: FITS, TIGHT (above
80 % of flash or RAM), TOO BIG or DOES NOT RUN (with the operations that TFLite Micro
lacks). RAM is measured if the package tflite-micro is installed, otherwise estimated.

Example:
  tfcompress fit-check model.tflite
  tfcompress fit-check model.tflite --chip nrf52840 --chip esp32s3
  tfcompress fit-check model.tflite --flash 256 --ram 64
"""

from absl import flags

SUMMARY = "show which microcontrollers a .tflite file fits"
ARGUMENTS = 1


def define(values):
    """Flags of the command."""
    flags.DEFINE_multi_string(
        "chip", None, "Check this chip instead of all known ones", flag_values=values
    )
    for name in ("flash", "ram"):
        flags.DEFINE_integer(
            name, None, f"KiB of {name} of your own chip.", 1, flag_values=values
        )


def main(values, path):
    """Checks the file."""
    from tfcompress.measuring.chips import Chip
    from tfcompress.measuring.fit_check import fit_check

    if (values.flash is None) != (values.ram is None):
        raise ValueError("Your own chip needs both --flash and --ram, in KiB.")
    chips = list(values.chip or ())
    if values.flash:
        chips.append(Chip("yours", "", values.flash * 1024, values.ram * 1024))
    return fit_check(path, chips or None)
