"""A decoder that hangs, dies or needs all memory, by the name of the file; and a limit that a test can wait for."""

import os
import sys
import time

if sys.flags.safe_path:  # as the decoding process is started, and nothing else here
    import soundfile

    class Spoilt(soundfile.SoundFile):
        def __init__(self, path, *arguments, **options):
            name = os.path.basename(os.fspath(path))
            if name.startswith("hang"):
                time.sleep(3_600)
            if name.startswith("abort"):
                os.abort()
            if name.startswith("hungry"):
                bytearray(1 << 50)
            if name.startswith("once") and not os.path.exists(f"{path}.met"):
                open(f"{path}.met", "w").close()
                os.abort()
            super().__init__(path, *arguments, **options)

    soundfile.SoundFile = Spoilt
elif "AASP_TEST_LIMIT" in os.environ:
    from aasp.audio import decoder_process

    decoder_process.LIMIT_SECONDS = float(os.environ["AASP_TEST_LIMIT"])
