"""The boards that QEMU emulates, and the programs that build for them.

Their start-up code and memory maps (`<name>.ld`) are in `export/boards`.
"""

from dataclasses import dataclass

from edgeprune.errors import unknown_name


@dataclass(frozen=True)
class Toolchain:
    """The programs of one kind of processor, on the search path.

    Attributes:
        prefix: of compiler and binary tools, as `arm-none-eabi-`.
        options: of the compiler, for each of these processors.
        emulator: the QEMU program.
        sources: files of `export/boards` that start a program and serve it.
    """

    prefix: str
    emulator: str
    sources: tuple[str, ...]
    options: tuple[str, ...] = ()

    @property
    def compiler(self) -> str:
        return f"{self.prefix}gcc"

    def tool(self, name: str) -> str:
        """One of the binary tools, `size` or `objdump`."""
        return f"{self.prefix}{name}"


ARM = Toolchain("arm-none-eabi-", "qemu-system-arm", ("start_arm.c", "board.c"), ("-mthumb",))
RISCV = Toolchain(
    "riscv64-unknown-elf-",
    "qemu-system-riscv32",
    ("start_riscv.c", "board.c"),
    ("--specs=picolibc.specs", "-march=rv32imc", "-mabi=ilp32"),
)


@dataclass(frozen=True)
class Board:
    """A board that QEMU emulates.

    Attributes:
        name: on the command line.
        machine: QEMU's options that choose it, without the program.
        processor: the compiler's options of its processor.
        half_ns: half nanoseconds of emulated time in a tick of its clock.
        tools: its compiler and emulator.
        load: QEMU's option that takes the program; `{}` stands for its path.
        has_dsp: the processor has Arm's DSP instructions, which the kernels of CMSIS-NN take.
        fixed_memory: flash and RAM are those of the real board; else they are larger than any real one's.
    """

    name: str
    machine: tuple[str, ...]
    processor: tuple[str, ...]
    description: str
    half_ns: int
    tools: Toolchain = ARM
    load: tuple[str, str] = ("-kernel", "{}")
    has_dsp: bool = True
    fixed_memory: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """The compiler's options of the processor, and the constant of the clock for `board.c`."""
        return (*self.tools.options, *self.processor, f"-DBOARD_HALF_NS={self.half_ns}u")


def _mps2(name: str, image: str, fpu: str, half_ns: int = 80) -> Board:
    """Arm's board MPS2 with the FPGA image of a processor."""
    processor = (f"-mcpu={name}", "-mfloat-abi=hard", f"-mfpu={fpu}")
    core = name.replace("cortex-m", "Cortex-M")
    return Board(name, ("-M", f"mps2-{image}"), processor, f"Arm MPS2 {image.upper()}, {core}F", half_ns)


BOARDS = {
    board.name: board
    for board in (
        Board(
            "cortex-m0",
            ("-M", "microbit", "-global", "nrf51-soc.sram-size=0x1004000"),  # 16 kB, and 16 MB for the test
            ("-mcpu=cortex-m0", "-mfloat-abi=soft"),
            "BBC micro:bit v1, nRF51822, Cortex-M0, 256 kB of flash and 16 kB of RAM",
            125,
            has_dsp=False,
            fixed_memory=True,
        ),
        _mps2("cortex-m4", "an386", "fpv4-sp-d16"),
        _mps2("cortex-m7", "an500", "fpv5-d16"),
        _mps2("cortex-m33", "an505", "fpv5-sp-d16", 100),
        Board(
            "riscv32",
            ("-M", "virt", "-bios", "none", "-cpu", "rv32,a=off,f=off,d=off"),
            (),
            "QEMU virt, RV32IMC",
            128,
            RISCV,
            ("-device", "loader,file={},cpu-num=0"),
            has_dsp=False,
        ),
    )
}
"""Boards by their name on the command line."""


def board_of(name: str) -> Board:
    """Look up a board by its name."""
    if name not in BOARDS:
        raise unknown_name("device", name, BOARDS)
    return BOARDS[name]
