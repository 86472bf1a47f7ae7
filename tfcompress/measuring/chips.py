"""Common microcontrollers, and how much they hold."""

import dataclasses

_KIB = 1024


@dataclasses.dataclass(frozen=True)
class Chip:
    """A microcontroller.

    Attributes:
        name: by which it is asked for.
        core: its processor.
        flash_bytes: for code and constants, on the chip or, where it has none, on the
            usual board.
        ram_bytes: the largest block that one array can lie in.
    """

    name: str
    core: str
    flash_bytes: int
    ram_bytes: int


# Sources: the data sheets of ST (DS11451 for L432, DS10693 for F446, DS10916 for F746,
# DS12023 for L4R5, DS12110 for H743), Microchip (SAM D21), Nordic Semiconductor (nRF52840
# and nRF5340 product specifications), Ambiq (Apollo3 Blue), Analog Devices (MAX78000,
# whose accelerator runs no .tflite files) and Raspberry Pi (RP2040 with the 2 MB of a
# Pico, RP2350 with the 4 MB of a Pico 2). The H743 has 1 MB in several blocks, of which
# AXI SRAM is the largest. ESP32: the ESP-IDF guide "Memory Types", 160 KB for static
# data; ESP32-S3: its technical reference manual, Internal SRAM 1; flash is that of the
# usual modules (ESP32-WROOM-32E, ESP32-S3-WROOM-1-N8).
_TABLE = (
    ("samd21g18", "Cortex-M0+", 256, 32),
    ("stm32l432kc", "Cortex-M4", 256, 64),
    ("stm32f446re", "Cortex-M4", 512, 128),
    ("max78000", "Cortex-M4", 512, 128),
    ("nrf52840", "Cortex-M4", 1024, 256),
    ("apollo3", "Cortex-M4", 1024, 384),
    ("stm32f746ng", "Cortex-M7", 1024, 320),
    ("nrf5340", "Cortex-M33", 1024, 512),
    ("rp2040", "Cortex-M0+", 2048, 264),
    ("stm32l4r5zi", "Cortex-M4", 2048, 640),
    ("stm32h743zi", "Cortex-M7", 2048, 512),
    ("rp2350", "Cortex-M33", 4096, 520),
    ("esp32", "Xtensa LX6", 4096, 160),
    ("esp32s3", "Xtensa LX7", 8192, 416),
)
CHIPS = {
    name: Chip(name, core, flash * _KIB, ram * _KIB)
    for name, core, flash, ram in _TABLE
}
