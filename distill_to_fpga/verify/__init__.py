"""`detfm verify`: firmware, golden model and student compute the same, bit for bit, or the first wire that differs."""

from distill_to_fpga.verify.command import COMMAND, RESULT, verify, verify_export
from distill_to_fpga.verify.compare import Difference, output_words
from distill_to_fpga.verify.result import MismatchError, VerifyResult

__all__ = ["COMMAND", "RESULT", "Difference", "MismatchError", "VerifyResult", "output_words", "verify"]
__all__ += ["verify_export"]
